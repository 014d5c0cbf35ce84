"""Frames, series and tables come back equal, or are refused with the column named."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hp

from workbench.core.errors import UnsupportedValue
from workbench.values import codecs
from workbench.values.files import Files

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def files(tmp_path):
    return Files(str(tmp_path / "store"))


def assert_same(frame, back):
    pd.testing.assert_frame_equal(frame, back, check_freq=True, check_column_type=True, check_exact=True)
    assert_same_index(frame.index, back.index)
    assert_same_index(frame.columns, back.columns)
    assert frame.dtypes.tolist() == back.dtypes.tolist()
    assert frame.attrs == back.attrs
    for position in np.flatnonzero([dtype.kind == "O" for dtype in frame.dtypes]):
        assert [repr(x) for x in frame.iloc[:, position]] == [repr(x) for x in back.iloc[:, position]]


def assert_same_index(index, back):
    assert type(index) is type(back)
    assert index.names == back.names
    assert [type(name) for name in index.names] == [type(name) for name in back.names]
    if isinstance(index, pd.MultiIndex):
        for level, other in zip(index.levels, back.levels, strict=True):
            assert_same_index(level, other)
            assert level.dtype == other.dtype
    else:
        assert index.dtype == back.dtype
        assert getattr(index, "freq", None) == getattr(back, "freq", None)


def there_and_back(frame, files):
    """Once within the message, once through the store."""
    inline = codecs.decode(codecs.encode(frame, files, limit=1 << 30), files)
    stored = codecs.encode(frame, files, limit=0)
    assert len(stored) < 200
    pd.testing.assert_frame_equal(inline, codecs.decode(stored, files), check_freq=True)
    return inline


two = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
days = pd.date_range("2020-01-01", periods=2)
berlin = pd.date_range("2020-03-28", periods=2, tz="Europe/Berlin")

FRAMES = {
    "empty": pd.DataFrame(),
    "no rows": two.iloc[:0],
    "no columns": pd.DataFrame(index=["a", "b"]),
    "no columns and a range": pd.DataFrame(index=range(5)),
    "groupby with several aggregates": pd.DataFrame({"k": ["x", "y", "x"], "v": [1.0, 2.0, 3.0]})
    .groupby("k")
    .agg({"v": ["mean", "count"]}),
    "columns of two levels and their names": pd.DataFrame(
        np.eye(2), columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", None])
    ),
    "rows of two levels": two.set_index(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", None])),
    "rows of two levels of the same name": two.set_index(
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", "p"])
    ),
    "rows of levels with unused and missing labels": two.set_index(
        pd.MultiIndex([["a", "b", "c"], [1, 2]], [[-1, 1], [0, 1]], names=["x", "y"])
    ),
    "rows of categories and moments": two.set_index(
        pd.MultiIndex.from_arrays([pd.Categorical(["a", "b"], categories=["b", "a"], ordered=True), berlin])
    ),
    "a range with start and step": two.set_index(pd.RangeIndex(5, 9, 2, name="r")),
    "an index of small integers": two.set_index(pd.Index([1, 2], dtype="int8")),
    "an index named by a number": two.set_index(pd.Index([1, 2], name=5)),
    "an index named by a tuple": two.set_index(pd.Index([1, 2], name=("a", 1))),
    "an index named as a column is": two.set_index(pd.Index([3, 4], name="a")),
    "an index of booleans": two.set_index(pd.Index([True, False])),
    "an index of years and a total": two.set_index(pd.Index([2013, "All"])),
    "an index of tuples that isn't a MultiIndex": two.set_index(pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
    "days": two.set_index(days),
    "days in a zone": two.set_index(berlin),
    "timedeltas": two.set_index(pd.timedelta_range("1h", periods=2, freq="h")),
    "periods": two.set_index(pd.period_range("2020", periods=2, freq="M", name="p")),
    "intervals": two.set_index(pd.interval_range(0, 2)),
    "categories as an index": two.set_index(pd.CategoricalIndex(["x", "y"], ordered=True, name="z")),
    "columns that are integers": pd.DataFrame(np.zeros((2, 3))),
    "columns that are numbers and text": pd.DataFrame(np.zeros((2, 2)), columns=["a", 1]),
    "columns that are floats": pd.DataFrame([[1, 2]], columns=[1.5, 2.5]),
    "columns that are booleans": pd.DataFrame([[1, 2]], columns=[True, False]),
    "columns that are days": pd.DataFrame(np.eye(2), columns=days),
    "columns that are days in a zone": pd.DataFrame(np.eye(2), columns=berlin),
    "columns that are categories": pd.DataFrame(np.eye(2), columns=pd.CategoricalIndex(["x", "y"])),
    "columns that are periods": pd.DataFrame(np.eye(2), columns=pd.period_range("2020", periods=2, freq="Q")),
    "columns that are a range": pd.DataFrame(np.eye(2), columns=pd.RangeIndex(0, 4, 2)),
    "a name for the columns": two.rename_axis(columns="things").rename_axis("rows"),
    "a missing label": pd.DataFrame([[1, 2]], columns=pd.Index([None, "a"], dtype=object)),
    "a column called as Arrow calls indexes": pd.DataFrame({"__index_level_0__": [1, 2]}, index=[5, 6]),
    "nullable types": pd.DataFrame(
        {name: pd.array([1, None], dtype=name) for name in ("Int8", "UInt64", "Float32", "Float64", "boolean")}
    ),
    "strings of every kind": pd.DataFrame(
        {
            "str": ["a", None],
            "string": pd.array(["a", None], dtype="string"),
            "python": pd.array(["a", None], dtype="string[python]"),
            "object": np.array(["a", None], dtype=object),
            "object with nan": np.array(["a", np.nan], dtype=object),
            "object with both": np.array([None, np.nan], dtype=object),
            "object with NA": np.array(["a", pd.NA], dtype=object),
        }
    ),
    "objects of one type": pd.DataFrame(
        {
            name: pd.Series(values, dtype=object)
            for name, values in {
                "dates": [dt.date(2020, 1, 1), None],
                "bytes": [b"a", None],
                "booleans": [True, np.nan],
                "integers": [1, None],
                "decimals": [Decimal("1.50"), None],
                "lists": [[1, 2], [3, 4]],
                "dicts": [{"a": 1}, {"b": [2]}],
                "tuples": [(1, 2), (3, 4)],
                "nothing": [None, None],
                "moments": [pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2021", tz="Asia/Tokyo")],
            }.items()
        }
    ),
    "categories": pd.DataFrame(
        {
            "ordered": pd.Categorical(["a", None], categories=["b", "a", "z"], ordered=True),
            "integers": pd.Categorical([1, 2]),
            "none": pd.Categorical([None, None]),
            "moments": pd.Categorical(berlin),
            "of objects": pd.Categorical(["a", 1], categories=pd.Index(["a", 1], dtype=object)),
        }
    ),
    "moments of every unit": pd.DataFrame(
        {unit: np.array(["1700-01-01", "NaT"], dtype=f"M8[{unit}]") for unit in ("s", "ms", "us", "ns")}
        | {f"-{unit}": np.array([-5, "NaT"], dtype=f"m8[{unit}]") for unit in ("s", "ms", "us", "ns")}
    ),
    "moments of several zones": pd.DataFrame(
        {
            "utc": pd.to_datetime(["2020", None]).tz_localize(dt.UTC),
            "zone": pd.to_datetime(["2020", None]).tz_localize(zoneinfo.ZoneInfo("Asia/Kolkata")),
            "offset": pd.to_datetime(["2020", None]).tz_localize(dt.timezone(dt.timedelta(hours=-3))),
        }
    ),
    "periods and intervals": pd.DataFrame(
        {
            "p": pd.array([pd.Period("2020-01", "M"), pd.NaT], dtype="period[M]"),
            "i": pd.arrays.IntervalArray.from_tuples([(0.5, 1.5), np.nan], closed="both"),
            "t": pd.interval_range(berlin[0], berlin[1], periods=2),
        }
    ),
    "Arrow's own types": pd.DataFrame(
        {
            "int": pd.array([1, None], dtype="int64[pyarrow]"),
            "list": pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "text": pd.array(["a", None], dtype=pd.ArrowDtype(pa.string())),
            "day": pd.Series([None, dt.date(2020, 1, 1)], dtype=pd.ArrowDtype(pa.date32())),
            "kind": pd.Series(["a", "b"], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
        }
    ),
    "narrow numbers": pd.DataFrame(
        {name: np.array([0, 1], dtype=name) for name in ("int8", "uint16", "float16", "float32", "bool", ">i4")}
    ),
    "extremes": pd.DataFrame({"u": np.array([0, 2**64 - 1], "u8"), "f": [np.nan, -0.0], "g": [np.inf, 5e-324]}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_equal(name, files):
    assert_same(FRAMES[name], there_and_back(FRAMES[name], files))


@pytest.mark.parametrize("name", FRAMES)
def test_nothing_of_a_frame_lies_in_the_file_it_was_read_from(name, files):
    # Else the process would die where a sweep removes the file on a file server.
    back = codecs.decode(codecs.encode(FRAMES[name], files, limit=0), files)
    assert str(files.store.directory) not in Path("/proc/self/maps").read_text()
    assert back is not None


def test_attrs_come_back(files):
    frame = two.copy()
    frame.attrs = {"unit": "m", "made": dt.date(2020, 1, 1)}
    assert there_and_back(frame, files).attrs == frame.attrs


def test_what_comes_back_can_be_written_to(files):
    frame = there_and_back(two, files)
    frame.loc[0, "a"] = 7
    frame["c"] = frame["a"] * 2
    assert frame["a"].tolist() == [7, 2]


def test_a_view_of_a_large_frame_travels_without_the_rest(files):
    large = pd.DataFrame({"a": range(100_000), "s": ["some text"] * 100_000})
    assert len(codecs.encode(large.iloc[50_000:50_010], files)) < 4000


CELLS = st.one_of(st.none(), st.text(), st.dates(), st.booleans())
DTYPES = st.sampled_from(
    ["int8", "int64", "uint32", "float32", "float64", "bool", "M8[ns]", "M8[s]", "m8[ns]", "str", "object"]
)


@st.composite
def frames(draw):
    rows = draw(st.integers(0, 5))
    data = {}
    labels = draw(st.lists(st.one_of(st.text(max_size=4), st.integers(-3, 3)), max_size=4, unique_by=repr))
    for position, _ in enumerate(labels):
        dtype = draw(DTYPES)
        if dtype in ("str", "object"):
            values = draw(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=rows, max_size=rows))
            data[position] = pd.Series(values, dtype=dtype)
        else:
            data[position] = draw(hp.series(dtype=np.dtype(dtype), index=hp.range_indexes(rows, rows)))
    frame = pd.DataFrame(data, index=pd.RangeIndex(rows))
    frame.columns = pd.Index(labels, dtype=object) if draw(st.booleans()) else pd.Index(labels)
    kind = draw(st.sampled_from(["range", "text", "moments", "categories", "two levels"]))
    texts = draw(st.lists(st.text(max_size=3), min_size=rows, max_size=rows))
    match kind:
        case "text":
            frame.index = pd.Index(texts, name=draw(st.one_of(st.none(), st.text())))
        case "moments":
            zone = draw(st.sampled_from([None, "UTC", "America/New_York", "Australia/Lord_Howe"]))
            frame.index = pd.date_range(
                "2021-03-13", periods=rows, freq=draw(st.sampled_from(["D", "h", "ME"])), tz=zone
            )
        case "categories":
            frame.index = pd.CategoricalIndex(texts, ordered=draw(st.booleans()))
        case "two levels":
            frame.index = pd.MultiIndex.from_arrays([texts, range(rows)], names=["t", None])
    return frame


@quick
@given(frame=frames())
def test_any_frame_comes_back_equal(frame, files):
    assert_same(frame, codecs.decode(codecs.encode(frame, files), files))


@quick
@given(
    values=st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=6),
    more=st.lists(st.text(max_size=3), max_size=3),
    ordered=st.booleans(),
)
def test_any_categories_come_back_in_their_order(values, more, ordered, files):
    categories = list(dict.fromkeys([*more, *(value for value in values if value is not None)]))
    series = pd.Series(pd.Categorical(values, categories=categories, ordered=ordered), name="c")
    back = codecs.decode(codecs.encode(series, files), files)
    pd.testing.assert_series_equal(series, back)
    assert back.cat.categories.tolist() == categories
    assert back.cat.ordered == ordered


@quick
@given(
    moments=st.lists(
        st.one_of(st.none(), st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2100, 1, 1))),
        max_size=5,
    ),
    zone=st.timezones(),
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_any_moments_come_back_in_their_zone(moments, zone, unit, files):
    series = pd.Series(pd.DatetimeIndex(moments, dtype="M8[ns]").as_unit(unit).tz_localize("UTC").tz_convert(zone))
    back = codecs.decode(codecs.encode(series, files), files)
    pd.testing.assert_series_equal(series, back)
    assert back.dtype == series.dtype


def test_a_series_comes_back_equal(files):
    for series in (
        pd.Series([1, 2], index=["a", "b"], name=("x", 1)),
        pd.Series(berlin, index=days),
        pd.Series([], dtype="str"),
        pd.Series([1.5, np.nan], name=0),
        pd.Series([[1], [2]], name=None),
    ):
        back = codecs.decode(codecs.encode(series, files), files)
        pd.testing.assert_series_equal(series, back, check_freq=True)
        assert type(back.name) is type(series.name)
        assert back.name == series.name


def test_a_table_comes_back_equal(files):
    table = pa.table(
        {
            "a": pa.chunked_array([[1], [2, None]]),
            "s": pa.array(["x", None, "z"]).dictionary_encode(),
            "l": [[1], [], None],
        },
    ).replace_schema_metadata({"made by": "hand"})
    for limit in (0, 1 << 20):
        back = codecs.decode(codecs.encode(table, files, limit=limit), files)
        assert back.equals(table, check_metadata=True)
    assert len(codecs.encode(pa.table({"a": range(100_000)}).slice(5, 3), files)) < 2000


REFUSED = {
    "duplicate names": (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["'a'", "more than once", "duplicated()"]),
    "complex": (pd.DataFrame({"z": [1j]}), ["column 'z'", "complex", "real and imaginary"]),
    "sparse": (pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}), ["column 's'", "to_dense"]),
    "mixed": (pd.DataFrame({"m": pd.Series([1, "a"], dtype=object)}), ["column 'm'", "int, str", "astype(str)"]),
    "objects": (
        pd.DataFrame({"o": [object(), object()]}),
        ["column 'o'", "row 0", "builtins.object" if 0 else "object"],
    ),
    "sets": (pd.DataFrame({"o": [{1}, {2}]}), ["column 'o'", "row 0", "sorted"]),
    "large integers": (pd.DataFrame({"n": pd.Series([1, 2**70], dtype=object)}), ["column 'n'", "row 1", "64"]),
    "numpy scalars": (
        pd.DataFrame({"n": pd.Series([np.int64(1), None], dtype=object)}),
        ["column 'n'", "infer_objects"],
    ),
    "arrays": (pd.DataFrame({"n": [np.zeros(2), np.ones(2)]}), ["column 'n'", "ndarray", "map(list)"]),
    "an odd label": (pd.DataFrame([[1]], columns=pd.Index([pd.Interval(0, 1)], dtype=object)), ["columns' index"]),
    "odd attrs": (None, ["attrs", "set", "attrs.clear()"]),
    "long doubles": (pd.DataFrame({"x": np.array([1], "longdouble")}), ["column 'x'", "float64"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_with_its_column_and_a_cure(name, files):
    frame, words = REFUSED[name]
    if frame is None:
        frame = two.copy()
        frame.attrs = {"s": {1}}
    with pytest.raises(UnsupportedValue) as caught:
        codecs.encode(frame, files)
    for word in words:
        assert word in str(caught.value)


def test_a_subclass_of_a_frame_is_refused(files):
    class Special(pd.DataFrame):
        pass

    with pytest.raises(UnsupportedValue, match="Special"):
        codecs.encode(Special({"a": [1]}), files)


def test_an_extension_type_of_another_package_is_refused(files):
    class Celsius(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.float64(), "test.celsius")

        def __arrow_ext_serialize__(self):
            return b""

    celsius = Celsius()  # Arrow keeps only a weak reference
    table = pa.table({"t": pa.ExtensionArray.from_storage(celsius, pa.array([1.0]))})
    with pytest.raises(UnsupportedValue, match=r"column 't'.*storage"):
        codecs.encode(table, files)
