from __future__ import annotations

import time

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import schemas
from workbench.values import codecs
from workbench.values.files import Files


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "carrier": ["UA", "aa", None, "UAL"],
            "group": pd.Categorical(["x", "y", None, "x"]),
            "month": [1, 0, 12, 13],
            "seats": pd.array([1, None, 300, 4], dtype="Int64"),
            "arrow": pd.array([1.5, None, -2.0, 4.0], dtype="double[pyarrow]"),
            "at": pd.to_datetime(["2013-01-01", "2012-12-31", None, "2014-01-01"]),
            "zoned": pd.date_range("2013-01-01", periods=4, tz="Europe/Berlin"),
            "span": pd.to_timedelta([1, 2, None, 4], unit="h"),
            "flag": [True, False, True, True],
        },
        index=["p", "q", "r", "s"],
    )


def broken(frame: pd.DataFrame, column: str, **rules: object) -> list[tuple[str | None, str | None]]:
    found = schemas.validate(frame, {column: rules})
    assert set(found["rule"]) <= set(rules)
    assert_frame_equal(codecs.decode(codecs.encode(found, Files("")), Files("")), found)
    return [
        tuple(None if pd.isna(each) else each for each in pair) for pair in found[["row", "value"]].to_numpy().tolist()
    ]


@pytest.mark.parametrize(
    ("column", "rules", "rows"),
    [
        ("carrier", {"nullable": False}, [("r", None)]),
        ("carrier", {"nullable": True}, []),
        ("flag", {"nullable": False}, []),
        ("month", {"min": 1, "max": 12}, [("q", "0"), ("s", "13")]),
        ("month", {"min": 0.5}, [("q", "0")]),
        ("seats", {"max": 100}, [("r", "300")]),
        ("arrow", {"min": 0}, [("r", "-2.0")]),
        ("carrier", {"min": "B"}, []),
        ("carrier", {"max": "Z"}, [("q", "aa")]),
        ("at", {"min": "2013-01-01"}, [("q", "2012-12-31 00:00:00")]),
        ("at", {"max": pd.Timestamp("2013-12-31")}, [("s", "2014-01-01 00:00:00")]),
        ("zoned", {"max": "2013-01-03"}, [("s", "2013-01-04 00:00:00+01:00")]),
        ("zoned", {"max": "2013-01-02T23:00:00Z"}, [("s", "2013-01-04 00:00:00+01:00")]),
        ("span", {"max": "2h"}, [("s", "0 days 04:00:00")]),
        ("carrier", {"regex": "[A-Z]{2}"}, [("q", "aa"), ("s", "UAL")]),
        ("carrier", {"regex": "UA|aa"}, [("s", "UAL")]),
        ("group", {"regex": "x"}, [("q", "y")]),
        ("carrier", {"isin": ["UA", "UAL"]}, [("q", "aa")]),
        ("group", {"isin": ["x"]}, [("q", "y")]),
        ("month", {"isin": [1, 12, 13]}, [("q", "0")]),
        ("at", {"isin": ["2013-01-01", "2014-01-01"]}, [("q", "2012-12-31 00:00:00")]),
        ("flag", {"isin": [True]}, [("q", "False")]),
        ("carrier", {"min_length": 3}, [("p", "UA"), ("q", "aa")]),
        ("carrier", {"max_length": 2}, [("s", "UAL")]),
        ("group", {"unique": True}, [("p", "x"), ("s", "x")]),
        ("group", {"unique": False}, []),
        ("month", {"unique": True}, []),
        ("month", {"dtype": "int64"}, []),
        ("month", {"dtype": "Int64"}, [(None, "int64")]),
        ("zoned", {"dtype": "datetime64[us, Europe/Berlin]"}, []),
        ("seats", {"dtype": "Int64"}, []),
        ("month", {"min": "a"}, [(None, "int64")]),
        ("carrier", {"min": 3}, [(None, "str")]),
        ("month", {"regex": "1"}, [(None, "int64")]),
        ("carrier", {"isin": [1]}, [(None, "str")]),
        ("flag", {"max_length": 1}, [(None, "bool")]),
    ],
)
def test_what_breaks_a_rule_is_named_by_its_row(frame: pd.DataFrame, column, rules, rows):
    assert broken(frame, column, **rules) == rows
    assert broken(frame.head(0), column, **{rule: rules[rule] for rule in rules if rule != "dtype"}) == []


def test_a_column_has_to_be_there_unless_it_is_optional(frame: pd.DataFrame):
    found = schemas.validate(frame, {"tail": {}, "gate": {"required": False, "min": 3}, "flag": {"required": True}})
    assert found[["column", "rule", "count"]].to_numpy().tolist() == [["tail", "required", 1]]


def test_more_violations_than_are_named_are_counted():
    many = pd.DataFrame({"a": range(1000), "b": ["x"] * 1000})
    found = schemas.validate(many, {"a": {"max": 9}, "b": {"regex": "y", "isin": ["x"]}}, limit=3)
    assert found["count"].tolist() == [1, 1, 1, 987, 1, 1, 1, 997]
    assert found["row"].isna().tolist() == [False, False, False, True] * 2
    assert found["value"].tolist()[:3] == ["10", "11", "12"]


def test_a_rule_that_does_not_fit_a_column_counts_its_values(frame: pd.DataFrame):
    found = schemas.validate(frame, {"carrier": {"max": 3}})
    assert found["count"].tolist() == [3]


def test_a_valid_table_breaks_nothing(frame: pd.DataFrame):
    for data in (frame, frame.head(0)):
        found = schemas.validate(data, {"month": {"min": 0, "max": 13, "nullable": False}})
        assert found.columns.tolist() == ["row", "column", "rule", "value", "count"]
        assert len(found) == 0


def test_an_expression_that_would_take_pythons_engine_for_ever_takes_no_time():
    data = pd.DataFrame({"a": ["a" * 5000 + "!"]})
    started = time.process_time()
    assert len(schemas.validate(data, {"a": {"regex": "(a+)+"}})) == 1
    assert time.process_time() - started < 5  # Python's re would need 2**5000 steps


@pytest.mark.parametrize(
    ("schema", "options", "reason"),
    [
        ({"month": {"minimum": 3}}, {}, "no rule 'minimum'"),
        ({"month": {"min": None}}, {}, "takes a value"),
        ({"month": {"nullable": "no"}}, {}, "True or False"),
        ({"carrier": {"isin": "UA"}}, {}, "list of values"),
        ({"carrier": {"regex": 3}}, {}, "regular expression"),
        ({"carrier": {"regex": "("}}, {}, "RE2"),
        ({"carrier": {"regex": "(?=a)"}}, {}, "RE2"),
        ({"carrier": {"regex": r"(a)\1"}}, {}, "RE2"),
        ({"carrier": {"regex": "((a{100}){100}){100}"}}, {}, "RE2"),
        ({"carrier": {"regex": "a" * 1001}}, {}, "1000 characters"),
        ({"carrier": {"max_length": True}}, {}, "number of characters"),
        ({"month": {"dtype": "int65"}}, {}, "not a type"),
        ({"at": {"min": "soon"}}, {}, "doesn't compare"),
        ({"month": {}}, {"limit": 0}, "limit"),
    ],
)
def test_a_schema_that_is_none_is_refused_with_the_rule(frame: pd.DataFrame, schema, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        schemas.validate(frame, schema, **options)
