"""Data operations that choose rows and columns, and put them in order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Output, Overwrite
from workbench.operations.data import large
from workbench.operations.data.columns import Columns, known, known_in, numeric, refusing, room
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@operation("data.head")
def head(
    data: Dataset, n: int = 5, *, output: OutputPath | None = None, overwrite: Overwrite = "replace"
) -> DataFrame | Path:
    """Return the first `n` rows; with a negative `n`, all but the last `-n`.

    Parameters
    ----------
    data
        A table of any size.
    n
        How many rows.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows; a Parquet file where `output` is given, or they don't fit in memory.

    Examples
    --------
    >>> import pandas as pd
    >>> len(head(pd.DataFrame({"a": range(9)}), 2))
    2
    """
    data = Dataset.of(data)
    if too_large("pyarrow", data, stream=output is not None):
        return large.head(data, n, Output(output, overwrite))
    return data.frame().head(n)


@operation("data.sample")
def sample(
    data: DataFrame,
    n: int | None = None,
    *,
    frac: float | None = None,
    replace: bool = False,
    weights: str | None = None,
    random_state: int = 0,
    ignore_index: bool = False,
) -> DataFrame:
    """Draw rows at random, as `data.sample` does: the same ones each time it is asked.

    Parameters
    ----------
    data
        Any table.
    n
        How many; None for one, or for `frac`.
    frac
        Instead: which share of all rows.
    replace
        Whether a row may be drawn again.
    weights
        A column of numbers that says how likely each row is.
    random_state
        The seed. Another one draws other rows.
    ignore_index
        Number the rows from 0.

    Raises
    ------
    InvalidArguments
        If there are fewer rows than asked for, or the weights can't be used.

    Examples
    --------
    >>> import pandas as pd
    >>> sample(pd.DataFrame({"a": range(9)}), 3, random_state=1)["a"].tolist()
    [8, 2, 6]
    """
    if n is not None and frac is not None:
        raise InvalidArguments("sample takes either n or frac")
    if not 0 <= random_state < 2**32:
        raise InvalidArguments(f"random_state takes a whole number from 0 to {2**32 - 1}, got {random_state}")
    room(n or int(len(data) * (frac or 0)), data.shape[1], "Draw fewer rows")
    with refusing("the rows can't be drawn"):
        return data.sample(
            n,
            frac=frac,
            replace=replace,
            weights=None if weights is None else data[numeric(data, weights)[0]],
            random_state=random_state,
            ignore_index=ignore_index,
        )


@operation("data.drop_duplicates")
def drop_duplicates(
    data: Dataset,
    subset: Columns | None = None,
    *,
    keep: Literal["first", "last", False] = "first",
    ignore_index: bool = False,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Keep one of rows that are equal, as `data.drop_duplicates` does.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory is compared on disk.
    subset
        The columns that are compared; None for all.
    keep
        Which one; `False` for none of them.
    ignore_index
        Number the rows from 0.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows; a Parquet file where `output` is given, or they don't fit in memory.

    Raises
    ------
    InvalidArguments
        If a column isn't known, or holds values that can't be compared, such as lists.

    Examples
    --------
    >>> import pandas as pd
    >>> drop_duplicates(pd.DataFrame({"a": [1, 1, 2]}))["a"].tolist()
    [1, 2]
    """
    data = Dataset.of(data)
    compared = None if subset is None else known_in(data, subset)
    if too_large("duckdb", data, stream=output is not None):
        return large.drop_duplicates(
            data, compared or large.columns_of(data), keep, ignore_index, Output(output, overwrite)
        )
    with refusing("the rows can't be compared"):
        return data.frame().drop_duplicates(compared, keep=keep, ignore_index=ignore_index)


@operation("data.select")
def select(
    data: Dataset, columns: list[str], *, output: OutputPath | None = None, overwrite: Overwrite = "replace"
) -> DataFrame | Path:
    """Return these columns, in this order.

    Parameters
    ----------
    data
        A table of any size.
    columns
        Their names.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The columns; a Parquet file where `output` is given, or they don't fit in memory.

    Raises
    ------
    InvalidArguments
        If there is no such column: names the ones that come close.

    Examples
    --------
    >>> import pandas as pd
    >>> select(pd.DataFrame({"a": [1], "b": [2]}), ["b"]).columns.tolist()
    ['b']
    """
    data = Dataset.of(data)
    if too_large("pyarrow", data, stream=output is not None):
        return large.select(data, known_in(data, columns), Output(output, overwrite))
    frame = data.frame()
    return frame[known(frame, columns)]


@operation("data.sort")
def sort(
    data: Dataset,
    by: Columns,
    *,
    ascending: bool | list[bool] = True,
    na_position: Literal["first", "last"] = "last",
    ignore_index: bool = False,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Sort rows by one or more columns; rows that are equal keep their order.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory is sorted on disk.
    by
        The column, or columns, to sort by.
    ascending
        Whether small values come first: of all columns, or of each.
    na_position
        Where missing values go.
    ignore_index
        Number the rows anew, instead of keeping their labels.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows; a Parquet file where `output` is given, or they don't fit in memory.

    Raises
    ------
    InvalidArguments
        If a column isn't known or holds values that can't be compared, or `ascending` has another length than `by`.

    Examples
    --------
    >>> import pandas as pd
    >>> sort(pd.DataFrame({"a": [3, 1, 2]}), "a", ascending=False)["a"].tolist()
    [3, 2, 1]
    """
    data = Dataset.of(data)
    keys = known_in(data, by)
    if isinstance(ascending, list) and len(ascending) != len(keys):
        raise InvalidArguments(f"ascending takes one value for each of {len(keys)} columns, got {len(ascending)}")
    if too_large("duckdb", data, stream=output is not None):
        each = ascending if isinstance(ascending, list) else [ascending] * len(keys)
        return large.sort(data, keys, each, na_position, ignore_index, Output(output, overwrite))
    frame = data.frame()
    try:
        return frame.sort_values(
            keys, ascending=ascending, na_position=na_position, ignore_index=ignore_index, kind="stable"
        )
    except TypeError as error:
        raise InvalidArguments(f"a column holds values that can't be compared: {error}") from error


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
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

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
    data = Dataset.of(data)
    if too_large("pyarrow", data, stream=output is not None):
        columns = known_in(data, [condition[0] for group in groups for condition in group])
        _matches(data.schema.empty_table().to_pandas(), groups)  # types are checked before anything is read
        return large.filter(
            data, lambda frame: _matches(frame, groups), list(dict.fromkeys(columns)), Output(output, overwrite)
        )
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
    """Raise where a number would be held against text: pandas finds them unequal, and so says nothing."""
    from pandas.api.types import is_numeric_dtype, is_string_dtype

    text = isinstance(value, str)
    if value is not None and (is_numeric_dtype(column.dtype) if text else is_string_dtype(column)):
        raise InvalidArguments(
            f"column {condition[0]!r} holds {column.dtype}, which {condition[1]!r} can't compare with {value!r} "
            f"({type(value).__name__})"
        )
