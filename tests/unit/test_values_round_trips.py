"""Whatever a frame or a picture is made of, it comes back equal or is refused, with its column and a cure."""

from __future__ import annotations

import datetime as dt
import gc
import io
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.unit.test_values_frames import assert_same
from workbench.core.errors import UnsupportedValue
from workbench.values import codecs
from workbench.values.files import Files

quick = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
Draw = Callable[[st.SearchStrategy[Any]], Any]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "store"))


# --- columns ----------------------------------------------------------------------------------------

NUMPY = ["bool", "int8", "int16", "int64", "uint8", "uint64", "float16", "float32", "float64", ">i4", ">f8"]
NULLABLE = ["boolean", "Int8", "Int64", "UInt16", "UInt64", "Float32", "Float64"]
UNITS = st.sampled_from(["s", "ms", "us", "ns"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", dt.UTC]) | st.builds(
    lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)), st.integers(-14 * 60, 14 * 60)
)
TEXT = st.text(max_size=4)
SECONDS = st.integers(-4_000_000_000, 4_000_000_000)


def some(draw: Draw, rows: int, part: st.SearchStrategy[Any], missing: bool = True) -> list[Any]:
    return draw(st.lists(part | st.none() if missing else part, min_size=rows, max_size=rows))


def numbers(draw: Draw, rows: int) -> Any:
    dtype = np.dtype(draw(st.sampled_from(NUMPY)))
    data = draw(st.binary(min_size=rows * dtype.itemsize, max_size=rows * dtype.itemsize))
    values = np.frombuffer(data, dtype)
    return values != 0 if dtype.kind == "b" else values


def labelling(draw: Draw, rows: int) -> Any:
    """Of the numbers, those that pandas takes for labels."""
    values = numbers(draw, rows)
    return values.astype("float32" if values.dtype == "float16" else values.dtype.newbyteorder("="))


def nullable(draw: Draw, rows: int) -> Any:
    name = draw(st.sampled_from(NULLABLE))
    part = st.booleans() if name == "boolean" else st.integers(0, 100)
    return pd.array(some(draw, rows, part), dtype=name)


def strings(draw: Draw, rows: int) -> Any:
    dtype = draw(st.sampled_from(["str", "string", "string[python]", "string[pyarrow]", "object"]))
    return pd.Series(some(draw, rows, TEXT), dtype=dtype).array


def moments(draw: Draw, rows: int) -> Any:
    kind, unit = draw(st.sampled_from(["M8", "m8"])), draw(UNITS)
    return np.array([np.datetime64("NaT") if x is None else x for x in some(draw, rows, SECONDS)], f"{kind}[{unit}]")


def zoned(draw: Draw, rows: int) -> Any:
    index = pd.DatetimeIndex(np.array(some(draw, rows, SECONDS, missing=False), "M8[s]")).as_unit(draw(UNITS))
    return index.tz_localize("UTC").tz_convert(draw(ZONES)).array


def periods(draw: Draw, rows: int) -> Any:
    freq = draw(st.sampled_from(["D", "M", "Q-DEC", "Q-FEB", "Y-JUN", "h", "min", "W-SUN", "2D", "3h"]))
    ordinals = np.array(some(draw, rows, st.integers(-1000, 1000), missing=False), "i8")
    with_gap = draw(st.booleans()) and rows > 0
    values = pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(freq))
    if with_gap:
        values[0] = pd.NaT
    return values


def intervals(draw: Draw, rows: int) -> Any:
    left = np.array(some(draw, rows, st.integers(0, 10), missing=False), draw(st.sampled_from(["i8", "f8", "M8[ns]"])))
    closed = draw(st.sampled_from(["left", "right", "both", "neither"]))
    return pd.arrays.IntervalArray.from_arrays(left, left + np.array(1, left.dtype.str.replace("M8", "m8")), closed)


def categories(draw: Draw, rows: int) -> Any:
    kind = draw(st.sampled_from([strings, nullable, moments, zoned, periods, intervals, labelling]))
    labels = pd.Index(kind(draw, draw(st.integers(1, 4)))).dropna().unique()
    codes = np.array(some(draw, rows, st.integers(-1, len(labels) - 1), missing=False), "i8")
    return pd.Categorical.from_codes(codes, labels, ordered=draw(st.booleans()))


def arrow(draw: Draw, rows: int) -> Any:
    kind, part = draw(
        st.sampled_from(
            [
                (pa.int32(), st.integers(-5, 5)),
                (pa.decimal128(12, 3), st.decimals(-1000, 1000, places=3)),
                (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=3)),
                (pa.large_list(pa.string()), st.lists(TEXT | st.none(), max_size=3)),
                (pa.list_(pa.list_(pa.float64())), st.lists(st.lists(st.floats(0, 1), max_size=2), max_size=2)),
                (pa.struct([("a", pa.int64()), ("b", pa.string())]), st.fixed_dictionaries({"a": SECONDS, "b": TEXT})),
                (pa.dictionary(pa.int8(), pa.string()), TEXT),
                (pa.timestamp("us", "Asia/Tokyo"), st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2050, 1, 1))),
                (pa.duration("ms"), st.timedeltas(dt.timedelta(0), dt.timedelta(9)).map(lambda x: x // 1000 * 1000)),
                (pa.date32(), st.dates()),
                (pa.time64("us"), st.times()),
                (pa.binary(), st.binary(max_size=4)),
            ]
        )
    )
    if pa.types.is_duration(kind):
        part = st.integers(0, 10**6).map(lambda ms: dt.timedelta(milliseconds=ms))
    if pa.types.is_timestamp(kind):
        part = part.map(lambda moment: moment.replace(tzinfo=dt.UTC))
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(some(draw, rows, part), kind)]))


def objects(draw: Draw, rows: int) -> Any:
    """Of one type, with gaps: what has to come back."""
    part = draw(
        st.sampled_from(
            [
                st.decimals(allow_nan=False),
                st.dates(),
                st.times(),
                st.timedeltas(),
                st.binary(max_size=4),
                st.integers(-(2**63), 2**63 - 1),
                st.floats(allow_nan=False),
                st.lists(st.integers(0, 9), max_size=3),
                st.lists(st.lists(TEXT, max_size=2), max_size=2),
                st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
                st.tuples(st.integers(0, 9), TEXT),
                st.datetimes(timezones=st.timezones(), allow_imaginary=False),
            ]
        )
    )
    return np.fromiter(some(draw, rows, part), dtype=object, count=rows)


KINDS = (numbers, nullable, strings, moments, zoned, periods, intervals, categories, arrow, objects)
LABELS = (labelling, nullable, strings, moments, zoned, periods, intervals, categories)


def labels(draw: Draw, count: int, plain: bool = False) -> pd.Index:
    kinds = st.sampled_from((strings, labelling, periods, zoned) if plain else LABELS)
    name = draw(st.none() | TEXT | st.integers(0, 3))
    if draw(st.booleans()):
        levels = [pd.Index(draw(kinds)(draw, count)) for _ in range(draw(st.integers(2, 3)))]
        return pd.MultiIndex.from_arrays(levels, names=[name, *[None] * (len(levels) - 1)])
    return pd.Index(draw(kinds)(draw, count), name=name)


@st.composite
def frames(draw: Draw) -> pd.DataFrame:
    rows, width = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    data = {position: pd.Series(draw(st.sampled_from(KINDS))(draw, rows)) for position in range(width)}
    frame = pd.DataFrame(data, index=pd.RangeIndex(rows))
    if draw(st.booleans()):
        frame.index = labels(draw, rows)
    if draw(st.booleans()):
        index = labels(draw, width, plain=True)
        frame = frame.loc[:, ~index.duplicated()]
        frame.columns = index[~index.duplicated()]
    return frame


@quick
@given(frame=frames(), limit=st.sampled_from([0, 1 << 20]))
def test_a_frame_of_any_columns_rows_and_labels_comes_back_equal(frame: pd.DataFrame, limit: int, files: Files) -> None:
    back = codecs.decode(codecs.encode(frame, files, limit=limit), files)
    gc.collect()  # of what earlier examples have left in circles
    assert str(files.need_store().directory) not in Path("/proc/self/maps").read_text()
    assert_same(frame, back)


ANYTHING = st.one_of(
    st.none(),
    st.just(np.nan),
    st.just(pd.NA),
    st.just(pd.NaT),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
    st.just("\ud800"),
    st.binary(max_size=3),
    st.dates(),
    st.decimals(),
    st.complex_numbers(),
    st.frozensets(st.integers(0, 3), max_size=2),
    st.lists(st.integers(-(2**70), 2**70) | TEXT, max_size=2),
    st.dictionaries(st.integers(0, 3) | st.frozensets(st.integers(0, 3), max_size=1), TEXT, max_size=2),
    st.builds(object),
    st.sampled_from([np.int8(1), np.float32(0.5), np.datetime64("2020"), np.zeros(2), pd.Timestamp("2020"), range(3)]),
    st.sampled_from([pd.Period("2020"), pd.Interval(0, 1), Path("a"), print, int, Decimal("sNaN"), ...]),
)


@quick
@given(values=st.lists(ANYTHING, max_size=3), wrap=st.sampled_from(["column", "series", "index"]))
def test_a_column_of_any_objects_comes_back_equal_or_is_refused_by_its_name(
    values: list[Any], wrap: str, files: Files
) -> None:
    column = pd.Series(np.fromiter(values, dtype=object, count=len(values)), name="c", dtype=object)
    value: Any = column
    if wrap == "column":
        value = pd.DataFrame({"a": range(len(values)), "c": column})
    elif wrap == "index":
        value = pd.DataFrame({"a": range(len(values))}, index=pd.Index(values, dtype=object, tupleize_cols=False))
    try:
        body = codecs.encode(value, files)
    except UnsupportedValue as refused:
        reason = str(refused)
    else:
        back = codecs.decode(body, files)
        column = {"column": lambda: back["c"], "series": lambda: back, "index": lambda: back.index}[wrap]()
        assert [repr(item) for item in column.tolist()] == [repr(value) for value in values]
        assert [type(item) for item in column.tolist()] == [type(value) for value in values]
        return
    assert {"column": "column 'c'", "series": "the series", "index": "the index"}[wrap] in reason
    assert any(cure in reason for cure in ("Pass", "Make it", "Convert", "Name a")), reason


# --- pictures ---------------------------------------------------------------------------------------

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]


@quick
@given(
    mode=st.sampled_from(MODES),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    dpi=st.none() | st.tuples(st.floats(1, 1000), st.floats(1, 1000)),
    profile=st.none() | st.binary(min_size=1, max_size=9),
    transparency=st.none() | st.integers(0, 9) | st.binary(min_size=1, max_size=9),
    comment=st.none() | st.binary(max_size=9) | TEXT,
    orientation=st.none() | st.integers(1, 8),
    limit=st.sampled_from([0, 1 << 20]),
)
def test_a_picture_of_any_mode_keeps_its_pixels_and_what_it_says_of_them(
    mode: str, size: tuple[int, int], dpi: Any, profile: Any, transparency: Any, comment: Any, orientation: Any,
    limit: int, files: Files,
) -> None:  # fmt: skip
    plain = Image.new(mode, size)
    image = Image.frombytes(mode, size, random.Random(1).randbytes(len(plain.tobytes())))
    if mode in ("P", "PA"):
        image.putpalette(bytes(range(30)))
    given_info = {"dpi": dpi, "icc_profile": profile, "transparency": transparency, "comment": comment}
    image.info.update({name: value for name, value in given_info.items() if value is not None})
    if orientation is not None:
        image.getexif()[0x0112] = orientation
    back = codecs.decode(codecs.encode(image, files, limit=limit), files)
    assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())
    assert {name: back.info.get(name) for name in given_info} == given_info
    assert back.getpalette() == image.getpalette()
    assert back.getexif().get(0x0112) == orientation


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("touched", [False, True])
def test_a_picture_from_a_file_keeps_its_pixels_format_and_information(
    format_: str, touched: bool, files: Files
) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 3
    noise = Image.frombytes("RGB", (8, 6), random.Random(2).randbytes(144))
    noise.save(buffer, format_, dpi=(72, 144), **({"exif": exif} if format_ not in ("BMP", "GIF") else {}))
    image, plain = Image.open(io.BytesIO(buffer.getvalue())), Image.open(io.BytesIO(buffer.getvalue()))
    if touched:
        image.load()
    back = codecs.decode(codecs.encode(image, files), files)
    assert (back.format, back.mode, back.tobytes()) == (format_, plain.mode, plain.tobytes())
    where = {273: None}  # the pixels' place in a TIFF file, which is none of the picture's business
    assert dict(back.getexif()) | where == dict(plain.getexif()) | where
    for name in ("dpi", "icc_profile", "transparency"):
        expected = plain.info.get(name)
        assert back.info.get(name) == (tuple(map(float, expected)) if name == "dpi" and expected else expected)
