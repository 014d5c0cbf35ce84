"""Data operations that choose rows and columns, and put them in order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Overwrite
from workbench.operations.data import large, large_streams
from workbench.operations.data.columns import Columns, known, labelled, numeric, refusing, room, single, stored_in
from workbench.operations.data.results import destination
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame

LARGEST_SHARE = 1_000_000_000
"""Times a table's rows that a sample may have. What that comes to is held against memory."""


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
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

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
    target, data = destination(output, overwrite), Dataset.of(data)
    if too_large("pyarrow", data, stream=target.path is not None):
        return large.head(data, n, target)
    return data.frame().head(n)


@operation("data.sample")
def sample(
    data: Dataset,
    n: int | None = None,
    *,
    frac: float | None = None,
    replace: bool = False,
    weights: str | None = None,
    random_state: int = 0,
    ignore_index: bool = False,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Draw rows at random, as `data.sample` does: the same ones each time it is asked.

    Parameters
    ----------
    data
        A table of any size, as long as the rows that are drawn fit in memory.
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
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows, in the order they were drawn in; a Parquet file where `output` is given, or they don't fit in memory.

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
    if frac is not None and not 0 <= frac <= LARGEST_SHARE:
        raise InvalidArguments(f"frac takes a number from 0 to {LARGEST_SHARE:,}, got {frac!r}")
    if not 0 <= random_state < 2**32:
        raise InvalidArguments(f"random_state takes a whole number from 0 to {2**32 - 1}, got {random_state}")
    target, data = destination(output, overwrite), Dataset.of(data)
    options: dict[str, Any] = {"frac": frac, "replace": replace, "random_state": random_state}
    if too_large("pyarrow", data, stream=target.path is not None):
        places = large.numbers(data, None if weights is None else numeric(data.blank, weights)[0])
        room(n or int(len(places) * (frac or 0)), len(data.names), "Draw fewer rows")
        with refusing("the rows can't be drawn"):
            drawn = places.sample(n, weights=None if weights is None else places[weights], **options).index
        return large.take(data, drawn, ignore_index, target)
    frame = data.frame()
    room(n or int(len(frame) * (frac or 0)), frame.shape[1], "Draw fewer rows")
    with refusing("the rows can't be drawn"):
        return frame.sample(
            n,
            weights=None if weights is None else frame[numeric(frame, weights)[0]],
            ignore_index=ignore_index,
            **options,
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
        A table of any size. What doesn't fit in memory is grouped on disk.
    subset
        The columns that are compared; None for all.
    keep
        Which one; `False` for none of them.
    ignore_index
        Number the rows from 0.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows, in their order; a Parquet file where `output` is given, or they don't fit in memory.

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
    target, data = destination(output, overwrite), Dataset.of(data)
    if too_large("duckdb", data, stream=target.path is not None):
        names = data.blank.columns
        compared = large_streams.columns_of(data) if subset is None else known(data.blank, labelled(names, subset))
        return large.drop_duplicates(data, list(map(str, compared)), keep, ignore_index, target)
    frame = data.frame()
    with refusing("the rows can't be compared"):
        chosen = None if subset is None else known(frame, labelled(frame.columns, subset))
        return frame.drop_duplicates(chosen, keep=keep, ignore_index=ignore_index)


@operation("data.select")
def select(
    data: Dataset, columns: list[str], *, output: OutputPath | None = None, overwrite: Overwrite = "replace"
) -> DataFrame | Path:
    """Return these columns, in this order. An index that the table has stays.

    Parameters
    ----------
    data
        A table of any size.
    columns
        Their names.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The columns; a Parquet file where `output` is given, or they don't fit in memory.

    Raises
    ------
    InvalidArguments
        If there is no such column: names the ones that come close. If `output` can't be written.

    Examples
    --------
    >>> import pandas as pd
    >>> select(pd.DataFrame({"a": [1], "b": [2]}), ["b"]).columns.tolist()
    ['b']
    """
    target, data = destination(output, overwrite), Dataset.of(data)
    if too_large("pyarrow", data, stream=target.path is not None):
        names = single(data.blank, labelled(data.blank.columns, columns))
        return large.select(data, list(map(str, names)), target)
    frame = data.frame()
    return frame[known(frame, labelled(frame.columns, columns))]


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
        The column, or columns, to sort by; a categorical one sorts by the order of its categories.
    ascending
        Whether small values come first: of all columns, or of each.
    na_position
        Where missing values go.
    ignore_index
        Number the rows anew, instead of keeping their labels.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

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
    target, data = destination(output, overwrite), Dataset.of(data)
    keys = stored_in(data, by)
    if isinstance(ascending, list) and len(ascending) != len(keys):
        raise InvalidArguments(f"ascending takes one value for each of {len(keys)} columns, got {len(ascending)}")
    if too_large("duckdb", data, stream=target.path is not None):
        each = ascending if isinstance(ascending, list) else [ascending] * len(keys)
        return large.sort(data, list(map(str, keys)), each, na_position, ignore_index, target)
    frame = data.frame()
    try:
        return frame.sort_values(
            labelled([*frame.columns, *frame.index.names], keys),
            ascending=ascending,
            na_position=na_position,
            ignore_index=ignore_index,
            kind="stable",
        )
    except TypeError as error:
        raise InvalidArguments(f"a column holds values that can't be compared: {error}") from error
