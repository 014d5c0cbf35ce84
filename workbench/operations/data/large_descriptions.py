"""Quantiles and descriptions of columns larger than memory, by DuckDB; the results are small, and as pandas's.

They come from a table of a column's values and how often each occurs: grouping and sorting can be done on disk, where
DuckDB's own functions for exact quantiles need all values in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import duck
from workbench.operations.data.duck import ROW, column
from workbench.operations.data.large_streams import columns_of
from workbench.operations.data.large_types import as_pandas, check_fits, dtypes, is_number
from workbench.operations.datasets import Dataset

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Interpolation = Literal["linear", "lower", "higher", "midpoint", "nearest"]

_PERCENTILES = {"25%": 0.25, "50%": 0.5, "75%": 0.75}


def quantile(data: Dataset, q: Sequence[float], columns: list[str], interpolation: Interpolation) -> DataFrame:
    """Return exact quantiles, as `data[columns].quantile(q, interpolation=interpolation)`: a row for each."""
    import pandas as pd

    for name in columns:
        check_fits(data, name, "median")
    index = pd.Index(list(q), dtype="float64")
    found = {}
    with duck.opened(data=data) as connection:
        types = dtypes(connection, data, columns)
        for name in columns:
            values = _Values(connection, data, name).quantiles(q, interpolation)
            found[name] = _typed(pd.Series(values, index=index), types[name], interpolation)
    return pd.DataFrame(found)


def _typed(series: Series[Any], dtype: Any, interpolation: Interpolation) -> Series[Any]:
    """Return quantiles with the column's type where they are values of it, and as floats where they lie between."""
    if interpolation in ("lower", "higher", "nearest") and not series.isna().any():
        return series.astype(dtype)
    return series.astype("Float64" if hasattr(dtype, "numpy_dtype") else "float64")


def profile(data: Dataset) -> DataFrame:
    """Describe each column in a row: see `data.profile`."""
    import pandas as pd

    with duck.opened(data=data) as connection:
        names = columns_of(data)
        types = dtypes(connection, data, names)
        rows = [_row(_Values(connection, data, name, types[name]), types[name]) for name in names]
        return pd.DataFrame(rows, index=pd.Index(data.blank.columns, name="column"))


def _row(values: _Values, dtype: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"dtype": str(dtype), "count": values.count, "missing": values.rows - values.count}
    if values.nested:
        row |= {"unique": None, "top": None, "freq": None}
    else:
        top, freq = values.top()
        row |= {"unique": values.unique, "top": None if freq is None else shown(top), "freq": freq}
    return row | values.statistics() if values.numeric else row | dict.fromkeys(_STATISTICS)


def shown(value: Any) -> str:
    """Return a value as a profile shows it; zero has no sign there, as -0.0 and 0.0 are one value."""
    import numpy as np

    return str(value + 0.0 if isinstance(value, float | np.floating) else value)


_STATISTICS = ("mean", "std", "min", *_PERCENTILES, "max")


def describe(data: Dataset, *, include: str | None) -> DataFrame:
    """Return what `pandas.DataFrame.describe` does, for numbers, text and truth values."""
    import pandas as pd
    import pyarrow as pa

    with duck.opened(data=data) as connection:
        held = {name: data.schema.field(name).type for name in columns_of(data)}
        types = dtypes(connection, data, list(held))
        numbers = [name for name, type_ in held.items() if is_number(type_) or pa.types.is_temporal(type_)]
        described = []
        for name in held if include == "all" or not numbers else numbers:
            type_ = held[name]
            if pa.types.is_temporal(type_) or pa.types.is_nested(type_):
                raise InvalidArguments(
                    f"column {name!r} holds {type_}, which isn't described in a table larger than memory: select the "
                    "other columns first, or take data.profile"
                )
            described.append(_description(_Values(connection, data, name, types[name])))
    order = list(dict.fromkeys(name for series in sorted(described, key=len) for name in series.index))
    if include == "all":
        order = [name for name in ("count", "unique", "top", "freq", *_STATISTICS) if name in order]
    return pd.concat([series.reindex(order) for series in described], axis=1)


def _description(values: _Values) -> Series[Any]:
    import pandas as pd

    if values.numeric:
        return pd.Series({"count": float(values.count), **values.statistics()}, name=values.name, dtype="float64")
    top, freq = values.top()
    found = {"count": values.count, "unique": values.unique, "top": top, "freq": freq}
    if freq is None:
        found |= {"top": math.nan, "freq": math.nan}
    return pd.Series(found, name=values.name, dtype=object)


class _Values:
    """The values of a column, and how often each occurs: a table of DuckDB's, on disk where it is large.

    The next one made with the same connection takes its place.
    """

    def __init__(self, connection: Any, data: Dataset, name: str, dtype: Any = None) -> None:
        import pyarrow as pa

        self._connection, self._data, self._dtype = connection, data, dtype
        self.name = name
        type_ = data.schema.field(name).type
        self.nested = pa.types.is_nested(type_)
        self.numeric = is_number(type_)
        x = column(data, name)
        duck.run(
            connection,
            f"CREATE OR REPLACE TABLE seen AS SELECT {x} AS x, count(*) AS n, min({ROW}) AS first_ "  # noqa: S608
            f"FROM data GROUP BY {x}",
        )
        numbers = "SELECT sum(n), sum(n) FILTER (x IS NOT NULL), count(x) FROM seen"
        rows, count, self.unique = duck.run(connection, numbers)[0]
        self.rows, self.count = int(rows or 0), int(count or 0)

    def top(self) -> tuple[Any, int | None]:
        """Return the most frequent value, and how often it occurs."""
        query = "SELECT x, n FROM seen WHERE x IS NOT NULL ORDER BY n DESC, first_ LIMIT 1"
        frame = duck.fetch(self._connection, query)
        if frame.empty:
            return None, None
        return as_pandas(frame["x"], self._data, self.name, self._dtype).iloc[0], int(frame["n"].iloc[0])

    def statistics(self) -> dict[str, float]:
        """Return mean, standard deviation, least, quartiles and greatest, of numbers."""
        if not self.count:
            return dict.fromkeys(_STATISTICS, math.nan)
        query = (
            "WITH m AS (SELECT sum(x::DOUBLE * n) / sum(n) AS mean FROM seen WHERE x IS NOT NULL) "
            "SELECT any_value(mean), sum(n * (x - mean) * (x - mean)), min(x), max(x) FROM seen, m WHERE x IS NOT NULL"
        )
        mean, squares, least, greatest = duck.run(self._connection, query)[0]
        spread = math.sqrt(squares / (self.count - 1)) if self.count > 1 else math.nan
        quartiles = dict(zip(_PERCENTILES, map(float, self.quantiles(list(_PERCENTILES.values()))), strict=True))
        return {"mean": mean, "std": spread, "min": float(least), **quartiles, "max": float(greatest)}

    def quantiles(self, q: Sequence[float], interpolation: Interpolation = "linear") -> list[int | float]:
        """Return exact quantiles, interpolated as numpy does: whole where they are values of whole numbers."""
        if not self.count:
            return [math.nan] * len(q)
        places = [each * (self.count - 1) for each in q]
        values = self._at(sorted({index for place in places for index in (math.floor(place), math.ceil(place))}))
        return [
            _between(values[math.floor(place)], values[math.ceil(place)], _part(place, interpolation))
            for place in places
        ]

    def _at(self, places: list[int]) -> dict[int, int | float]:
        """Return the values at these places in the order of all values, which streams by."""
        import numpy as np

        found: dict[int, int | float] = {}
        before, left = 0, list(places)
        for batch in duck.batches(self._connection, "SELECT x, n FROM seen WHERE x IS NOT NULL ORDER BY x"):
            upto = before + np.cumsum(batch.column(1).to_numpy())
            while left and left[0] < upto[-1]:
                found[left[0]] = batch.column(0)[int(np.searchsorted(upto, left[0], side="right"))].as_py()
                left.pop(0)
            before = int(upto[-1])
            if not left:
                break
        return found


def _part(place: float, interpolation: Interpolation) -> float:
    """Return how far between two values a quantile lies that has a place between theirs."""
    match interpolation:
        case "lower":
            return 0.0
        case "higher":
            return 1.0
        case "nearest":
            return round(place) - math.floor(place)
        case "midpoint":
            return 0.5
        case "linear":
            return place % 1


def _between(low: int | float, high: int | float, part: float) -> int | float:
    if low == high or part == 0:  # the value itself: a sum with a float would round a large whole number
        return low
    if part == 1:
        return high
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
