from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import derived, expressions


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [0.5, np.nan, -2.0],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "name": [" Ann", "bob", None],
            "carrier": pd.Categorical(["UA", "AA", "UA"]),
            "at": pd.to_datetime(["2013-01-01 05:00", "2013-06-30 23:59", None]),
            "zoned": pd.date_range("2013-01-01", periods=3, tz="Europe/Berlin"),
            "span": pd.to_timedelta([1, 2, 3], unit="h"),
            "flag": [True, False, True],
            "air time": [10, 20, 30],
            "größe": [1.0, 2.0, 3.0],
        },
        index=[7, 7, 9],
    )


EXPRESSIONS = [
    ("a + 1", lambda f: f["a"] + 1),
    ("-a * 2.5 / b", lambda f: -f["a"] * 2.5 / f["b"]),
    ("a // 2 + a % 2", lambda f: f["a"] // 2 + f["a"] % 2),
    ("a ** 2 - b ** -1", lambda f: f["a"] ** 2 - f["b"] ** -1),
    ("nullable + a", lambda f: f["nullable"] + f["a"]),
    ('col("air time") / a', lambda f: f["air time"] / f["a"]),
    ("größe * 2", lambda f: f["größe"] * 2),
    ("a > 1", lambda f: f["a"] > 1),
    ("1 < a <= 3", lambda f: (f["a"] > 1) & (f["a"] <= 3)),
    ("b != b", lambda f: f["b"] != f["b"]),
    ("nullable > 1", lambda f: f["nullable"] > 1),
    ("a > 1 and not flag or b < 0", lambda f: (f["a"] > 1) & ~f["flag"] | (f["b"] < 0)),
    ("(a > 1) & ~flag", lambda f: (f["a"] > 1) & ~f["flag"]),
    ("a in [1, 3]", lambda f: f["a"].isin([1, 3])),
    ("a not in (1, -3)", lambda f: ~f["a"].isin([1, -3])),
    ('carrier == "UA"', lambda f: f["carrier"] == "UA"),
    (
        'carrier + "-" + strip(lower(name))',
        lambda f: f["carrier"].astype("str") + "-" + f["name"].str.lower().str.strip(),
    ),
    ("upper(carrier)", lambda f: f["carrier"].astype("str").str.upper()),
    ("length(name)", lambda f: f["name"].str.len()),
    ('contains(name, "b")', lambda f: f["name"].str.contains("b", regex=False)),
    ('startswith(carrier, "U")', lambda f: f["carrier"].astype("str").str.startswith("U")),
    ("abs(b) + sqrt(a) + log(a)", lambda f: f["b"].abs() + np.sqrt(f["a"]) + np.log(f["a"])),
    ("sqrt(nullable)", lambda f: np.sqrt(f["nullable"])),
    ("round(b / 3, 2)", lambda f: (f["b"] / 3).round(2)),
    (
        "floor(b) + ceil(b) + exp(b) + log10(a)",
        lambda f: np.floor(f["b"]) + np.ceil(f["b"]) + np.exp(f["b"]) + np.log10(f["a"]),
    ),
    ("year(at) * 100 + month(at)", lambda f: f["at"].dt.year * 100 + f["at"].dt.month),
    (
        "day(zoned) + hour(zoned) + minute(at) + second(at)",
        lambda f: f["zoned"].dt.day + f["zoned"].dt.hour + f["at"].dt.minute + f["at"].dt.second,
    ),
    ("weekday(zoned)", lambda f: f["zoned"].dt.day_of_week),
    ('at > "2013-02-01"', lambda f: f["at"] > "2013-02-01"),
    ('zoned >= "2013-01-02"', lambda f: f["zoned"] >= "2013-01-02"),
    ("at - at", lambda f: f["at"] - f["at"]),
    ("at + span", lambda f: f["at"] + f["span"]),
    ("span / 2", lambda f: f["span"] / 2),
    ('span > "90min"', lambda f: f["span"] > "90min"),
    ("is_missing(name)", lambda f: f["name"].isna()),
    ("coalesce(b, nullable, 0)", lambda f: f["b"].where(f["b"].notna(), f["nullable"]).fillna(0)),
    ('coalesce(name, "?")', lambda f: f["name"].fillna("?")),
    ('if_else(a > 1, "many", "one")', lambda f: pd.Series(["one", "many", "many"], index=f.index)),
    ("if_else(nullable > 1, a, -1)", lambda f: pd.Series([-1, -1, 3], index=f.index)),
    ("if_else(flag, at, None)", lambda f: f["at"].where(f["flag"])),
    ("if_else(flag, None, b)", lambda f: f["b"].where(~f["flag"])),
    ("if_else(flag, None, 5)", lambda f: pd.Series([np.nan, 5.0, np.nan], index=f.index)),
    ("if_else(1 < 2, a, b)", lambda f: f["a"]),
]


@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_expression_gives_what_pandas_gives(frame: pd.DataFrame, text: str, expected):
    found = derived.assign(frame, {"new": text})

    assert_series_equal(found["new"], expected(frame), check_names=False)
    assert_frame_equal(found.drop(columns="new"), frame)
    empty = derived.assign(frame.head(0), {"new": text})
    assert len(empty) == 0
    assert empty.columns.tolist() == found.columns.tolist()


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("a +", 4, "can't be read"),
        ("a + c", 5, "no column 'c'"),
        ("größe + c", 9, "no column 'c'"),
        ("(a\n+ c)", 6, "no column 'c'"),
        ("a + upper(a)", 5, "upper takes text"),
        ("a + name", 1, "doesn't go between"),
        ("name * 3", 1, "doesn't go between"),
        ('"x" * 1000000', 1, "doesn't go between"),
        ('a > "x"', 1, "doesn't compare"),
        ('a in [1, "x"]', 10, "doesn't compare"),
        ('at > "tomorrow-ish"', 1, "doesn't compare"),
        ("a == None", 1, "is_missing"),
        ("a is 3", 6, "instead of is"),
        ("a in b", 6, "list of values"),
        ("a in []", 6, "list of values"),
        ("a ** b", 6, "exponent"),
        ("9 ** 9 ** 9", 6, "exponent"),
        ("a ** 1000", 6, "exponent"),
        ("a ** -65", 6, "exponent"),
        ("a + 99999999999999999999", 5, "64 bits"),
        ("1 / 0", 5, "divides by zero"),
        ("not a", 5, "takes conditions"),
        ("a and flag", 1, "takes conditions"),
        ("-name", 2, "sign"),
        ("frobnicate(a)", 1, "no function 'frobnicate'"),
        ("round(a, b)", 10, "written out"),
        ("round(a, 1.5)", 1, "whole number"),
        ("abs(a, a)", 1, "write abs"),
        ("abs(x=a)", 1, "by position"),
        ("year(a)", 1, "times"),
        ('year("2013-01-01")', 1, "times"),
        ("if_else(a, 1, 2)", 1, "condition"),
        ('if_else(flag, 1, "x")', 1, "one kind"),
        ("a if flag else b", 1, "if_else"),
        ("a.b", 1, "no attributes"),
        ('col("x")', 1, "no column 'x'"),
        ("col(a)", 1, "in quotes"),
        ("col", 1, "no column"),
        ("b''", 1, "not part"),
        ("1j", 1, "not part"),
        ("...", 1, "not part"),
        ("[1, 2]", 1, "not part"),
        ("a[0]", 1, "not part"),
        ("f'{a}'", 1, "not part"),
        ("(lambda: 1)()", 1, "not part"),
        ("[x for x in a]", 1, "not part"),
        ("(x := 3)", 2, "not part"),
        ("a << 3", 1, "not part"),
        ("a @ a", 1, "not part"),
        ("a ^ a", 1, "not part"),
        ("abs(*a)", 5, "not part"),
        ("", 1, "can't be read"),
        ("a; b", 2, "can't be read"),
        ("a\x00", 2, "can't be read"),
        ("import os", 1, "can't be read"),
    ],
)
def test_what_is_not_an_expression_is_refused_at_its_place(frame: pd.DataFrame, text: str, at: int, reason: str):
    with pytest.raises(InvalidArguments, match=reason) as caught:
        derived.assign(frame, {"new": text})

    assert f"at character {at}:" in str(caught.value)
    assert "column 'new'" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__[0].__subclasses__()",
        "a.__class__",
        "open('/etc/passwd')",
        "eval('1')",
        "exec('1')",
        "@a",
        "a.to_csv('/tmp/x')",
        "col('a').to_csv('x')",
        "`a`",
        "getattr(a, 'to_csv')",
        "abs.__globals__",
        "(abs)(a)(a)",
        "'{0.__class__}'.format(a)",
        "'%s' % a",
    ],
)
def test_nothing_of_python_can_be_reached(frame: pd.DataFrame, text: str):
    with pytest.raises(InvalidArguments, match="at character"):
        derived.assign(frame, {"new": text})


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["a"] * 200),
        "-" * 1500 + "a",
        "(" * 150 + "a" + ")" * 150,
        "(" * 900 + "a" + ")" * 900,
        "[" * 1900,
        "not " * 400 + "flag",
        "abs(" * 300 + "a" + ")" * 300,
        "a" * 3000,
    ],
    ids=["sum", "signs", "parentheses", "more parentheses", "brackets", "nots", "calls", "long"],
)
def test_an_expression_is_bounded_in_length_and_depth(frame: pd.DataFrame, text: str):
    if text.startswith("(" * 150 + "a"):  # parentheses leave no trace once they are read
        assert derived.assign(frame, {"new": text})["new"].tolist() == [1, 2, 3]
        return
    with pytest.raises(InvalidArguments, match=r"deep|characters|can't be read"):
        derived.assign(frame, {"new": text})


def test_a_constants_power_never_grows_beyond_a_float(frame: pd.DataFrame):
    text = "9"
    for _ in range(60):
        text = f"({text}) ** 64"
    assert np.isinf(expressions.evaluate(text, frame))


def test_an_expression_may_stand_in_several_lines(frame: pd.DataFrame):
    assert expressions.evaluate("\n (a\n  + 1)\n", frame).tolist() == [2, 3, 4]


def test_a_later_expression_sees_an_earlier_one_and_the_table_stays_as_it_is(frame: pd.DataFrame):
    before = frame.copy(deep=True)
    found = derived.assign(frame, {"x": "a * 2", "a": "x + 1", "five": "5"})

    assert found["a"].tolist() == [3, 5, 7]
    assert found["five"].tolist() == [5, 5, 5]
    assert_frame_equal(frame, before)


def test_odd_columns_are_refused_with_the_reason(frame: pd.DataFrame):
    twice = pd.concat([frame, frame], axis=1)
    lists = pd.DataFrame({"x": [[1], [2]]})
    for data, columns, reason in (
        (twice, {"new": "a"}, "several columns"),
        (lists, {"new": "x + x"}, "doesn't go between"),
        (lists, {"new": "x == x"}, "doesn't compare"),
        (frame, {}, "at least one"),
    ):
        with pytest.raises(InvalidArguments, match=reason):
            derived.assign(data, columns)


@given(st.text(max_size=60) | st.text(alphabet="ab+-*/()[]<>=!.,'\"0123456789 notandorif_elsecol", max_size=60))
def test_any_text_is_computed_or_refused(text: str):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    with contextlib.suppress(InvalidArguments):
        derived.assign(frame, {"new": text})
