"""The data operation that keeps the rows that match conditions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Overwrite
from workbench.operations.data import large
from workbench.operations.data.columns import known, known_in
from workbench.operations.data.results import destination
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Condition = Sequence[Any]


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
        a list. A missing value matches nothing.
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
        columns = known_in(data, [condition[0] for group in groups for condition in group])
        _matches(data.schema.empty_table().to_pandas(), groups)  # types are checked before anything is read
        return large.filter(data, lambda frame: _matches(frame, groups), list(dict.fromkeys(columns)), target)
    frame = data.frame()
    kept: DataFrame = frame[_matches(frame, groups)]
    return kept


def _matches(data: DataFrame, groups: list[list[Condition]]) -> Any:
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
        raise InvalidArguments(f"filters takes conditions (column, op, value), or lists of them, got {group!r}")
    for condition in group:
        if not _is_condition(condition) or condition[1] not in (*_COMPARISONS, "in", "not in"):
            known = ", ".join((*_COMPARISONS, "in", "not in"))
            raise InvalidArguments(f"{condition!r} is not a condition (column, op, value) with one of {known}")
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


def _holds(data: DataFrame, condition: Condition) -> Any:
    name, op, value = condition
    column = data[known(data, name)[0]]
    if op in ("in", "not in"):
        if not isinstance(value, list | tuple):
            raise InvalidArguments(f"{op!r} takes a list of values for column {name!r}, got {value!r}")
        for each in value:
            _check_fits(column, each, condition)
        inside = column.isin(list(value))
        return (inside if op == "in" else ~inside) & column.notna()
    _check_fits(column, value, condition)
    try:
        return _COMPARISONS[op](column, value).fillna(False).astype(bool) & column.notna()
    except (TypeError, ValueError) as error:
        raise InvalidArguments(
            f"column {name!r} holds {column.dtype}, which {op!r} can't compare with {value!r} ({type(value).__name__})"
        ) from error


def _check_fits(column: Series[Any], value: Any, condition: Condition) -> None:
    """Raise where a number would be held against text, or one against a list: pandas finds them unequal, no more."""
    from pandas.api.types import is_numeric_dtype, is_string_dtype

    text = isinstance(value, str)
    other = is_numeric_dtype(column.dtype) if text else is_string_dtype(column)
    if value is not None and (other or isinstance(value, list | tuple | dict)):
        raise InvalidArguments(
            f"column {condition[0]!r} holds {column.dtype}, which {condition[1]!r} can't compare with {value!r} "
            f"({type(value).__name__})"
        )
