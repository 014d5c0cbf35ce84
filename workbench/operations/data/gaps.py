"""Data operations about missing values: where they are, and what to put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data.columns import Columns, distinct, kind, known, numeric, refusing, single
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@operation("data.missing")
def missing(data: DataFrame) -> DataFrame:
    """Report for each column how many values are missing.

    Returns
    -------
    pandas.DataFrame
        One row per column, named by it: `dtype`, `count` (values that are there), `missing`, `share` (of all rows, 0
        to 1) and `longest_gap` (rows that are missing one after the other).

    Examples
    --------
    >>> import pandas as pd
    >>> missing(pd.DataFrame({"a": [1, None, None, 4]}))[["missing", "share", "longest_gap"]].values.tolist()
    [[2.0, 0.5, 2.0]]
    """
    import pandas as pd

    rows = []
    for position in range(data.shape[1]):
        gaps = data.iloc[:, position].isna()
        count = int(gaps.sum())
        rows.append(
            {
                "dtype": str(data.dtypes.iloc[position]),
                "count": len(data) - count,
                "missing": count,
                "share": count / len(data) if len(data) else 0.0,
                "longest_gap": _longest(gaps),
            }
        )
    columns = ["dtype", "count", "missing", "share", "longest_gap"]
    return pd.DataFrame(rows, index=pd.Index(data.columns, name="column"), columns=columns)


def _longest(gaps: Series[bool]) -> int:
    """Return the length of the longest run of True."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([False], gaps.to_numpy(dtype=bool), [False])).astype("int8")))
    return int((edges[1::2] - edges[::2]).max(initial=0))


@operation("data.fillna")
def fillna(
    data: DataFrame,
    value: Any = None,
    *,
    method: Literal["ffill", "bfill"] | None = None,
    columns: Columns | None = None,
    limit: int | None = None,
) -> DataFrame:
    """Put values where they are missing, as `data.fillna`, `data.ffill` and `data.bfill` do.

    Parameters
    ----------
    data
        Any table.
    value
        One for all columns, or a dict of one for each; columns not in it stay as they are.
    method
        Instead of a value: take the last one that is there (`"ffill"`), or the next (`"bfill"`).
    columns
        Only in these; None for all.
    limit
        At most so many: with a method in each gap, with a value in each column. None for all.

    Returns
    -------
    pandas.DataFrame
        The table with fewer gaps.

    Raises
    ------
    InvalidArguments
        If a column isn't known, or the value doesn't fit its type.

    Examples
    --------
    >>> import pandas as pd
    >>> fillna(pd.DataFrame({"a": [1.0, None], "b": [None, "x"]}), {"a": 0, "b": "?"}).values.tolist()
    [[1.0, '?'], [0.0, 'x']]
    """
    if (value is None) is (method is None):
        raise InvalidArguments("fillna takes either a value or a method")
    if limit is not None and limit < 1:
        raise InvalidArguments(f"limit takes a number above zero, got {limit}")
    distinct(data)
    names = list(data.columns) if columns is None else single(data, columns)
    if isinstance(value, dict):
        chosen = known(data, list(value))
        names = [name for name in names if name in chosen]
    filled = data.copy(deep=False)
    for name in names:
        column: Any = data[name]
        if method is not None:
            with refusing(f"column {name!r}, which holds {column.dtype}, can't be filled"):
                filled[name] = column.ffill(limit=limit) if method == "ffill" else column.bfill(limit=limit)
            continue
        one = value[name] if isinstance(value, dict) else value
        _check_fits(column, one)
        with refusing(f"column {name!r}, which holds {column.dtype}, can't take {one!r}"):
            filled[name] = column.fillna(one, limit=limit)
    return filled


def _check_fits(column: Any, value: Any) -> None:
    """Refuse a value of another kind, with which the column would become one of mixed objects."""
    import pandas as pd

    found, given = kind(column), kind(pd.Series([value]))
    if found == given or found == "empty" or not column.isna().any():
        return
    raise InvalidArguments(
        f"column {column.name!r} holds {column.dtype}, so that {value!r} doesn't fit: name the columns to fill, or "
        "give a value for each, as a dict"
    )


@operation("data.interpolate")
def interpolate(
    data: DataFrame,
    method: Literal["linear", "time", "index"] = "linear",
    *,
    columns: Columns | None = None,
    limit: int | None = None,
    limit_direction: Literal["forward", "backward", "both"] = "forward",
    limit_area: Literal["inside", "outside"] | None = None,
) -> DataFrame:
    """Fill gaps in columns of numbers from the values around them, as `data.interpolate` does.

    Parameters
    ----------
    data
        Any table.
    method
        `"linear"` takes the rows as equally far apart; `"time"` and `"index"` by the index, one of times or of numbers.
    columns
        Which; None for all that hold numbers. Others stay as they are.
    limit
        Rows to fill in each gap, at most; None for all.
    limit_direction
        From which side gaps are filled.
    limit_area
        Only gaps between values (`"inside"`), or only those before the first and after the last; None for both.

    Returns
    -------
    pandas.DataFrame
        The table with fewer gaps.

    Raises
    ------
    InvalidArguments
        If a column doesn't hold numbers, or the index doesn't fit the method.

    Examples
    --------
    >>> import pandas as pd
    >>> interpolate(pd.DataFrame({"a": [1.0, None, 3.0]}))["a"].tolist()
    [1.0, 2.0, 3.0]
    """
    if limit is not None and limit < 1:
        raise InvalidArguments(f"limit takes a number above zero, got {limit}")
    filled = data.copy(deep=False)
    for name in numeric(data, columns):
        column: Any = data[name]
        with refusing(f"column {name!r} can't be interpolated"):
            filled[name] = column.interpolate(
                method, limit=limit, limit_direction=limit_direction, limit_area=limit_area
            )
    return filled


@operation("data.dropna")
def dropna(
    data: DataFrame,
    *,
    axis: Literal["index", "columns"] = "index",
    how: Literal["any", "all"] = "any",
    thresh: int | None = None,
    subset: Columns | None = None,
    ignore_index: bool = False,
) -> DataFrame:
    """Leave out rows, or columns, that hold missing values, as `data.dropna` does.

    Parameters
    ----------
    data
        Any table.
    axis
        `"index"` leaves out rows, `"columns"` columns.
    how
        Those in which any value is missing, or only those in which all are.
    thresh
        Instead of `how`: keep those with at least so many values.
    subset
        For rows: look at these columns only.
    ignore_index
        Number the rows from 0.

    Raises
    ------
    InvalidArguments
        If a column isn't known, or `subset` is given for columns.

    Examples
    --------
    >>> import pandas as pd
    >>> len(dropna(pd.DataFrame({"a": [1, None], "b": [None, None]}), subset="a"))
    1
    """
    if subset is not None and axis == "columns":
        raise InvalidArguments("subset names columns to look at, so that it goes with axis='index' only")
    options: dict[str, Any] = {"axis": axis, "ignore_index": ignore_index}
    options |= {"thresh": thresh} if thresh is not None else {"how": how}
    if subset is not None:
        options["subset"] = known(data, subset)
    kept: DataFrame = data.dropna(**options)
    return kept
