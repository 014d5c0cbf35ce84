"""Filters by dates, times and truth values: on a frame, a file that fits in memory, and one that streams by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.large import engine, written
from workbench.core.errors import InvalidArguments
from workbench.operations import columnar, csvfiles
from workbench.operations.data.filters import filter as filter_rows

ZONE = "Europe/Zurich"
DAYS = [date(2012, 12, 31), date(2013, 1, 1), None, date(2013, 1, 2), date(9999, 12, 31)]
ALL, NEW_YEAR, OTHERS = [0, 1, 3, 4], [1], [0, 3, 4]

Keep = Callable[[list[Any]], list[int]]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    times = pd.Series(DAYS).astype("datetime64[us]")
    frame = pd.DataFrame(
        {
            "row": range(5),
            "day": pd.Series(DAYS, dtype=object),
            "time": times,
            "second": times.astype("datetime64[s]"),
            "zoned": times.dt.tz_localize(ZONE),
            "kind": pd.Series(DAYS[:4] + DAYS[3:4], dtype=object).astype("category"),
            "truth": [True, False, True, False, True],
            "maybe": pd.Series([True, False, None, False, True], dtype=object),
            "whole": [0, 1, 2, 3, 2013],
            "text": ["2013-01-01", "b", None, "d", "e"],
        }
    )
    assert frame["day"].map(type).tolist()[:2] == [date, date]
    return frame


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("filters")


@pytest.fixture(params=["a frame", "a file", "a large file"])
def keep(request: pytest.FixtureRequest, frame: pd.DataFrame, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Return the function that tells which rows a filter keeps."""

    def kept(filters: list[Any]) -> list[int]:
        if request.param == "a frame":
            found = filter_rows(frame, filters)
        elif request.param == "a file":
            found = filter_rows(written(frame, directory), filters)
        else:
            with engine(monkeypatch, "pyarrow"):
                found = filter_rows(written(frame, directory), filters)
        assert isinstance(found, pd.DataFrame)
        return found["row"].tolist()

    return kept


MOMENTS = [
    "2013-01-01",
    "20130101",
    "2013-01-01T00:00",
    "2013-01-01 00:00:00.000",
    date(2013, 1, 1),
    datetime(2013, 1, 1),
    pd.Timestamp("2013-01-01"),
    np.datetime64("2013-01-01"),
]


@pytest.mark.parametrize("column", ["day", "time", "second", "zoned"])
@pytest.mark.parametrize("value", MOMENTS, ids=repr)
def test_dates_and_times_match_whatever_form_a_date_comes_in(keep: Keep, column: str, value: Any):
    assert keep([(column, "==", value)]) == NEW_YEAR
    assert keep([(column, "!=", value)]) == OTHERS
    assert keep([(column, "<", value)]) == [0]
    assert keep([(column, "<=", value)]) == [0, 1]
    assert keep([(column, ">", value)]) == [3, 4]
    assert keep([(column, ">=", value)]) == [1, 3, 4]
    assert keep([(column, "in", [value, "2012-12-31"])]) == [0, 1]
    assert keep([(column, "not in", [value, "2012-12-31"])]) == [3, 4]


@pytest.mark.parametrize("column", ["day", "time", "second", "zoned", "kind"])
def test_a_date_is_its_midnight_and_a_time_within_it_is_another(keep: Keep, column: str):
    noon = "2013-01-01T12:00:00.000001"
    assert keep([(column, "==", noon)]) == []
    assert keep([(column, "in", [noon])]) == []
    assert keep([(column, "not in", [noon])]) == keep([(column, "!=", noon)]) == ALL
    assert keep([(column, "<", noon)]) == [0, 1]


@pytest.mark.parametrize("missing", [None, pd.NaT, float("nan")], ids=repr)
def test_a_missing_moment_matches_nothing(keep: Keep, missing: Any):
    for column in ("day", "time", "zoned"):
        assert keep([(column, "==", missing)]) == keep([(column, "<", missing)]) == []
        assert keep([(column, "in", [missing, "2013-01-01"])]) == NEW_YEAR
        assert keep([(column, "in", [])]) == []


def test_a_moment_with_a_zone_is_the_same_everywhere(keep: Keep):
    for value in (
        "2012-12-31T23:00Z",
        "2013-01-01T08:00+09:00",
        datetime(2012, 12, 31, 23, tzinfo=UTC),
        pd.Timestamp("2013-01-01", tz=ZONE),
    ):
        assert keep([("zoned", "==", value)]) == NEW_YEAR
        assert keep([("zoned", "in", [value, "2012-12-31"])]) == [0, 1]


TYPES = {
    "day": "date",
    "time": r"datetime64\[us\]|timestamp\[us\]",
    "zoned": r"datetime64\[us, Europe/Zurich\]|timestamp\[us, tz=Europe/Zurich\]",
    "kind": "date|dictionary<values=date32",
    "truth": "bool",
    "maybe": "bool",
    "whole": "int64",
    "text": "str|large_string",
}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((column, value) for column in ("day", "time", "zoned", "kind") for value in (2013, 2013.0, True, b"2013")),
        *(
            (column, value)
            for column in ("day", "time", "zoned", "kind")
            for value in ("May", "2013", "1/2/2013", "now")
        ),
        *(
            (column, value)
            for column in ("day", "time")
            for value in ("2013-01-01T00:00Z", datetime(2013, 1, 1, tzinfo=UTC))
        ),
        ("zoned", "2013-03-31T02:30"),  # the clocks go forward
        ("day", ["2013-01-01"]),
        ("day", {"a": 1}),
        *((column, value) for column in ("truth", "maybe") for value in ("True", date(2013, 1, 1))),
        *(("whole", value) for value in ("2013", date(2013, 1, 1), pd.Timestamp("2013-01-01"))),
        *(("text", value) for value in (2013, True, date(2013, 1, 1))),
    ],
    ids=repr,
)
def test_what_is_of_another_kind_is_refused_by_column_type_and_value(keep: Keep, column: str, value: Any):
    for op, values in (("==", value), ("!=", value), ("<", value), ("in", [value]), ("not in", [value])):
        with pytest.raises(
            InvalidArguments, match=rf"'{column}' holds ({TYPES[column]}).* can't compare with"
        ) as refused:
            keep([(column, op, values)])
        assert repr(value) in str(refused.value)


def test_a_refusal_says_what_to_write_instead(keep: Keep):
    for column, value, reason in (
        ("day", "May", "ISO 8601"),
        ("time", 2013, "'2013-01-31'"),
        ("time", "2013-01-01T00:00Z", "leave its zone out"),
        ("zoned", "2013-10-27T02:30", "or two: give its offset"),
    ):
        with pytest.raises(InvalidArguments, match=reason):
            keep([(column, "==", value)])


def test_numbers_and_truth_values_compare_with_each_other(keep: Keep):
    assert keep([("whole", "==", True)]) == keep([("whole", "in", [True])]) == [1]
    assert keep([("truth", "==", 1)]) == [0, 2, 4]
    assert keep([("maybe", "==", True)]) == keep([("maybe", "in", [True])]) == [0, 4]


def test_dates_are_kept_as_parquets_reader_keeps_them(keep: Keep, frame: pd.DataFrame, directory: Path):
    path = directory / "read.parquet"
    frame.drop(columns="kind").to_parquet(path)
    for filters in (
        [("day", "<", date(2013, 1, 2))],
        [("day", "in", [date(2013, 1, 1), date(2013, 1, 2)])],
        [("time", "!=", datetime(2013, 1, 1))],
        [[("day", "==", date(2013, 1, 1))], [("zoned", ">=", pd.Timestamp("2013-01-02", tz=ZONE))]],
    ):
        assert keep(filters) == pd.read_parquet(path, filters=filters)["row"].tolist()


def test_a_type_of_arrows_in_a_frame_counts_as_what_it_is():
    frame = pd.DataFrame(
        {
            "day": pd.array(DAYS, dtype=pd.ArrowDtype(pa.date32())),
            "zoned": pd.array([pd.Timestamp(str(day), tz=ZONE) for day in DAYS[:2]] + [None] * 3).astype(
                pd.ArrowDtype(pa.timestamp("us", ZONE))
            ),
        }
    )
    for column in ("day", "zoned"):
        assert filter_rows(frame, [(column, "==", "2013-01-01")]).index.tolist() == NEW_YEAR
        assert filter_rows(frame, [(column, "in", ["2013-01-01"])]).index.tolist() == NEW_YEAR
        assert filter_rows(frame.iloc[2:3], [(column, "<", "2013-01-01")]).empty
        with pytest.raises(InvalidArguments, match=f"'{column}' holds"):
            filter_rows(frame, [(column, "!=", 2013)])


def test_a_block_without_a_value_and_an_empty_file_hold_dates_too(directory: Path, monkeypatch: pytest.MonkeyPatch):
    days = pa.array([None] * 4 + [date(2013, 1, 1)], pa.date32())
    sparse, empty = directory / "sparse.parquet", directory / "empty.parquet"
    parquet.write_table(pa.table({"day": days}), sparse, row_group_size=2)
    parquet.write_table(pa.table({"day": days[:0]}), empty)
    monkeypatch.setattr(columnar, "BATCH_ROWS", 2)

    with engine(monkeypatch, "pyarrow"):
        assert filter_rows(sparse, [("day", ">=", "2013-01-01")])["day"].tolist() == [date(2013, 1, 1)]
        assert filter_rows(empty, [("day", "in", ["2013-01-01"])])["day"].tolist() == []
        for path in (sparse, empty):
            with pytest.raises(InvalidArguments, match=r"'day' holds date32\[day\].*2013 \(int\)"):
                filter_rows(path, [("day", "!=", 2013)])


def test_numbers_that_turn_out_to_be_text_are_refused_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "late.csv"
    path.write_text("x\n" + "1\n" * 5000 + "one\n")
    monkeypatch.setattr(csvfiles, "BLOCK", 4096)

    with engine(monkeypatch, "pyarrow"), pytest.raises(InvalidArguments, match=r"'x' holds .*string.*1 \(int\)"):
        filter_rows(path, [("x", "==", 1)])
