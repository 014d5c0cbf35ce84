"""The data operation that keeps the rows that match conditions."""

from __future__ import annotations

import contextlib
import functools
import operator
import reprlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Overwrite
from workbench.operations.data import large
from workbench.operations.data.columns import kind, known
from workbench.operations.data.results import destination
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Condition = Sequence[Any]

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
_brief = _REPR.repr


class _Held(NamedTuple):
    """What a column holds."""

    kind: str  # as `columns.kind` tells it, or `date`
    type: str  # for errors
    zone: Any = None  # of its times, where they have one


class _Ready(NamedTuple):
    """A condition whose value, or each in its list, fits the column: a time's is a `pandas.Timestamp`."""

    name: str
    op: str
    value: Any
    held: _Held


@operation("data.filter")
def filter(  # noqa: A001 - the operation's name in pandas and Parquet
    data: Dataset, filters: list[Any], *, output: OutputPath | None = None, overwrite: Overwrite = "replace"
) -> DataFrame | Path:
    """Return the rows that match, as `pandas.read_parquet(filters=…)` would.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory streams by.
    filters
        Conditions `(column, op, value)`, all of which must hold; or a list of such lists, one of which must
        (disjunctive normal form). `op` is `==`, `=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`; the latter two take
        a list. A missing value matches nothing. Dates and times are compared with `datetime.date`,
        `datetime.datetime`, `pandas.Timestamp`, or text in ISO 8601 with a whole date (`"2013-01-31"`,
        `"2013-01-31T05:00"`). A date is its midnight; what names no zone is meant in the column's.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The matching rows, with their index; a Parquet file where `output` is given, or they don't fit in memory.

    Raises
    ------
    InvalidArguments
        If a condition isn't one, a column isn't known, or a value doesn't fit its column's type.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    >>> filter(frame, [("a", ">", 1), ("b", "in", ["x", "y"])])["a"].tolist()
    [2]
    """
    if not filters:
        raise InvalidArguments("filters takes at least one condition (column, op, value)")
    groups = [list(_conditions(group)) for group in ([filters] if _is_condition(filters[0]) else filters)]
    target, data = destination(output, overwrite), Dataset.of(data)
    if too_large("pyarrow", data, stream=target.path is not None):
        blank = data.blank
        columns = known(blank, [condition[0] for group in groups for condition in group])

        @functools.cache
        def fitted(schema: Any) -> list[list[_Ready]]:
            return _fitted(groups, lambda name: _held_by(schema.field(name).type))

        def matches(frame: DataFrame) -> Any:
            return _matches(frame, fitted(data.schema))  # which changes where a later row contradicts the first ones

        matches(blank)  # types are checked before anything is read
        return large.filter(data, matches, list(dict.fromkeys(columns)), target)
    frame = data.frame()
    kept: DataFrame = frame[_matches(frame, _fitted(groups, lambda name: _held_in(frame[known(frame, name)[0]])))]
    return kept


def _matches(data: DataFrame, groups: list[list[_Ready]]) -> Any:
    """Tell which rows meet all the conditions of one of the groups."""
    matches: Any = None
    for group in groups:
        every: Any = None
        for condition in group:
            holds = _holds(data, condition)
            every = holds if every is None else every & holds
        matches = every if matches is None else matches | every
    return matches


def _is_condition(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str)


def _conditions(group: Any) -> Iterable[Condition]:
    if not isinstance(group, list | tuple) or not group:
        raise InvalidArguments(f"filters takes conditions (column, op, value), or lists of them, got {_brief(group)}")
    for condition in group:
        if not _is_condition(condition) or condition[1] not in (*_COMPARISONS, "in", "not in"):
            known = ", ".join((*_COMPARISONS, "in", "not in"))
            raise InvalidArguments(f"{_brief(condition)} is not a condition (column, op, value) with one of {known}")
        yield condition


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _holds(data: DataFrame, condition: _Ready) -> Any:
    name, op, value, held = condition
    column = data[name]
    if held.kind in _TIMES:
        column = _times(column, held)
    if op in ("in", "not in"):
        inside = column.isin(_exactly(value, column) if held.kind in _TIMES else value)
        return (inside if op == "in" else ~inside) & column.notna()
    try:
        return _COMPARISONS[op](column, value).fillna(False).astype(bool) & column.notna()
    except (TypeError, ValueError) as error:
        raise _refusal(name, op, value, held) from error


# --- values that fit ----------------------------------------------------------------------------------

_TIMES = ("time", "zoned", "date")
_ISO = "take a date, or text in ISO 8601, such as '2013-01-31' or '2013-01-31T05:00'"


def _fitted(groups: list[list[Condition]], held: Callable[[str], _Held]) -> list[list[_Ready]]:
    """Return the conditions, their values held against what the columns hold."""
    return [[_ready(condition, held(condition[0])) for condition in group] for group in groups]


def _ready(condition: Condition, held: _Held) -> _Ready:
    name, op, value = condition
    if op not in ("in", "not in"):
        return _Ready(name, op, _fitting(value, condition, held), held)
    if not isinstance(value, list | tuple):
        raise InvalidArguments(f"{op!r} takes a list of values for column {name!r}, got {_brief(value)}")
    return _Ready(name, op, [_fitting(each, condition, held) for each in value], held)


def _fitting(value: Any, condition: Condition, held: _Held) -> Any:
    """Return a value as pandas compares it; raise where it only finds what is of another kind unequal, and no more."""
    import pandas as pd

    name, op, _ = condition
    missing = value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value)
    if held.kind in _TIMES:
        try:
            return pd.NaT if missing else _moment(value, held)
        except ValueError as error:
            raise _refusal(name, op, value, held, f": {error}") from error
    if isinstance(value, list | tuple | dict) or (not missing and _strange(value, held.kind)):
        raise _refusal(name, op, value, held)
    return value


def _strange(value: Any, kind: str) -> bool:
    """Tell whether a value is never one of a column of this kind."""
    import numpy as np

    if kind in ("number", "bool"):
        return isinstance(value, str | date | timedelta | np.datetime64)
    return kind == "text" and not isinstance(value, str)


def _moment(value: Any, held: _Held) -> Any:
    """Return a date or time as a `pandas.Timestamp` that compares with the column's; raise `ValueError` if none is."""
    import numpy as np
    import pandas as pd

    if not isinstance(value, str | date | np.datetime64):
        raise ValueError(_ISO)
    try:
        if isinstance(value, str):
            datetime.fromisoformat(value)  # pandas would take '1/2/2013', '2013' and 'now' for times
        moment = pd.Timestamp(value)
    except ValueError:
        raise ValueError(_ISO) from None
    if moment.tzinfo is not None:
        if held.zone is None:
            raise ValueError("the column's times are of no zone, and this one is: leave its zone out")
        return moment
    try:
        return moment.tz_localize(held.zone)
    except ValueError:
        raise ValueError(
            f"as clocks are put forward and back, that is no time of {held.zone}, or two: give its offset from UTC, "
            "as in '2013-01-31T05:00+01:00'"
        ) from None


def _refusal(name: str, op: str, value: Any, held: _Held, reason: str = "") -> InvalidArguments:
    return InvalidArguments(
        f"column {name!r} holds {held.type}, which {op!r} can't compare with {_brief(value)} "
        f"({type(value).__name__}){reason}"
    )


# --- what a column holds ------------------------------------------------------------------------------

_INFERRED = {
    "boolean": "bool",
    "date": "date",
    "floating": "number",
    "integer": "number",
    "mixed-integer-float": "number",
    "string": "text",
}
"""What pandas finds in a column of objects, where that is of one kind: truth values, say, of which some are missing."""


def _held_in(column: Series[Any]) -> _Held:
    """Tell what a column of pandas holds; categories count as what they are of."""
    import pandas as pd
    from pandas.api.types import infer_dtype

    values: Any = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    arrow = getattr(values.dtype, "pyarrow_dtype", None)
    if arrow is not None:
        return _held_by(arrow)
    if values.dtype != object:
        return _Held(kind(values), str(column.dtype), getattr(values.dtype, "tz", None))
    found = _INFERRED.get(infer_dtype(values, skipna=True), "other")
    return _Held(found, str(column.dtype) if found == "other" else found)


def _held_by(type_: Any) -> _Held:
    """Tell what a column of an Arrow type holds: what `_held_in` tells of its values, of which there need be none."""
    import pyarrow as pa

    types, name = pa.types, str(type_)
    if types.is_dictionary(type_):
        type_ = type_.value_type
    if types.is_timestamp(type_):
        return _Held("time" if type_.tz is None else "zoned", name, type_.tz)
    if types.is_date(type_):
        return _Held("date", name)
    if types.is_boolean(type_):
        return _Held("bool", name)
    if types.is_integer(type_) or types.is_floating(type_):
        return _Held("number", name)
    return _Held("text" if types.is_string(type_) or types.is_large_string(type_) else "other", name)


def _times(column: Series[Any], held: _Held) -> Series[Any]:
    """Return times, or dates at midnight, as numpy holds them; others compare with some of the values only."""
    import pandas as pd

    if isinstance(column.array, pd.arrays.DatetimeArray):
        return column
    return pd.to_datetime(column.astype(object), utc=held.kind == "zoned")


def _exactly(moments: list[Any], column: Series[Any]) -> Any:
    """Return those of the moments that a column of times can hold, in its unit, to which pandas might round others."""
    import pandas as pd

    dtype: Any = column.dtype
    kept = []
    for moment in moments:
        with contextlib.suppress(ValueError):
            kept.append(moment.as_unit(column.dt.unit, round_ok=False))
    return pd.DatetimeIndex(kept, dtype=dtype)
