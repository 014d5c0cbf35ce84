"""Data operations that tell what a table holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import large_descriptions
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@operation("data.profile")
def profile(data: Dataset) -> DataFrame:
    """Describe each column in a row.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory is counted and sorted on disk, and so is exact all the same.

    Returns
    -------
    pandas.DataFrame
        One row per column, named by it: `dtype`, `count` (values that aren't missing), `missing`, `unique` (None for a
        column of lists or dicts), `top` (the most frequent value, as text; of several, the first to occur) and
        `freq` (how often it occurs); for numbers also `mean`, `std`, `min`, `25%`, `50%`, `75%` and `max`, as floats.

    Examples
    --------
    >>> import pandas as pd
    >>> profile(pd.DataFrame({"a": [1, 1, None]})).loc["a", "missing"]
    np.int64(1)
    """
    import pandas as pd

    data = Dataset.of(data)
    _check_columns(data)
    if too_large("duckdb", data):
        return large_descriptions.profile(data)
    frame = data.frame()
    rows = [_column_profile(frame.iloc[:, position]) for position in range(frame.shape[1])]
    return pd.DataFrame(rows, index=pd.Index(frame.columns, name="column"))


def _check_columns(data: Dataset) -> None:
    if not len(data.blank.columns):
        raise InvalidArguments("data has no columns to describe")


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
        counts = counts[counts > 0]  # pandas counts categories that don't occur as well
        row |= {"unique": len(counts), "top": None, "freq": None}
        if len(counts):
            row |= {"top": _top(column, counts), "freq": int(counts.iloc[0])}
    numeric = is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype) and column.dtype.kind != "c"
    with np.errstate(invalid="ignore"):  # the spread of infinite values is none
        described: Any = column.astype("float64").describe() if numeric else {}
    return row | {name: described.get(name) for name in ("mean", "std", "min", "25%", "50%", "75%", "max")}


def _top(column: Series[Any], counts: Series[int]) -> str:
    """Return the most frequent value, as text: of those that are as frequent, the first to occur."""
    most = counts.index[counts == counts.iloc[0]]
    if len(most) == 1 or not (again := column.isin(most)).any():  # some objects aren't found again
        return large_descriptions.shown(most[0])
    return large_descriptions.shown(column[again].iloc[0])


@operation("data.describe")
def describe(data: Dataset, *, include: Literal["all"] | None = None) -> DataFrame:
    """Return what `pandas.DataFrame.describe` does: counts, means and quartiles, a column for each.

    Parameters
    ----------
    data
        A table of any size.
    include
        `"all"` for every column; None for those that hold numbers, or for all where none does.

    Returns
    -------
    pandas.DataFrame
        A column for each that is described.

    Examples
    --------
    >>> import pandas as pd
    >>> describe(pd.DataFrame({"a": [1, 2, 3]})).loc["50%", "a"]
    np.float64(2.0)
    """
    data = Dataset.of(data)
    _check_columns(data)
    if too_large("duckdb", data):
        return large_descriptions.describe(data, include=include)
    frame = data.frame()
    try:
        return frame.describe(include=include)
    except ValueError as error:
        raise InvalidArguments(f"data can't be described: {error}") from error
