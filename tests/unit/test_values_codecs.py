"""Plain values, arrays and images come back equal; what can't is refused; hostile bytes raise an InputError."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import io
import random
import subprocess
import sys
import uuid
import zoneinfo
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from workbench.core.errors import InputError, StoreError, UnsupportedValue, WorkbenchError
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.plain import Code, Ext
from workbench.values.refs import FileRef

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def files(tmp_path):
    return Files(str(tmp_path / "store"))


@pytest.fixture
def there_and_back(files):
    return lambda value, limit=codecs.INLINE_VALUE: codecs.decode(codecs.encode(value, files, limit=limit), files)


# --- plain values -----------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.one_of(st.none(), st.just(dt.UTC), st.timezones()), allow_imaginary=False),
)
keys = st.one_of(
    st.text(),
    st.integers(-(2**63), 2**63),
    st.booleans(),
    st.none(),
    st.dates(),
    st.tuples(st.text(), st.integers(0, 9)),
)
values = st.recursive(
    scalars, lambda part: st.one_of(st.lists(part, max_size=4), st.dictionaries(keys, part, max_size=4)), max_leaves=12
)


@quick
@given(value=values)
def test_any_plain_value_comes_back_equal(value, there_and_back):
    back = there_and_back(value)
    assert back == value
    assert repr(back) == repr(value)


def test_kinds_of_values_that_become_their_plainer_equals(there_and_back):
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    class Old(str, enum.Enum):  # noqa: UP042 - the form of old is the point
        ODD = "odd"

    assert there_and_back((1, (2, 3))) == [1, [2, 3]]
    for value, plain in (
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Old.ODD, "odd"),
        (np.int8(-3), -3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (bytearray(b"x"), b"x"),
        (OrderedDict(a=1), {"a": 1}),
    ):
        back = there_and_back(value)
        assert back == plain
        assert type(back) is type(plain)


def test_the_scalars_of_pandas_and_numpy_come_back(there_and_back):
    for value in (
        pd.Timestamp("2020-01-01 12:00", tz="Europe/Berlin"),
        pd.Timestamp("1700-01-01").as_unit("s"),
        pd.Timedelta("1 day 00:00:00.000000001"),
        np.datetime64("2020-01", "M"),
        np.timedelta64(5, "h"),
    ):
        back = there_and_back(value)
        assert back == value
        assert repr(back) == repr(value)
    assert there_and_back(pd.NA) is pd.NA
    assert there_and_back(pd.NaT) is pd.NaT


def test_an_hour_that_occurs_twice_stays_the_second(there_and_back):
    second = dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    back = there_and_back(second)
    assert back.fold == 1
    assert back.utcoffset() == second.utcoffset()


@dataclasses.dataclass
class Point:
    x: int = 1


class Shade(enum.Enum):
    DARK = 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**64, ["64 bits", "str"]),
        ({"a": [1, -(2**63) - 1]}, ["['a'][1]", "64 bits"]),
        ({2**70: 1}, ["key", "64 bits"]),
        ({1, 2}, ["set", "sorted"]),
        ([{"x": {1}}], ["[0]['x']", "set"]),
        (1j, ["complex"]),
        (np.complex64(1j), ["complex"]),
        (np.longdouble(1), ["longdouble"]),
        (Point(), ["Point"]),
        (Shade.DARK, ["Shade", "value"]),
        (uuid.uuid4(), ["UUID", "str"]),
        (range(3), ["range", "list"]),
        (lambda: 1, ["function", "operation"]),
        (Path("x"), ["Path", "str"]),
        ("\udc80", ["surrogate", "fsencode"]),
        (["\udc80"], ["[0]", "surrogate"]),
        (np.array([object()]), ["object", "tolist"]),
        (np.ma.array([1, 2], mask=[0, 1]), ["MaskedArray", "filled"]),
        (pd.Index([1]), ["Index", "to_series"]),
        ({"a": pd.DataFrame({"z": [1j]})}, ["['a']", "column 'z'"]),
        ({frozenset([1]): 1}, ["key", "frozenset"]),
        (pd.Timestamp("2020", tz="dateutil/Europe/Berlin"), ["time zone", "tz_convert"]),
    ],
)
def test_what_would_come_back_different_is_refused_with_its_place_and_a_cure(value, words, files):
    with pytest.raises(UnsupportedValue) as caught:
        codecs.encode(value, files)
    for word in words:
        assert word in str(caught.value)


def test_a_list_that_contains_itself_is_refused(files):
    value: list[object] = []
    value.append(value)
    with pytest.raises(UnsupportedValue, match="contains itself"):
        codecs.encode(value, files)


def test_rich_values_may_stand_anywhere_in_lists_and_dicts(there_and_back, files):
    frame, image = pd.DataFrame({"a": [1]}), Image.new("L", (2, 2), 7)
    value = {
        "frames": [frame, frame],
        "image": image,
        ("a", 1): [np.arange(3)],
        "file": FileRef("/x/a.csv", "a.csv", 3),
    }
    for limit in (0, 10_000):
        back = there_and_back(value, limit)
        pd.testing.assert_frame_equal(back["frames"][1], frame)
        assert back["image"].tobytes() == image.tobytes()
        assert back[("a", 1)][0].tolist() == [0, 1, 2]
        assert back["file"] == value["file"]


# --- arrays -----------------------------------------------------------------------------------------


@quick
@given(
    array=hnp.arrays(
        dtype=st.one_of(
            hnp.scalar_dtypes(),
            hnp.byte_string_dtypes(min_len=1),
            hnp.unicode_string_dtypes(min_len=1),
            hnp.array_dtypes(hnp.integer_dtypes()),
        ),
        shape=hnp.array_shapes(min_dims=0, min_side=0, max_dims=3),
    ),
    how=st.sampled_from(["as it is", "transposed", "every second"]),
)
def test_any_array_comes_back_equal(array, how, there_and_back):
    array = array.T if how == "transposed" else array[::2] if how == "every second" and array.ndim else array
    for limit in (0, 1 << 20):
        back = there_and_back(array, limit)
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()
        assert back.flags.writeable


# --- images -----------------------------------------------------------------------------------------


@quick
@given(
    mode=st.sampled_from(
        [
            "1",
            "L",
            "LA",
            "La",
            "P",
            "PA",
            "RGB",
            "RGBA",
            "RGBa",
            "RGBX",
            "CMYK",
            "YCbCr",
            "LAB",
            "HSV",
            "I",
            "F",
            "I;16",
            "I;16B",
        ]
    ),
    size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 9),
)
def test_an_image_of_any_mode_comes_back_equal(mode, size, seed, there_and_back):
    length = len(Image.new(mode, size).tobytes())
    noise = random.Random(seed).randbytes(length)
    image = Image.frombytes(mode, size, noise) if length else Image.new(mode, size)
    if mode in ("P", "PA"):
        image.putpalette(bytes(range(30)))
    back = there_and_back(image)
    assert (back.mode, back.size) == (image.mode, image.size)
    assert back.tobytes() == image.tobytes()
    assert back.getpalette() == image.getpalette()


def photo(**options):
    buffer = io.BytesIO()
    Image.frombytes("RGB", (40, 30), random.Random(1).randbytes(3600)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_an_untouched_image_travels_as_its_files_bytes(tmp_path, files):
    data = photo(quality=30)
    (tmp_path / "photo.jpg").write_bytes(data)
    with Image.open(tmp_path / "photo.jpg") as image:
        body = codecs.encode(image, files)
        assert data in body
        back = codecs.decode(body, files)
        assert back.format == "JPEG"
        assert back.tobytes() == image.tobytes()


def test_an_image_painted_on_after_it_was_opened_keeps_the_paint(there_and_back):
    image = Image.open(io.BytesIO(photo()))
    image.putpixel((0, 0), (1, 2, 3))
    back = there_and_back(image)
    assert back.getpixel((0, 0)) == (1, 2, 3)
    assert back.tobytes() == image.tobytes()


def test_an_image_whose_reading_was_changed_is_not_mistaken_for_its_file(there_and_back):
    drafted = Image.open(io.BytesIO(photo()))
    drafted.draft("L", (10, 10))
    back = there_and_back(drafted)
    assert (back.mode, back.size) == (drafted.mode, drafted.size)
    frames = io.BytesIO()
    Image.new("L", (2, 2), 10).save(frames, "GIF", save_all=True, append_images=[Image.new("L", (2, 2), 200)])
    second = Image.open(frames)
    second.seek(1)
    assert there_and_back(second).convert("L").getpixel((0, 0)) == 200


def test_exif_profile_and_resolution_come_back(there_and_back):
    exif = Image.Exif()
    exif[0x0112] = 6
    for image in (
        Image.open(io.BytesIO(photo(exif=exif, dpi=(72, 72), icc_profile=b"profile"))),
        Image.new("CMYK", (2, 2)),
    ):
        image.load()
        image.info.setdefault("dpi", (72, 72))
        back = there_and_back(image)
        assert back.info["dpi"] == (72, 72)
        assert dict(back.getexif()) == dict(image.getexif())
        assert back.info.get("icc_profile") == image.info.get("icc_profile")


def test_a_transparent_colour_comes_back(there_and_back):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.info["transparency"] = 1
    assert there_and_back(image).convert("RGBA").getpixel((0, 0)) == (9, 9, 9, 0)


def test_a_file_of_another_format_travels_as_pixels(there_and_back):
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3), "red").save(buffer, "PPM")
    assert there_and_back(Image.open(buffer)).getpixel((0, 0)) == (255, 0, 0)


def test_a_truncated_image_is_an_input_error_that_names_the_file(tmp_path, files):
    (tmp_path / "half.jpg").write_bytes(photo()[:-400])
    with Image.open(tmp_path / "half.jpg") as image, pytest.raises(InputError, match=r"half\.jpg.*cut short"):
        codecs.decode(codecs.encode(image, files), files)


# --- large values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        b"x" * 100_000,
        list(range(50_000)),
        pd.DataFrame({"a": range(20_000)}),
        pd.Series(range(20_000)),
        pa.table({"a": range(20_000)}),
        np.arange(20_000),
        Image.effect_noise((400, 400), 50),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_large_value_goes_into_the_store_and_comes_back(value, files):
    body = codecs.encode(value, files)
    assert len(body) < 256
    assert codecs.encode(value, files) == body  # by content: a retry costs nothing
    back = codecs.decode(msgspec.Raw(body), files)
    assert type(back) is type(value) or isinstance(back, Image.Image)
    assert codecs.encode(back, files) == body


def test_without_a_store_a_large_value_is_an_error_with_a_cure():
    with pytest.raises(StoreError, match="WORKBENCH_STORE"):
        codecs.encode(b"x" * 100_000, Files(""))
    assert codecs.decode(codecs.encode([1], Files("")), Files("")) == [1]


def test_a_calls_largest_arguments_move_to_the_store_until_it_fits(files):
    args, kwargs = codecs.encode_call(["a" * 60_000] * 5 + [1], {"k": "b" * 64_000, "n": None}, files)
    assert sum(map(len, map(bytes, [*args, *kwargs.values()]))) <= codecs.INLINE_MESSAGE
    assert len(bytes(kwargs["k"])) < 256
    assert [len(codecs.decode(raw, files)) for raw in args[:5]] == [60_000] * 5
    assert codecs.decode(kwargs["k"], files) == "b" * 64_000
    assert codecs.decode(kwargs["n"], files) is None


def test_a_refused_argument_is_named(files):
    with pytest.raises(UnsupportedValue, match="argument 2: a set"):
        codecs.encode_call([1, {1}], {}, files)
    with pytest.raises(UnsupportedValue, match=r"argument 'by': at \[0\]"):
        codecs.encode_call([], {"by": [{1}]}, files)


# --- hostile bytes ----------------------------------------------------------------------------------

_SAMPLES = [
    pd.DataFrame(
        {
            "a": [1, 2],
            "b": ["x", None],
            "c": pd.Categorical(["u", "v"]),
            "d": pd.date_range("2020", periods=2, tz="UTC"),
        }
    ),
    pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])),
    pd.Series([1.5, None], dtype="Float64"),
    pa.table({"l": [[1], [2, 3]], "s": ["a", "b"]}),
    np.arange(6).reshape(2, 3),
    Image.new("RGB", (4, 4), "red"),
    Image.new("CMYK", (4, 4)),
    [dt.date(2020, 1, 1), Decimal("1.5"), pd.Timestamp("2020"), {("a", 1): 2}],
    FileRef("/a", "a", 1),
]


@quick
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_a_value_or_an_input_error(data, files):
    with contextlib.suppress(InputError):
        codecs.decode(data, files)


@quick
@given(code=st.sampled_from([code for name, code in vars(Code).items() if name.isupper()]), data=st.binary(max_size=60))
def test_arbitrary_extensions_are_a_value_or_an_error_of_ours(code, data, files):
    with contextlib.suppress(WorkbenchError):
        codecs.decode(msgspec.msgpack.encode(Ext(code, data)), files)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=st.sampled_from(range(len(_SAMPLES))), seed=st.integers(0, 10_000))
def test_damaged_values_are_a_value_or_an_error_of_ours(sample, seed, files):
    body = bytearray(codecs.encode(_SAMPLES[sample], files))
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    with contextlib.suppress(WorkbenchError):
        value = codecs.decode(bytes(body[: chance.choice([None, -3])]), files)
        with contextlib.suppress(Exception):  # a moment may now lie outside of what can be written as text
            repr(value)


@pytest.mark.parametrize(
    "value",
    [
        Ext(Code.STORED, msgspec.msgpack.encode(["../../etc/passwd", 1, 0])),
        Ext(Code.STORED, msgspec.msgpack.encode(["blake3/ab/" + "g" * 62, 1, 0])),
        Ext(Code.STORED, msgspec.msgpack.encode(["blake3/ab/" + "c" * 62, 1, 0])),
        Ext(Code.ARRAY, b"\x10\x00\x00\x00" + msgspec.msgpack.encode(["'<f8'", [2**40], False])),
        Ext(Code.FILE, msgspec.msgpack.encode([1, 2, 3])),
        Ext(99, b""),
    ],
)
def test_made_up_references_and_sizes_are_errors(value, files):
    with pytest.raises(WorkbenchError):
        codecs.decode(msgspec.msgpack.encode(value), files)


def test_an_array_of_objects_is_never_unpickled(files):
    header = msgspec.msgpack.encode(["'|O'", [1], False])
    body = msgspec.msgpack.encode(Ext(Code.ARRAY, len(header).to_bytes(4, "little") + header + b"\0" * 8))
    with pytest.raises(InputError, match="not an array"):
        codecs.decode(body, files)


# --- describing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pd.DataFrame({"a": range(16), "b": 1, "c": 2}), "DataFrame, 16 × 3"),
        (pd.Series([1, 2]), "Series, 2"),
        (pa.table({"a": [1]}), "Table, 1 × 1"),
        (Image.new("RGB", (256, 171)), "Image, 256 × 171 RGB"),
        (np.zeros((3, 4)), "array, 3 × 4 float64"),
        (FileRef("/a/flights.parquet", "flights.parquet", 5_200_000), "flights.parquet, 5.2 MB"),
        (b"x" * 1500, "bytes, 1.5 kB"),
        (None, "None"),
        ("text", "'text'"),
        ([1, "a\nb"], r"[1, 'a\nb']"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_described_in_a_few_words(value, text):
    assert codecs.describe(value) == text


def test_a_description_is_short_and_never_fails():
    class Bad:
        def __repr__(self):
            raise RuntimeError

    assert len(codecs.describe({str(i): "x" * 100 for i in range(1000)})) <= 60
    assert "Bad" in codecs.describe(Bad())


def test_encoding_plain_values_loads_no_heavy_library():
    code = (
        "import sys; from workbench.values import codecs, arguments; from workbench.values.files import Files;"
        "f = Files('');"
        "codecs.decode(codecs.encode([1, 'a', {'b': None}], f), f);"
        "assert not {'pandas', 'numpy', 'pyarrow', 'PIL', 'fsspec'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
