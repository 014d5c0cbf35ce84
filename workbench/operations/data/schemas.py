"""The data operation that holds a table against a schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.data.columns import distinct, kind, refusing
from workbench.operations.data.functions import decoded
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame

PATTERN = 1000
"""Characters a regular expression may have."""


@operation("data.validate")
def validate(data: DataFrame, schema: dict[str, dict[str, Any]], *, limit: int = 100) -> DataFrame:
    """Hold a table against a schema, and return what breaks it.

    Parameters
    ----------
    data
        Any table.
    schema
        For each column a dict of its rules, see below.
    limit
        Rows to name for each rule that is broken.

    Returns
    -------
    pandas.DataFrame
        A row for each violation: `row`, the row's label as text, missing where it is the whole column's; `column`;
        `rule`; `value`, as text; and `count`, 1. Where a rule is broken more than `limit` times, a last row without
        label and value has the `count` of the others. No rows if the table is valid.

    Raises
    ------
    InvalidArguments
        If the schema isn't one: names the column and the rule.

    Notes
    -----
    A column's rules are

    - `dtype`: its type, by pandas's name;

    - `required`: whether the column has to be there (`True` if it isn't said);

    - `nullable`: `False` if no value may be missing; a missing value breaks no other rule;

    - `unique`: `True` if no value may repeat;

    - `min`, `max`: the smallest and the largest value, of numbers, text, or times (also as text);

    - `isin`: a list of the values allowed;

    - `regex`: a regular expression that each whole text has to match. It is RE2's, which takes a time in proportion to
      the text whatever the expression, and so knows no look-ahead and no back-references;

    - `min_length`, `max_length`: characters of each text.

    A rule that doesn't fit a column's type, as a smallest number for text, is broken by the column as a whole.

    Examples
    --------
    >>> import pandas as pd
    >>> flights = pd.DataFrame({"carrier": ["UA", "aa", None], "month": [1, 2, 13]})
    >>> schema = {"carrier": {"nullable": False, "regex": "[A-Z0-9]{2}"}, "month": {"min": 1, "max": 12}}
    >>> validate(flights, schema)[["row", "column", "rule", "value"]].values.tolist()
    [['2', 'carrier', 'nullable', nan], ['1', 'carrier', 'regex', 'aa'], ['2', 'month', 'max', '13']]
    """
    import pandas as pd

    if limit < 1:
        raise InvalidArguments(f"limit takes a number above zero, got {limit}")
    distinct(data)
    violations: list[dict[str, Any]] = []
    for name, rules in schema.items():
        for rule, wanted in rules.items():
            _check_rule(name, rule, wanted)
        if name not in data.columns:
            if rules.get("required", True):
                violations.append(_violation(None, name, "required", None))
            continue
        column = data[name]
        for rule in (rule for rule in _ORDER if rule in rules):
            violations += _broken(column, rule, rules[rule], limit)
    table = pd.DataFrame(violations, columns=["row", "column", "rule", "value", "count"])
    return table.astype({"row": "str", "column": "str", "rule": "str", "value": "str", "count": "int64"})


_TAKES: dict[str, tuple[tuple[type, ...], str]] = {
    "dtype": ((str,), "a type's name"),
    "required": ((bool,), "True or False"),
    "nullable": ((bool,), "True or False"),
    "unique": ((bool,), "True or False"),
    "min": ((object,), "a value"),
    "max": ((object,), "a value"),
    "isin": ((list, tuple), "a list of values"),
    "regex": ((str,), "a regular expression"),
    "min_length": ((int,), "a number of characters"),
    "max_length": ((int,), "a number of characters"),
}
_ORDER = [rule for rule in _TAKES if rule != "required"]
_OF_TEXT = ("regex", "min_length", "max_length")


def _check_rule(name: str, rule: str, wanted: Any) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    where = f"schema: column {name!r}"
    if rule not in _TAKES:
        raise InvalidArguments(f"{where} has no rule {rule!r}. Known: {', '.join(_TAKES)}")
    types, takes = _TAKES[rule]
    fits = wanted is not None and isinstance(wanted, types) and not (types == (int,) and isinstance(wanted, bool))
    if not fits:
        raise InvalidArguments(f"{where}: {rule!r} takes {takes}, got {wanted!r}")
    if rule == "regex":
        if len(wanted) > PATTERN:
            raise InvalidArguments(f"{where}: a regular expression may have {PATTERN} characters, got {len(wanted)}")
        try:
            pc.match_substring_regex(pa.array([""]), _whole(wanted))
        except pa.ArrowException as error:
            raise InvalidArguments(f"{where}: {wanted!r} is not a regular expression of RE2's: {error}") from error
    if rule == "dtype":
        with refusing(f"{where}: {wanted[:100]!r} is not a type"):
            pd.api.types.pandas_dtype(wanted)


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


def _broken(column: Any, rule: str, wanted: Any, limit: int) -> list[dict[str, Any]]:
    """Return the violations of one rule by one column."""
    import pandas as pd

    if rule == "dtype":
        right = column.dtype == pd.api.types.pandas_dtype(wanted)
        return [] if right else [_violation(None, column.name, rule, str(column.dtype))]
    if (rule == "nullable" and wanted) or (rule == "unique" and not wanted):
        return []
    there = column.notna()
    if rule not in ("nullable", "unique"):
        if not there.any():
            return []
        fitting = _fitting(column, rule, wanted)
        if fitting is None:  # text where numbers are limited: the whole column is wrong
            return [_violation(None, column.name, rule, str(column.dtype), int(there.sum()))]
        wanted = fitting
    with refusing(f"schema: column {column.name!r}: {rule!r} can't be held against {column.dtype}"):
        wrong = _wrong(decoded(column), rule, wanted, there)
    rows = wrong.to_numpy(dtype=bool).nonzero()[0]
    found = [
        _violation(str(column.index[row]), column.name, rule, None if rule == "nullable" else str(column.iloc[row]))
        for row in rows[:limit]
    ]
    if len(rows) > limit:
        found.append(_violation(None, column.name, rule, None, len(rows) - limit))
    return found


def _wrong(column: Any, rule: str, wanted: Any, there: Any) -> Any:
    """Return which rows break the rule."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    match rule:
        case "nullable":
            return ~there
        case "unique":
            return column.duplicated(keep=False) & there
        case "min":
            return (column < wanted).fillna(False) & there
        case "max":
            return (column > wanted).fillna(False) & there
        case "isin":
            return ~column.isin(wanted) & there
        case "regex":
            texts = pa.array(column.astype(object), pa.large_string(), from_pandas=True)
            matches = pc.fill_null(pc.match_substring_regex(texts, _whole(wanted)), True)
            return ~pd.Series(matches.to_numpy(zero_copy_only=False), index=column.index)
    lengths = column.str.len()
    wrong = lengths < wanted if rule == "min_length" else lengths > wanted
    return wrong.fillna(False) & there


def _fitting(column: Any, rule: str, wanted: Any) -> Any:
    """Return a rule's value as it compares with the column; None where it doesn't."""
    import pandas as pd

    found = kind(column)
    if rule in _OF_TEXT:
        return wanted if found == "text" else None
    if rule == "isin":
        values = [_moment(value, column, found) for value in wanted]
        return values if found == "other" or all(_kind_of(value) == found for value in values) else None
    value = _moment(wanted, column, found)
    return value if _kind_of(value) == found and not pd.isna(value) else None


def _kind_of(value: Any) -> str:
    import pandas as pd

    return kind(pd.Series([value]))


def _moment(value: Any, column: Any, found: str) -> Any:
    """Return text as the moment, or the duration, that it names, where the column holds such; in the column's zone."""
    import pandas as pd

    if found not in ("time", "zoned", "duration"):
        return value
    with refusing(f"schema: column {column.name!r} holds {column.dtype}, which {value!r} doesn't compare with"):
        if found == "duration":
            return pd.Timedelta(value)
        moment = pd.Timestamp(value)
        return moment.tz_localize(decoded(column).dt.tz) if found == "zoned" and moment.tzinfo is None else moment


def _violation(row: str | None, column: str, rule: str, value: str | None, count: int = 1) -> dict[str, Any]:
    return {"row": row, "column": column, "rule": rule, "value": value, "count": count}
