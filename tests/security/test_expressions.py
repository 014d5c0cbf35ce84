"""`data.assign` computes over columns and does nothing else: no Python, no files, no time or memory without end.

`data.filter` takes conditions that are plain values, and says of any others what is wrong.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from tests.security import hostile_expressions
from workbench.core.errors import InputError, InvalidArguments, UnsupportedValue
from workbench.operations import datasets, registry, signature
from workbench.values import codecs
from workbench.values.files import Files

registry.load()
FRAME = pd.DataFrame({"x": [1, 2], "s": ["a" * 30, "b"], "y": ["p", "q"]})


def assigned(expression: str) -> pd.DataFrame:
    return registry.get("data.assign").function(FRAME, {"new": expression})


NO_FUNCTION = "1: there is no function {!r}. Known: col, abs, round, "
NO_COLUMN = "there is no column {!r}. Columns: x, s, y"
UNREADABLE = "it can't be read: invalid syntax. Known are columns, numbers, text in quotes, "
BY_POSITION = "1: functions take their arguments by position"
COL = '1: col takes a column\'s name in quotes: col("air time")'
EXPONENT = "an exponent has to be a number from -64 to 64"

REASONS = {
    "__builtins__": "1: " + NO_COLUMN.format("__builtins__"),
    "exec('1')": NO_FUNCTION.format("exec"),
    "eval('1')": NO_FUNCTION.format("eval"),
    "compile('1', '', 'eval')": NO_FUNCTION.format("compile"),
    "globals()": NO_FUNCTION.format("globals"),
    "getattr(x, 'values')": NO_FUNCTION.format("getattr"),
    "__\uff49mport__('os')": NO_FUNCTION.format("__import__"),
    "x.values": "1: there are no attributes; write col('x.values') for a column",
    "\uff58.\uff56alues": "1: there are no attributes; write col('x.values') for a column",
    "upper.__globals__": "1: there are no attributes; write col('upper.__globals__') for a column",
    "'%s' % x": "1: % doesn't go between '%s' and a column of int64 (x): see data.astype",
    "@pd.io.common.os.system('touch OUT')": "1: " + UNREADABLE,
    "@x": "1: " + UNREADABLE,
    "`x`": "1: " + UNREADABLE,
    "yield x": "1: " + UNREADABLE,
    "import os": "1: " + UNREADABLE,
    "x = 1": "3: " + UNREADABLE,
    "x; x": "2: " + UNREADABLE,
    "x\nx": "3: " + UNREADABLE,
    "*x": "1: " + UNREADABLE,
    "": "1: " + UNREADABLE,
    " ": "1: " + UNREADABLE,
    "#": "2: " + UNREADABLE,
    "x ==": "5: " + UNREADABLE,
    "\0": "1: it can't be read: there is a null character",
    "x\0": "2: it can't be read: there is a null character",
    "\ud800": "1: it can't be read: there is half of a character",
    "'\\ud800' == x": "1: '\\ud800' doesn't compare with a column of int64 (x)",
    "col": "1: " + NO_COLUMN.format("col"),
    "col()": COL,
    "col(x)": COL,
    "col('x', 'x')": COL,
    "col(*['x'])": COL,
    "upper(*[x])": "7: '*[x]' is not part of the language. Known are columns, ",
    "upper(**{'x': x})": BY_POSITION,
    "upper(x=x)": BY_POSITION,
    "upper": "1: " + NO_COLUMN.format("upper"),
    "upper(upper)": "7: " + NO_COLUMN.format("upper"),
    "abs(abs)": "5: " + NO_COLUMN.format("abs"),
    "(y := 1)": "2: 'y := 1' is not part of the language. Known are columns, ",
    "x if x else x": "1: write if_else(condition, one, other)",
    "x is None": "6: write == or != instead of is; is_missing(x) for missing values",
    "x in x": "6: in takes a list of values: x in [1, 2]",
    "x in []": "6: in takes a list of values: x in [1, 2]",
    "x in [x]": "7: a number or text has to be written out here",
}
"""The character at which an expression is refused, and why; any other isn't part of the language, as a whole."""


@pytest.mark.parametrize("expression", hostile_expressions.PYTHON)
def test_what_reaches_for_python_is_refused_with_the_place_and_the_reason(
    expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where SECRET and OUT would be
    reason = REASONS.get(expression, f"1: {expression!r} is not part of the language. Known are columns, ")
    with pytest.raises(InvalidArguments) as caught:
        assigned(expression)
    assert str(caught.value).startswith(f"column 'new': {expression.strip()!r}, at character {reason}")
    assert not list(tmp_path.iterdir())


HEAVY_REASONS = {
    "9 ** 9 ** 9 ** 9": "at character 6: " + EXPONENT,
    "9.0 ** 999999": "at character 8: " + EXPONENT,
    "2 ** 10000000": "at character 6: " + EXPONENT,
    "x ** x": "at character 6: " + EXPONENT,
    "10 ** 1000": "at character 7: " + EXPONENT,
    "9" * 1999: "at character 1: a whole number has to fit into 64 bits",
    "9" * 5000: "an expression may have 2000 characters, this one has 5000: compute it in steps",
    "'x' * 10000000000": "at character 1: * doesn't go between 'x' and 10000000000: see data.astype",
    "10000000000 * 'x'": "at character 1: * doesn't go between 10000000000 and 'x': see data.astype",
    "x * 'y'": "at character 1: * doesn't go between a column of int64 (x) and 'y': see data.astype",
    "[x] * 1000000000": "at character 1: '[x]' is not part of the language. Known are columns, ",
    "(" * 900 + "x" + ")" * 900: "at character 201: it can't be read: too many nested parentheses",
    "-" * 1900 + "x": "at character 102: it is nested more than 100 deep: compute it in steps",
    "not " * 450 + "True": "at character 405: it is nested more than 100 deep: compute it in steps",
    "+".join(["x"] * 900): "at character 1: it is nested more than 100 deep: compute it in steps",
    "x + " * 100_000 + "x": "an expression may have 2000 characters, this one has 400001: compute it in steps",
    "1 / 0": "at character 5: it divides by zero",
    "1 // 0": "at character 6: it divides by zero",
    "1 % 0": "at character 5: it divides by zero",
}
"""Why an expression is refused that would take time or memory; any other calls a function that there isn't."""

AT_ONCE: dict[str, list[object]] = {
    "(" * 150 + "x" + ")" * 150: [1, 2],
    "x" + " == x" * 390: [True, True],
}
"""What comes of those that only look as if they would."""


@pytest.mark.parametrize("expression", [each for each in hostile_expressions.HEAVY if each not in AT_ONCE])
def test_what_would_take_time_or_memory_is_refused_at_once(expression: str) -> None:
    name = expression.partition("(")[0]
    reason = HEAVY_REASONS.get(expression, f"at character 1: there is no function {name!r}. Known: col, abs, ")
    started = time.process_time()
    with pytest.raises(InvalidArguments) as caught:
        assigned(expression)
    assert time.process_time() - started < 2
    shown = f"{expression!r}, " if len(expression) <= 80 else ""  # of a longer one, what stands there
    assert str(caught.value).startswith(f"column 'new': {shown}")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("expression", AT_ONCE)
def test_what_only_looks_as_if_it_took_time_or_memory_is_computed_at_once(expression: str) -> None:
    assert expression in hostile_expressions.HEAVY
    started = time.process_time()
    assert assigned(expression)["new"].tolist() == AT_ONCE[expression]
    assert time.process_time() - started < 2


# --- conditions of wrong types ----------------------------------------------------------------------


def filtered(filters: object) -> pd.DataFrame:
    """Filter with what travelled, as a worker does."""
    files = Files("")
    carried = codecs.decode(msgspec.msgpack.encode(filters), files)
    given, _ = signature.bind(
        registry.get("data.filter").spec, [FRAME, carried], {}, lambda kind, item: datasets.from_wire(kind, item, files)
    )
    return registry.get("data.filter").function(*given)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


COMPARISONS = "with one of ==, =, !=, <, <=, >, >=, in, not in"
NO_LIST = "data.filter: parameter 'filters' takes list[anything], got "


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"x": 1}, NO_LIST + "{'x': 1} (dict)"),
        ("x == 1", NO_LIST + "'x == 1' (str)"),
        (5, NO_LIST + "5 (int)"),
        (None, NO_LIST + "None (NoneType)"),
        ([], "filters takes at least one condition (column, op, value)"),
        ([5], "filters takes conditions (column, op, value), or lists of them, got 5"),
        ([[]], "filters takes conditions (column, op, value), or lists of them, got []"),
        (["x", "==", 1], "filters takes conditions (column, op, value), or lists of them, got 'x'"),
        ([["x", "==", 1], "y"], f"'y' is not a condition (column, op, value) {COMPARISONS}"),
        ([[["x", "==", 1], 5]], f"5 is not a condition (column, op, value) {COMPARISONS}"),
        ([[[["x", "==", 1]]]], f"[['x', '==', 1]] is not a condition (column, op, value) {COMPARISONS}"),
        ([[5, "==", 1]], f"5 is not a condition (column, op, value) {COMPARISONS}"),
        ([["z", "==", 1]], "there is no column 'z'. Columns: x, s, y"),
        *(
            ([["x", op, 1]], f"['x', {op!r}, 1] is not a condition (column, op, value) {COMPARISONS}")
            for op in ("~", "eq", "__class__", "=='a' or", "", "IN", 5, None, ["=="], {"==": 1})
        ),
        ([["x", "==", [1]]], "column 'x' holds int64, which '==' can't compare with [1] (list)"),
        ([["x", "==", [[1]]]], "column 'x' holds int64, which '==' can't compare with [[1]] (list)"),
        ([["x", "==", {"a": 1}]], "column 'x' holds int64, which '==' can't compare with {'a': 1} (dict)"),
        ([["x", "==", "a"]], "column 'x' holds int64, which '==' can't compare with 'a' (str)"),
        ([["x", "in", [1, [1]]]], "column 'x' holds int64, which 'in' can't compare with [1] (list)"),
        ([["x", "in", 1]], "'in' takes a list of values for column 'x', got 1"),
        ([["x", "not in", {"a": 1}]], "'not in' takes a list of values for column 'x', got {'a': 1}"),
        ([["s", "==", 5]], "column 's' holds str, which '==' can't compare with 5 (int)"),
        ([["s", "<", 1.5]], "column 's' holds str, which '<' can't compare with 1.5 (float)"),
        ([["s", "==", True]], "column 's' holds str, which '==' can't compare with True (bool)"),
        ([["s", "==", ["b"]]], "column 's' holds str, which '==' can't compare with ['b'] (list)"),
        ([["s", "in", [5]]], "column 's' holds str, which 'in' can't compare with 5 (int)"),
        ([["s", "in", "b"]], "'in' takes a list of values for column 's', got 'b'"),
    ],
)
def test_a_filter_of_wrong_types_is_refused_with_what_is_wrong_in_it(filters: object, message: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        filtered(filters)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (nested(500), r"^\[\[\[.* is not a condition \(column, op, value\) with one of =="),
        ([["x", nested(500), 1]], r"^\['x', \[\[\[.* is not a condition \(column, op, value\) with one of =="),
        ([["x", "==", nested(500)]], r"^column 'x' holds int64, which '==' can't compare with \[\[\[.* \(list\)$"),
        ([["s", "in", nested(500)]], r"^column 's' holds str, which 'in' can't compare with \[\[\[.* \(list\)$"),
    ],
)
def test_a_filter_that_is_nested_deeply_is_refused_like_any_other(filters: object, message: str) -> None:
    with pytest.raises(InvalidArguments, match=message):
        filtered(filters)


def test_a_filter_that_is_nested_without_end_is_refused_at_both_ends() -> None:
    files = Files("")
    with pytest.raises(UnsupportedValue, match=r"^the value is nested too deeply, or contains itself$"):
        codecs.encode(nested(100_000), files)
    with pytest.raises(InputError, match=r"^a value can't be read: it is nested too deeply$"):
        codecs.decode(b"\x91" * 100_000 + b"\x90", files)
