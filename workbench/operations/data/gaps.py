"""Data operations about missing values: where they are, and what to put there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Overwrite
from workbench.operations.data import large, large_gaps, large_streams, results
from workbench.operations.data.columns import (
    Columns,
    distinct,
    kind,
    known,
    labelled,
    numeric,
    refusing,
    single,
    streams,
)
from workbench.operations.data.results import destination
from workbench.operations.datasets import Dataset, in_memory, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame


@operation("data.missing")
def missing(data: Dataset) -> DataFrame:
    """Report for each column how many values are missing.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory streams by.

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

    data = Dataset.of(data)
    found = large.missing(data) if too_large("pyarrow", data) else _gaps(data.frame())
    rows = [
        {
            "dtype": str(each["dtype"]),
            "count": each["rows"] - each["missing"],
            "missing": each["missing"],
            "share": each["missing"] / each["rows"] if each["rows"] else 0.0,
            "longest_gap": each["longest"],
        }
        for each in found
    ]
    columns = ["dtype", "count", "missing", "share", "longest_gap"]
    return pd.DataFrame(rows, index=pd.Index(data.blank.columns, name="column"), columns=columns)


def _gaps(data: DataFrame) -> list[dict[str, Any]]:
    """Return what `large.missing` does, of a frame."""
    found = []
    for position in range(data.shape[1]):
        gaps = large.Gaps()
        gaps.add(data.iloc[:, position].isna().to_numpy(dtype=bool))
        found.append(
            {
                "dtype": data.dtypes.iloc[position],
                "rows": gaps.rows,
                "missing": gaps.missing,
                "longest": gaps.longest,
            }
        )
    return found


@operation("data.fillna")
def fillna(
    data: Dataset,
    value: Any = None,
    *,
    method: Literal["ffill", "bfill"] | None = None,
    columns: Columns | None = None,
    limit: int | None = None,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Put values where they are missing, as `data.fillna`, `data.ffill` and `data.bfill` do.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory streams by; for `"bfill"` twice.
    value
        One for all columns, or a dict of one for each; columns not in it stay as they are.
    method
        Instead of a value: take the last one that is there (`"ffill"`), or the next (`"bfill"`).
    columns
        Only in these; None for all.
    limit
        At most so many: with a method in each gap, with a value in each column. None for all.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The table with fewer gaps; a Parquet file where `output` is given, or it doesn't fit in memory.

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
    target, data = destination(output, overwrite), Dataset.of(data)
    streamed = streams(data, target)
    frame = data.blank if streamed else data.frame()
    distinct(frame)
    names = list(frame.columns) if columns is None else single(frame, labelled(frame.columns, columns))
    if isinstance(value, dict):
        value = dict(zip(known(frame, labelled(frame.columns, list(value))), value.values(), strict=True))
        names = [name for name in names if name in value]

    def fill(column: Any, most: int | None) -> Any:
        one = value[column.name] if isinstance(value, dict) else value
        _check_fits(column, one)
        with refusing(f"column {column.name!r}, which holds {column.dtype}, can't take {one!r}"):
            return column.fillna(one, limit=most)

    if streamed and method is None:
        return large_gaps.with_values(data, names, fill, limit, target)
    if streamed and method is not None:
        return large_gaps.with_neighbours(data, names, method, limit, target)
    filled = frame.copy(deep=False)
    for name in names:
        column: Any = frame[name]
        if method is None:
            filled[name] = fill(column, limit)
            continue
        with refusing(f"column {name!r}, which holds {column.dtype}, can't be filled"):
            filled[name] = column.ffill(limit=limit) if method == "ffill" else column.bfill(limit=limit)
    return results.handed(filled, f"{data.stem}.parquet", target)


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
    data: Dataset,
    *,
    axis: Literal["index", "columns"] = "index",
    how: Literal["any", "all"] = "any",
    thresh: int | None = None,
    subset: Columns | None = None,
    ignore_index: bool = False,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Leave out rows, or columns, that hold missing values, as `data.dropna` does.

    Parameters
    ----------
    data
        A table of any size. Rows of what doesn't fit in memory stream by; to leave out columns, it has to fit.
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
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows, or columns, that are left; a Parquet file where `output` is given, or they don't fit in memory.

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
    target, data = destination(output, overwrite), Dataset.of(data)
    if axis == "columns":
        in_memory("data.dropna with axis='columns'", data)
    elif too_large("pyarrow", data, stream=target.path is not None):
        names = data.blank.columns
        looked_at = large_streams.columns_of(data) if subset is None else known(data.blank, labelled(names, subset))
        least = thresh if thresh is not None else (len(looked_at) if how == "any" else 1)
        return large.dropna(data, list(map(str, looked_at)), least, ignore_index, target)
    options: dict[str, Any] = {"axis": axis, "ignore_index": ignore_index}
    options |= {"thresh": thresh} if thresh is not None else {"how": how}
    frame = data.frame()
    if subset is not None:
        options["subset"] = known(frame, labelled(frame.columns, subset))
    return results.handed(frame.dropna(**options), f"{data.stem}.parquet", target)
