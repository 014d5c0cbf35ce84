"""Data operations that name, convert and compute columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Overwrite
from workbench.operations.data import expressions, large, large_columns, large_streams, results
from workbench.operations.data.columns import (
    distinct,
    known,
    named_by_text,
    new_name,
    numeric,
    refusing,
    shown,
    streams,
)
from workbench.operations.data.results import destination
from workbench.operations.datasets import Dataset, in_memory, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame


@operation("data.rename")
def rename(
    data: Dataset, columns: dict[str, str], *, output: OutputPath | None = None, overwrite: Overwrite = "replace"
) -> DataFrame | Path:
    """Rename columns.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory streams by.
    columns
        New names by old ones.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The table, its columns in the same order; a Parquet file where `output` is given, or it doesn't fit in memory.

    Raises
    ------
    InvalidArguments
        If a column isn't known, or two columns would have one name.

    Examples
    --------
    >>> import pandas as pd
    >>> rename(pd.DataFrame({"dep_time": [517]}), {"dep_time": "departure"}).columns.tolist()
    ['departure']
    """
    target, data = destination(output, overwrite), Dataset.of(data)
    if too_large("pyarrow", data, stream=target.path is not None):
        return large.rename(data, _renamed(data.blank, columns), target)
    return _renamed(data.frame(), columns)


def _renamed(data: DataFrame, columns: dict[str, str]) -> DataFrame:
    known(data, list(columns))
    renamed = data.rename(columns=columns)
    twice = renamed.columns[renamed.columns.duplicated()].unique()
    if len(twice) and data.columns.is_unique:
        raise InvalidArguments(f"several columns would be named {shown(twice)}: give each a name of its own")
    return renamed


@operation("data.astype")
def astype(
    data: Dataset,
    dtype: str | dict[str, str],
    *,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Convert columns to other types, as `data.astype(dtype)`.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory streams by, but for `"category"`: which categories there are
        takes all rows.
    dtype
        A type for all columns, or types by column, by pandas's names: `"int64"`, `"Int64"` (which may be missing),
        `"float64"`, `"boolean"`, `"str"`, `"category"`, `"datetime64[ns]"`, `"datetime64[s, Europe/Berlin]"`,
        `"double[pyarrow]"` … A number loses its fraction where it becomes a whole one, as in pandas.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The table with the types asked for; a Parquet file where `output` is given, or it doesn't fit in memory.

    Raises
    ------
    InvalidArguments
        If a column or a type isn't known, or a value doesn't fit its new type: names the column.
    InputTooLarge
        If the table doesn't fit in memory, and a column is to be categorical.

    Examples
    --------
    >>> import pandas as pd
    >>> astype(pd.DataFrame({"a": ["1", "2"]}), {"a": "int64"})["a"].sum()
    np.int64(3)
    """
    import pandas as pd

    target, data = destination(output, overwrite), Dataset.of(data)
    types = _types(data.blank, dtype)
    if any(isinstance(each, pd.CategoricalDtype) for each in types.values()):
        in_memory("data.astype with a type of categories", data)
    elif streams(data, target):
        return large_columns.computed(data, list(types), lambda _: lambda block: _as(block, types), target)
    frame = data.frame().copy(deep=False)
    for name, column in _as(frame, types).items():
        frame[name] = column
    return results.handed(frame, f"{data.stem}.parquet", target)


def _types(data: DataFrame, dtype: str | dict[str, str]) -> dict[str, Any]:
    """Return the types that are asked for, by column."""
    distinct(data)
    if isinstance(dtype, str):
        return dict.fromkeys(data.columns, _dtype(dtype))
    known(data, list(dtype))
    return {column: _dtype(name) for column, name in dtype.items()}


def _as(data: DataFrame, types: dict[str, Any]) -> DataFrame:
    """Return columns with these types."""
    converted = data[list(types)].copy(deep=False)
    for column, type_ in types.items():
        with refusing(f"column {column!r}, which holds {data[column].dtype}, can't become {type_}"):
            converted[column] = data[column].astype(type_)
    return converted


def _dtype(name: str) -> Any:
    import pandas as pd

    try:
        if len(name) > 100:
            raise ValueError("its name is too long")
        dtype: Any = pd.api.types.pandas_dtype(name)
    except (TypeError, ValueError, SyntaxError, KeyError, NotImplementedError) as error:
        raise InvalidArguments(
            f"dtype: {name[:100]!r} is not a type: {error}. Take pandas's names: int64, Int64, float64, boolean, str, "
            "category, datetime64[ns] …"
        ) from error
    foreign = dtype.kind in "SUVc" and not pd.api.types.is_extension_array_dtype(dtype)
    if name != "str" and (foreign or isinstance(dtype, pd.SparseDtype)):
        raise InvalidArguments(f"dtype: columns of {name!r} can't be handed back. Take str, or float64")
    return name if name == "str" else dtype


@operation("data.assign")
def assign(
    data: Dataset, columns: dict[str, str], *, output: OutputPath | None = None, overwrite: Overwrite = "replace"
) -> DataFrame | Path:
    """Add or replace columns, each computed by an expression.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory streams by.
    columns
        Expressions by the name of their column, computed one after the other: a later one may name an earlier one's
        column. See below.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The table with these columns, new ones last; a Parquet file where `output` is given, or it doesn't fit in
        memory. Values are what pandas computes: a missing one stays missing, a comparison with one is false unless its
        column's type knows missing conditions.

    Raises
    ------
    InvalidArguments
        If an expression isn't understood, or doesn't fit its columns: names the character at which.

    Notes
    -----
    An expression is read by a parser of its own: nothing of Python can be reached. It is made of

    - columns by their names, or `col("air time")` where a name isn't a word;

    - numbers, text in quotes, `True`, `False`, and `None` for a missing value;

    - `+ - * / // % **` (with a number as exponent), `== != < <= > >=`, `in [1, 2]`, `not in`, `and`, `or`, `not`;

    - `if_else(condition, one, other)`, `is_missing(x)`, `coalesce(x, y)`;

    - `abs(x)`, `round(x, digits)`, `floor`, `ceil`, `sqrt`, `exp`, `log`, `log10`;

    - `lower(text)`, `upper`, `strip`, `length`, `contains(text, "part")`, `startswith`, `endswith`;

    - `year(time)`, `month`, `day`, `hour`, `minute`, `second`, `weekday` (0 is Monday).

    It has at most 2,000 characters, nested 100 deep.

    Examples
    --------
    >>> import pandas as pd
    >>> flights = pd.DataFrame({"distance": [1400, 1416], "air_time": [227, 160], "carrier": ["UA", "aa"]})
    >>> computed = assign(flights, {"speed": "distance / air_time * 60", "carrier": "upper(carrier)"})
    >>> computed["speed"].round().tolist(), computed["carrier"].tolist()
    ([370.0, 531.0], ['UA', 'AA'])
    >>> assign(flights, {"far": "if_else(distance > 1400, 'far', 'near')"})["far"].tolist()
    ['near', 'far']
    """
    if not columns:
        raise InvalidArguments("columns takes at least one expression")
    target, data = destination(output, overwrite), Dataset.of(data)
    if target.path is not None:
        named_by_text(data.blank)
    if streams(data, target):
        _assigned(data.blank, columns)  # which refuses what isn't understood before anything is read
        named = set().union(*(expressions.names_in(expression, data.blank) for expression in columns.values()))
        present = large_streams.columns_of(data)
        needed = [name for name in present if name in named] or present[:1]
        return large_columns.computed(
            data, needed, lambda _: lambda block: _assigned(block, columns)[list(columns)], target
        )
    return results.handed(_assigned(data.frame(), columns), f"{data.stem}.parquet", target)


def _assigned(data: DataFrame, columns: dict[str, str]) -> DataFrame:
    distinct(data)
    result = data.copy(deep=False)
    for name, expression in columns.items():
        try:
            result[name] = expressions.evaluate(expression, result)
        except InvalidArguments as error:
            raise InvalidArguments(f"column {name!r}: {error}") from error
    return result


@operation("data.cut")
def cut(
    data: DataFrame,
    column: str,
    bins: int | list[int | float] | None = None,
    *,
    q: int | list[float] | None = None,
    labels: list[str] | None = None,
    right: bool = True,
    include_lowest: bool = False,
    into: str | None = None,
) -> DataFrame:
    """Put numbers into bins, as `pandas.cut` does, or into quantiles, as `pandas.qcut`.

    Parameters
    ----------
    data
        Any table.
    column
        The column of numbers.
    bins
        How many bins of equal width, or their edges.
    q
        Instead: how many quantiles, or their edges from 0 to 1.
    labels
        A name for each bin; None for its interval as text, e.g. `"(0.0, 10.0]"`.
    right
        Whether a bin holds its right edge, and not its left one. Quantiles always do.
    include_lowest
        Whether the first bin holds its left edge, too. That of quantiles always does.
    into
        The new column's name; None for the column's, followed by `_bin`.

    Returns
    -------
    pandas.DataFrame
        The table with a column of ordered categories. What lies in no bin is missing.

    Raises
    ------
    InvalidArguments
        If the column isn't one of numbers, or bins, quantiles or labels can't be used.

    Examples
    --------
    >>> import pandas as pd
    >>> cut(pd.DataFrame({"delay": [-3, 12, 90]}), "delay", [-60, 0, 60, 600])["delay_bin"].tolist()
    ['(-60, 0]', '(0, 60]', '(60, 600]']
    """
    import pandas as pd

    if (bins is None) is (q is None):
        raise InvalidArguments("cut takes either bins or q")
    values: Any = data[numeric(data, column)[0]]
    count: Any = bins if bins is not None else q
    if isinstance(count, int) and not 1 <= count <= MOST_BINS:
        raise InvalidArguments(f"cut makes 1 to {MOST_BINS} bins, got {count}")
    name = new_name(data, into if into is not None else f"{column}_bin", "into")
    with refusing(f"column {column!r} can't be cut"):
        if bins is not None:
            cells: Any = pd.cut(values, bins, labels=labels, right=right, include_lowest=include_lowest)
        else:
            cells = pd.qcut(values, count, labels=labels)
        if labels is None:
            cells = cells.cat.rename_categories([str(interval) for interval in cells.cat.categories])
    return data.assign(**{name: cells})


MOST_BINS = 10_000
