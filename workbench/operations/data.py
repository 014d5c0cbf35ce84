"""Operations on tables. Parameters and words are pandas's (https://pandas.pydata.org/docs), and so are the results."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Columns = str | list[str]


@operation("data.head")
def head(data: DataFrame, n: int = 5) -> DataFrame:
    """Return the first `n` rows; with a negative `n`, all but the last `-n`.

    Examples
    --------
    >>> import pandas as pd
    >>> len(head(pd.DataFrame({"a": range(9)}), 2))
    2
    """
    return data.head(n)


@operation("data.select")
def select(data: DataFrame, columns: list[str]) -> DataFrame:
    """Return these columns, in this order.

    Raises
    ------
    InvalidArguments
        If there is no such column: names the ones that come close.
    """
    return data[_known(data, columns)]


@operation("data.profile")
def profile(data: DataFrame) -> DataFrame:
    """Describe each column in a row.

    Returns
    -------
    pandas.DataFrame
        One row per column, named by it: `dtype`, `count` (values that aren't missing), `missing`, `unique` (None for a
        column of lists or dicts), `top` (the most frequent value, as text) and `freq` (how often it occurs); for
        numbers also `mean`, `std`, `min`, `25%`, `50%`, `75%` and `max`, as floats.

    Examples
    --------
    >>> import pandas as pd
    >>> profile(pd.DataFrame({"a": [1, 1, None]})).loc["a", "missing"]
    np.int64(1)
    """
    import pandas as pd

    if data.columns.empty:
        raise InvalidArguments("data has no columns to describe")
    rows = [_column_profile(data.iloc[:, position]) for position in range(data.shape[1])]
    return pd.DataFrame(rows, index=pd.Index(data.columns, name="column"))


def _column_profile(column: Series[Any]) -> dict[str, Any]:
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    row: dict[str, Any] = {"dtype": str(column.dtype), "count": int(column.count())}
    row["missing"] = len(column) - row["count"]
    try:
        counts = column.value_counts()
    except TypeError:  # unhashable values
        row |= {"unique": None, "top": None, "freq": None}
    else:
        row["unique"] = len(counts)
        row["top"], row["freq"] = (str(counts.index[0]), int(counts.iloc[0])) if len(counts) else (None, None)
    numeric = is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype) and column.dtype.kind != "c"
    with np.errstate(invalid="ignore"):  # the spread of infinite values is none
        described: Any = column.astype("float64").describe() if numeric else {}
    return row | {name: described.get(name) for name in ("mean", "std", "min", "25%", "50%", "75%", "max")}


@operation("data.describe")
def describe(data: DataFrame, *, include: Literal["all"] | None = None) -> DataFrame:
    """Return what `pandas.DataFrame.describe` does: counts, means and quartiles, a column for each."""
    try:
        return data.describe(include=include)
    except ValueError as error:
        raise InvalidArguments(f"data can't be described: {error}") from error


@operation("data.groupby")
def groupby(
    data: DataFrame,
    by: Columns,
    agg: dict[str, str | list[str]],
    *,
    dropna: bool = True,
    sort: bool = True,
) -> DataFrame:
    """Group rows and aggregate columns, as `data.groupby(by).agg(agg)`.

    Parameters
    ----------
    data
        Any table.
    by
        The column, or columns, whose values make the groups.
    agg
        For each column what to compute, by pandas's names: `"mean"`, or `["mean", "count"]`.
    dropna
        Leave out rows whose group is missing.
    sort
        Sort the groups.

    Returns
    -------
    pandas.DataFrame
        A row per group; two levels of columns where a column has a list.

    Raises
    ------
    InvalidArguments
        If a column or a function isn't known, or doesn't fit the column's type.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"k": ["a", "a", "b"], "x": [1, 3, 5]})
    >>> groupby(frame, "k", {"x": "mean"})["x"].tolist()
    [2.0, 5.0]
    """
    keys = _known(data, by)
    _known(data, list(agg))
    for column, functions in agg.items():
        for function in [functions] if isinstance(functions, str) else functions:
            if function not in AGGREGATIONS:
                raise InvalidArguments(
                    f"{function!r} (for column {column!r}) is not an aggregation; known: {', '.join(AGGREGATIONS)}"
                )
    try:
        return data.groupby(keys if isinstance(by, list) else by, dropna=dropna, sort=sort, observed=True).agg(agg)
    except TypeError as error:
        raise InvalidArguments(f"an aggregation doesn't fit its column's type: {error}") from error


AGGREGATIONS = (
    *("count", "first", "last", "max", "mean", "median", "min", "nunique"),
    *("prod", "sem", "size", "skew", "std", "sum", "var", "any", "all"),
)


@operation("data.value_counts")
def value_counts(data: DataFrame, columns: Columns, *, normalize: bool = False, top: int | None = None) -> DataFrame:
    """Count how often each value, or each combination of values, occurs.

    Parameters
    ----------
    data
        Any table.
    columns
        One column, or several for combinations. Missing values are left out, as in pandas.
    normalize
        Give shares of the total instead of counts.
    top
        Only so many, the most frequent first; None for all.

    Returns
    -------
    pandas.DataFrame
        Indexed by the values; one column, `count` or `proportion`.

    Examples
    --------
    >>> import pandas as pd
    >>> value_counts(pd.DataFrame({"a": ["x", "y", "x"]}), "a")["count"].tolist()
    [2, 1]
    """
    if top is not None and top < 1:
        raise InvalidArguments(f"top takes a number of rows above zero, got {top}")
    wanted = _known(data, columns)
    chosen: Any = data[wanted] if len(wanted) > 1 else data[wanted[0]]
    frame: DataFrame = chosen.value_counts(normalize=normalize).to_frame()
    return frame if top is None else frame.head(top)


@operation("data.sort")
def sort(
    data: DataFrame,
    by: Columns,
    *,
    ascending: bool | list[bool] = True,
    na_position: Literal["first", "last"] = "last",
    ignore_index: bool = False,
) -> DataFrame:
    """Sort rows by one or more columns; rows that are equal keep their order.

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
    keys = _known(data, by)
    if isinstance(ascending, list) and len(ascending) != len(keys):
        raise InvalidArguments(f"ascending takes one value for each of {len(keys)} columns, got {len(ascending)}")
    try:
        return data.sort_values(
            keys, ascending=ascending, na_position=na_position, ignore_index=ignore_index, kind="stable"
        )
    except TypeError as error:
        raise InvalidArguments(f"a column holds values that can't be compared: {error}") from error


Condition = Sequence[Any]


@operation("data.filter")
def filter(data: DataFrame, filters: list[Any]) -> DataFrame:  # noqa: A001 - the operation's name in pandas and Parquet
    """Return the rows that match, as `pandas.read_parquet(filters=…)` would.

    Parameters
    ----------
    data
        Any table.
    filters
        Conditions `(column, op, value)`, all of which must hold; or a list of such lists, one of which must
        (disjunctive normal form). `op` is `==`, `=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`; the latter two take
        a list. A missing value matches nothing.

    Returns
    -------
    pandas.DataFrame
        The matching rows, with their index.

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
    groups = [filters] if _is_condition(filters[0]) else filters
    matches: Any = None
    for group in groups:
        every: Any = None
        for condition in _conditions(group):
            holds = _holds(data, condition)
            every = holds if every is None else every & holds
        matches = every if matches is None else matches | every
    kept: DataFrame = data[matches]
    return kept


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
    column = data[_known(data, name)[0]]
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


def _known(data: DataFrame, columns: Columns) -> list[str]:
    """Return the columns as a list, if all of them are there."""
    wanted = [columns] if isinstance(columns, str) else list(columns)
    if not wanted:
        raise InvalidArguments("at least one column has to be named")
    for column in wanted:
        if column not in data.columns:
            names = [str(name) for name in data.columns]
            close = difflib.get_close_matches(str(column), names, n=3)
            meant = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Columns: {', '.join(names[:20])}"
            raise InvalidArguments(f"there is no column {column!r}. {meant}")
    return wanted
