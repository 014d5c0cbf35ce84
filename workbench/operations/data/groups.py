"""Data operations that make groups of rows, and compute something of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.data import large_summaries
from workbench.operations.data.columns import Columns, known_in
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame


@operation("data.groupby")
def groupby(
    data: Dataset,
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
        A table of any size. What doesn't fit in memory is grouped on disk.
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
    InputTooLarge
        If the groups don't fit in memory.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"k": ["a", "a", "b"], "x": [1, 3, 5]})
    >>> groupby(frame, "k", {"x": "mean"})["x"].tolist()
    [2.0, 5.0]
    """
    data = Dataset.of(data)
    keys = known_in(data, by)
    known_in(data, list(agg))
    check_aggregations(agg)
    if too_large("duckdb", data):
        return large_summaries.groupby(data, keys, agg, dropna=dropna, sort=sort)
    frame = data.frame()
    try:
        return frame.groupby(keys if isinstance(by, list) else by, dropna=dropna, sort=sort, observed=True).agg(agg)
    except TypeError as error:
        raise InvalidArguments(f"an aggregation doesn't fit its column's type: {error}") from error


def check_aggregations(agg: Mapping[str, str | list[str]]) -> None:
    """Raise if a function isn't one that columns are aggregated by."""
    for column, functions in agg.items():
        names = [functions] if isinstance(functions, str) else functions
        if not names:
            raise InvalidArguments(f"column {column!r} takes at least one aggregation")
        for function in names:
            if function not in AGGREGATIONS:
                raise InvalidArguments(
                    f"{function!r} (for column {column!r}) is not an aggregation; known: {', '.join(AGGREGATIONS)}"
                )


AGGREGATIONS = (
    *("count", "first", "last", "max", "mean", "median", "min", "nunique"),
    *("prod", "sem", "size", "skew", "std", "sum", "var", "any", "all"),
)


@operation("data.value_counts")
def value_counts(data: Dataset, columns: Columns, *, normalize: bool = False, top: int | None = None) -> DataFrame:
    """Count how often each value, or each combination of values, occurs.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory is grouped on disk.
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
    data = Dataset.of(data)
    wanted = known_in(data, columns)
    if too_large("duckdb", data):
        return large_summaries.value_counts(data, wanted, normalize=normalize, top=top)
    chosen: Any = data.frame()[wanted if len(wanted) > 1 else wanted[0]]
    counts = chosen.value_counts(normalize=normalize)
    frame: DataFrame = counts[counts > 0].to_frame()  # without categories that don't occur
    return frame if top is None else frame.head(top)
