"""Data operations that turn rows into columns and columns into rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import large_summaries
from workbench.operations.data.columns import Columns, distinct, kind, refusing, room, shown, single
from workbench.operations.data.groups import check_aggregations
from workbench.operations.datasets import Dataset, in_memory, too_large
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame

Aggfunc = str | list[str] | dict[str, str | list[str]]

_NARROW = "Choose columns with fewer distinct values, or group them first (data.cut, data.groupby)"


@operation("data.pivot_table")
def pivot_table(
    data: Dataset,
    values: Columns,
    index: Columns,
    columns: Columns,
    aggfunc: Aggfunc = "mean",
    *,
    fill_value: int | float | str | None = None,
    margins: bool = False,
    margins_name: str = "All",
    dropna: bool = True,
    sort: bool = True,
) -> DataFrame:
    """Spread values over a table of two dimensions, as `pandas.pivot_table` does.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory is grouped on disk, but for `margins`, `sort=False` and a dict
        with lists.
    values
        The column, or columns, that are aggregated.
    index
        Whose values make the rows.
    columns
        Whose values make the columns.
    aggfunc
        How, by the names that `data.groupby` takes; several as a list, or different ones for each column as a dict.
    fill_value
        What stands where there is nothing to aggregate; None to leave it missing.
    margins
        Add a row and a column of the whole.
    margins_name
        What those are called.
    dropna
        Leave out columns in which everything is missing.
    sort
        Sort rows and columns.

    Returns
    -------
    pandas.DataFrame
        A row for each combination of `index` that occurs, with a level of columns for each of `columns`.

    Raises
    ------
    InvalidArguments
        If a column or a function isn't known or doesn't fit, or the result would be too large.
    InputTooLarge
        If the table doesn't fit in memory, and what is asked for needs it there; or if its groups don't fit.

    Examples
    --------
    >>> import pandas as pd
    >>> flights = pd.DataFrame({"origin": ["JFK", "JFK", "LGA"], "month": [1, 2, 1], "delay": [4.0, 8.0, 1.0]})
    >>> pivot_table(flights, "delay", "origin", "month").loc["JFK"].tolist()
    [4.0, 8.0]
    """
    data = Dataset.of(data)
    options: dict[str, Any] = {"dropna": dropna, "sort": sort, "fill_value": fill_value}
    nested = isinstance(aggfunc, dict) and any(isinstance(each, list) for each in aggfunc.values())
    if margins or nested or not sort:
        in_memory("data.pivot_table with margins, sort=False or a dict with lists", data)
    elif too_large("duckdb", data):
        _check_pivot(data.blank, values, index, columns, aggfunc)
        return _pivoted_on_disk(data, values, index, columns, aggfunc, options)
    frame = data.frame()
    _check_pivot(frame, values, index, columns, aggfunc)
    return _pivoted(frame, values, index, columns, aggfunc, margins=margins, margins_name=margins_name, **options)


def _check_pivot(data: DataFrame, values: Columns, index: Columns, columns: Columns, aggfunc: Aggfunc) -> None:
    spread = single(data, values)
    single(data, index)
    single(data, columns)
    check_aggregations(_by_column(spread, aggfunc))
    if isinstance(aggfunc, dict) and (other := [name for name in aggfunc if name not in spread]):
        raise InvalidArguments(f"aggfunc names {other[0]!r}, which isn't among values")


def _by_column(values: Columns, aggfunc: Aggfunc) -> dict[str, Any]:
    if isinstance(aggfunc, dict):
        return dict(aggfunc)
    return dict.fromkeys([values] if isinstance(values, str) else values, aggfunc)


def _pivoted_on_disk(
    data: Dataset, values: Columns, index: Columns, columns: Columns, aggfunc: Aggfunc, options: dict[str, Any]
) -> DataFrame:
    """Group on disk, and spread the groups, each of which is one row by then."""
    import pandas as pd

    down = [index] if isinstance(index, str) else index
    across = [columns] if isinstance(columns, str) else columns
    keys, functions = [*down, *across], _by_column(values, aggfunc)
    agg: dict[str, Any] = {name: each if isinstance(each, list) else [each] for name, each in functions.items()}
    groups = large_summaries.groupby(data, keys, agg, dropna=options["dropna"], sort=False)
    # A column can make rows, make columns and be aggregated, all at once: names of their own keep these apart.
    own = keys if len({*keys, *functions}) == len(keys) + len(functions) else [f"\0{key}" for key in range(len(keys))]
    named: dict[str | int, str] = dict(zip(own, keys, strict=True))

    def spread(chosen: dict[str, str]) -> DataFrame:
        cells = groups[list(chosen.items())].set_axis(list(chosen), axis=1).reset_index(names=own)
        pivoted = _pivoted(cells, values, own[: len(down)], own[len(down) :], "first", **options)
        return pivoted.rename_axis(index=named, columns=named)

    if isinstance(aggfunc, list):
        return pd.concat([spread(dict.fromkeys(functions, each)) for each in aggfunc], keys=aggfunc, axis=1)
    return spread(functions)


def _pivoted(
    data: DataFrame, values: Columns, index: Columns, columns: Columns, aggfunc: Any, *, dropna: bool, **options: Any
) -> DataFrame:
    spread, down, across = single(data, values), single(data, index), single(data, columns)
    functions = _by_column(spread, aggfunc)
    each = max(len(function) if isinstance(function, list) else 1 for function in functions.values())
    rows = _combinations(data, down) if dropna else _product(data, down)
    width = _combinations(data, across) if dropna else _product(data, across)
    room(rows, width * each * len(spread), _NARROW)
    with refusing("the values can't be aggregated so"):
        pivoted: DataFrame = data.pivot_table(
            values=values, index=index, columns=columns, aggfunc=aggfunc, dropna=dropna, observed=True, **options
        )
    return pivoted


def _combinations(data: DataFrame, columns: list[str]) -> int:
    """Count the combinations of values that occur."""
    with refusing(f"the values of {', '.join(map(repr, columns))} can't make groups"):
        return max(1, len(data[columns].drop_duplicates()))


def _product(data: DataFrame, columns: list[str]) -> int:
    """Count the combinations of values that could: of categories, whether they occur or not."""
    import pandas as pd

    counts = [_combinations(data, [column]) for column in columns]
    for place, column in enumerate(columns):
        if isinstance(data[column].dtype, pd.CategoricalDtype):
            counts[place] = max(counts[place], len(data[column].cat.categories))
    return math.prod(counts)


@operation("data.melt")
def melt(
    data: DataFrame,
    id_vars: Columns | None = None,
    value_vars: Columns | None = None,
    *,
    var_name: str = "variable",
    value_name: str = "value",
    ignore_index: bool = True,
) -> DataFrame:
    """Put columns below each other, as `data.melt` does: a row for each row and column.

    Parameters
    ----------
    data
        Any table.
    id_vars
        Columns that stay, their values repeated.
    value_vars
        Columns that become rows; None for all others.
    var_name, value_name
        What the columns of their names and of their values are called.
    ignore_index
        Number the rows from 0; otherwise the index is repeated.

    Raises
    ------
    InvalidArguments
        If a column isn't known, a name is taken, the values are of several kinds, or the result would be too large.

    Examples
    --------
    >>> import pandas as pd
    >>> melt(pd.DataFrame({"k": ["a"], "x": [1], "y": [2]}), "k").values.tolist()
    [['a', 'x', 1], ['a', 'y', 2]]
    """
    distinct(data)
    kept = [] if id_vars is None else single(data, id_vars)
    rows = [name for name in data.columns if name not in kept] if value_vars is None else single(data, value_vars)
    names = [*kept, var_name, value_name]
    if len(set(names)) < len(names):
        raise InvalidArguments(f"the columns would be named {names}: give var_name and value_name names of their own")
    kinds = {name: kind(data[name]) for name in rows}
    held = {found if found != "other" else str(data[name].dtype) for name, found in kinds.items()} - {"empty"}
    if len(held) > 1:
        raise InvalidArguments(
            f"the columns {shown(rows)} hold values of several kinds ({', '.join(sorted(held))}), which one column "
            "can't: name those to melt in value_vars, those to keep in id_vars"
        )
    room(len(data) * len(rows), len(names), "Choose fewer value_vars")
    melted: DataFrame = data.melt(
        id_vars=kept, value_vars=rows, var_name=var_name, value_name=value_name, ignore_index=ignore_index
    )
    return melted


@operation("data.crosstab")
def crosstab(
    data: DataFrame,
    index: Columns,
    columns: Columns,
    *,
    values: str | None = None,
    aggfunc: str | None = None,
    normalize: bool | Literal["all", "index", "columns"] = False,
    margins: bool = False,
    margins_name: str = "All",
    dropna: bool = True,
) -> DataFrame:
    """Count how often values occur together, as `pandas.crosstab` does.

    Parameters
    ----------
    data
        Any table.
    index
        Whose values make the rows.
    columns
        Whose values make the columns.
    values, aggfunc
        Aggregate this column in this way, instead of counting.
    normalize
        Give shares: of all (`True` or `"all"`), of each row (`"index"`) or of each column (`"columns"`).
    margins
        Add sums.
    margins_name
        What those are called.
    dropna
        Leave out columns in which everything is missing.

    Raises
    ------
    InvalidArguments
        If a column isn't known, only one of `values` and `aggfunc` is given, or the result would be too large.

    Examples
    --------
    >>> import pandas as pd
    >>> crosstab(pd.DataFrame({"a": ["x", "x", "y"], "b": [1, 1, 2]}), "a", "b").loc["x"].tolist()
    [2, 0]
    """
    import pandas as pd

    if (values is None) is not (aggfunc is None):
        raise InvalidArguments("values and aggfunc go together")
    if values is not None and aggfunc is not None:
        check_aggregations({values: aggfunc})
    down, across = single(data, index), single(data, columns)
    if set(down) & set(across):
        raise InvalidArguments(f"{next(iter(set(down) & set(across)))!r} is among both index and columns")
    cells: Any = None if values is None else data[single(data, values)[0]]
    count = _combinations if dropna else _product
    room(count(data, down), count(data, across), _NARROW)
    with refusing("the values can't be counted so"):
        table: DataFrame = pd.crosstab(
            [data[name] for name in down],
            [data[name] for name in across],
            values=cells,
            aggfunc=aggfunc,
            normalize=normalize,
            margins=margins,
            margins_name=margins_name,
            dropna=dropna,
        )
    return table
