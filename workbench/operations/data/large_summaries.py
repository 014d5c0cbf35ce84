"""Groups, counts and descriptions of tables larger than memory, by DuckDB; the results are small, and as pandas's.

Exact quantiles, and all that describes a column, come from a table of its values and how often each occurs: grouping
and sorting can be done on disk, where DuckDB's own functions for them need all values in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import duck
from workbench.operations.data.columns import NARROW, Columns, room
from workbench.operations.data.duck import ROW, column
from workbench.operations.datasets import Dataset

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Interpolation = Literal["linear", "lower", "higher", "midpoint", "nearest"]

_NUMBERS = frozenset({"mean", "median", "prod", "sem", "skew", "std", "sum", "var", "any", "all"})
_FLOATS = frozenset({"mean", "median", "sem", "skew", "std", "var"})
_COUNTS = frozenset({"count", "nunique", "size"})
_PERCENTILES = {"25%": 0.25, "50%": 0.5, "75%": 0.75}


def groupby(
    data: Dataset, keys: list[str], agg: Mapping[str, str | list[str]], *, dropna: bool = True, sort: bool = True
) -> DataFrame:
    """Group rows and aggregate columns, as `pandas.DataFrame.groupby(keys).agg(agg)`."""
    import pandas as pd

    wanted = [
        (name, function)
        for name, functions in agg.items()
        for function in ([functions] if isinstance(functions, str) else functions)
    ]
    for name, function in wanted:
        _check_fits(data, name, function)
    with duck.opened(data=data) as connection:
        dtypes = _dtypes(connection, data, list(dict.fromkeys([*keys, *agg])))
        frame = duck.fetch(connection, _grouping(data, keys, wanted, dropna))
    for position, key in enumerate(keys):
        frame[f"k{position}"] = _as_pandas(frame[f"k{position}"], data, key, dtypes[key])
    names = [f"k{position}" for position in range(len(keys))]
    if sort:
        frame = frame.sort_values(names, kind="stable")
    values = {
        position: _aggregated(frame[f"a{position}"], data, name, function, dtypes[name])
        for position, (name, function) in enumerate(wanted)
    }
    index = (
        pd.Index(frame["k0"], name=keys[0]) if len(keys) == 1 else pd.MultiIndex.from_frame(frame[names], names=keys)
    )
    result = pd.DataFrame({position: series.array for position, series in values.items()}, index=index)
    nested = any(not isinstance(functions, str) for functions in agg.values())
    result.columns = pd.MultiIndex.from_tuples(wanted) if nested else pd.Index([name for name, _ in wanted])
    return result


def _grouping(data: Dataset, keys: list[str], wanted: list[tuple[str, str]], dropna: bool) -> str:
    """Return the query of a grouping: keys `k0` …, aggregates `a0` …, groups in the order they first occur in."""
    columns = [column(data, key) for key in keys]
    where = "WHERE " + " AND ".join(f"{each} IS NOT NULL" for each in columns) if dropna else ""
    parts, joins, medians = [], [], []
    for position, (name, function) in enumerate(wanted):
        if function == "median":
            medians.append(f"m{position} AS ({_median(columns, column(data, name), where)})")
            same = " AND ".join(f"g.{each} IS NOT DISTINCT FROM m{position}.{each}" for each in columns)
            joins.append(f"LEFT JOIN m{position} ON {same}")
        else:
            parts.append(f"{_expression(function, column(data, name))} AS a{position}")
    group = ", ".join(columns)
    grouped = f"g AS (SELECT {', '.join([group, f'min({ROW}) AS first_', *parts])} FROM data {where} GROUP BY {group})"  # noqa: S608
    results = [f"g.{each} AS k{position}" for position, each in enumerate(columns)]
    results += [
        f"m{position}.median_ AS a{position}" if function == "median" else f"g.a{position}"
        for position, (_, function) in enumerate(wanted)
    ]
    return f"WITH {', '.join([grouped, *medians])} SELECT {', '.join(results)} FROM g {' '.join(joins)} ORDER BY first_"  # noqa: S608


def _median(keys: list[str], x: str, where: str) -> str:
    group = ", ".join(keys)
    present = f"{where} AND {x} IS NOT NULL" if where else f"WHERE {x} IS NOT NULL"
    counted = f"SELECT {group}, {x}::DOUBLE AS x, count(*)::BIGINT AS n FROM data {present} GROUP BY ALL"  # noqa: S608
    summed = (
        f"SELECT *, sum(n) OVER (PARTITION BY {group} ORDER BY x)::BIGINT AS upto, "  # noqa: S608
        f"sum(n) OVER (PARTITION BY {group})::BIGINT AS total FROM ({counted})"
    )
    middle = "2 * upto >= total AND 2 * (upto - n) <= total"
    return f"SELECT {group}, avg(x) AS median_ FROM ({summed}) WHERE {middle} GROUP BY {group}"  # noqa: S608


def _expression(function: str, x: str) -> str:
    number = f"{x}::DOUBLE"
    return {
        "count": f"count({x})",
        "size": "count(*)",
        "nunique": f"count(DISTINCT {x})",
        "first": f"arg_min({x}, {ROW})",
        "last": f"arg_max({x}, {ROW})",
        "min": f"min({x})",
        "max": f"max({x})",
        "sum": f"coalesce(sum({x}), 0)",
        "prod": f"coalesce(product({number}), 1)",
        "mean": f"avg({number})",
        "std": f"stddev_samp({number})",
        "var": f"var_samp({number})",
        "sem": f"stddev_samp({number}) / sqrt(count({x}))",
        "skew": f"CASE WHEN count({x}) >= 3 AND min({x}) <> max({x}) THEN skewness({number}) END",
        "any": f"coalesce(bool_or({number} <> 0), false)",
        "all": f"coalesce(bool_and({number} <> 0), true)",
    }[function]


def value_counts(data: Dataset, columns: list[str], *, normalize: bool, top: int | None) -> DataFrame:
    """Count how often each combination of values occurs, the most frequent first; of equals, the first to occur."""
    import pandas as pd

    names = [column(data, name) for name in columns]
    group, present = ", ".join(names), " AND ".join(f"{name} IS NOT NULL" for name in names)
    query = (
        f"SELECT {group}, count(*) AS n, sum(count(*)) OVER ()::BIGINT AS total FROM data WHERE {present} "  # noqa: S608
        f"GROUP BY {group} ORDER BY n DESC, min({ROW}) {'' if top is None else f'LIMIT {top}'}"
    )
    with duck.opened(data=data) as connection:
        dtypes = _dtypes(connection, data, columns)
        frame = duck.fetch(connection, query)
    for own, name in zip(names, columns, strict=True):
        frame[own] = _as_pandas(frame[own], data, name, dtypes[name])
    single = len(columns) == 1
    index: Any = pd.Index(frame[names[0]], name=columns[0]) if single else None
    if index is None:
        index = pd.MultiIndex.from_frame(frame[names], names=columns)
    numbers = (frame["n"] / frame["total"]) if normalize else frame["n"]
    return pd.DataFrame({"proportion" if normalize else "count": numbers.to_numpy()}, index=index)


def quantile(
    data: Dataset, q: Sequence[float], columns: list[str], interpolation: Interpolation = "linear"
) -> DataFrame:
    """Return exact quantiles, as `data[columns].quantile(q)`: a row for each."""
    import pandas as pd

    for name in columns:
        _check_fits(data, name, "median")
    with duck.opened(data=data) as connection:
        dtypes = _dtypes(connection, data, columns)
        values = {name: _Values(connection, data, name).quantiles(q, interpolation) for name in columns}
    found = pd.DataFrame(values, index=pd.Index(list(q), dtype="float64"))
    if interpolation in ("lower", "higher", "nearest"):  # values that occur, of the types that they have
        found = found.astype({name: dtypes[name] for name in columns if found[name].notna().all()})
    return found


def pivot_table(
    data: Dataset,
    values: Columns,
    index: list[str],
    columns: list[str],
    functions: Mapping[str, str | list[str]],
    fill_value: Any = None,
) -> DataFrame:
    """Return one aggregate of each column for each pair of groups, as `pandas.DataFrame.pivot_table`."""
    names = [values] if isinstance(values, str) else values
    grouped = groupby(data, [*index, *columns], functions).dropna(how="all")
    levels = [grouped.index.get_level_values(place) for place in range(grouped.index.nlevels)]
    down, across = levels[: len(index)], levels[len(index) :]
    room(_combinations(down), _combinations(across) * len(names), NARROW)
    table: Any = grouped[values].unstack(columns)  # noqa: PD010 - each is in its place once
    table = table.dropna(axis=1, how="all").sort_index(axis=1)
    found: DataFrame = table if fill_value is None else table.fillna(fill_value)
    return found


def _combinations(levels: list[Any]) -> int:
    return len(set(zip(*levels, strict=True)))


def profile(data: Dataset) -> DataFrame:
    """Describe each column in a row: see `data.profile`."""
    import pandas as pd

    with duck.opened(data=data) as connection:
        dtypes = _dtypes(connection, data, data.schema.names)
        rows = [_row(_Values(connection, data, name, dtypes[name]), dtypes[name]) for name in data.schema.names]
    return pd.DataFrame(rows, index=pd.Index(data.schema.names, name="column"))


def _row(values: _Values, dtype: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"dtype": str(dtype), "count": values.count, "missing": values.rows - values.count}
    if values.nested:
        row |= {"unique": None, "top": None, "freq": None}
    else:
        top, freq = values.top()
        row |= {"unique": values.unique, "top": None if freq is None else str(top), "freq": freq}
    return row | values.statistics() if values.numeric else row | dict.fromkeys(_STATISTICS)


_STATISTICS = ("mean", "std", "min", *_PERCENTILES, "max")


def describe(data: Dataset, *, include: str | None) -> DataFrame:
    """Return what `pandas.DataFrame.describe` does, for numbers, text and truth values."""
    import pandas as pd
    import pyarrow as pa

    with duck.opened(data=data) as connection:
        dtypes = _dtypes(connection, data, data.schema.names)
        numbers = [field.name for field in data.schema if _is_number(field.type) or pa.types.is_temporal(field.type)]
        described = []
        for name in data.schema.names if include == "all" or not numbers else numbers:
            type_ = data.schema.field(name).type
            if pa.types.is_temporal(type_) or pa.types.is_nested(type_):
                raise InvalidArguments(
                    f"column {name!r} holds {type_}, which isn't described in a table larger than memory: select the "
                    "other columns first, or take data.profile"
                )
            described.append(_description(_Values(connection, data, name, dtypes[name])))
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
        self.numeric = _is_number(type_)
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
        return _as_pandas(frame["x"], self._data, self.name, self._dtype).iloc[0], int(frame["n"].iloc[0])

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
        quartiles = dict(zip(_PERCENTILES, self.quantiles(list(_PERCENTILES.values())), strict=True))
        return {"mean": mean, "std": spread, "min": float(least), **quartiles, "max": float(greatest)}

    def quantiles(self, q: Sequence[float], interpolation: Interpolation = "linear") -> list[float]:
        """Return exact quantiles, interpolated as numpy does."""
        if not self.count:
            return [math.nan] * len(q)
        places = [each * (self.count - 1) for each in q]
        values = self._at(sorted({index for place in places for index in (math.floor(place), math.ceil(place))}))
        part = _PARTS[interpolation]
        return [_between(values[math.floor(place)], values[math.ceil(place)], part(place)) for place in places]

    def _at(self, places: list[int]) -> dict[int, float]:
        """Return the values at these places in the order of all values, which streams by."""
        import numpy as np

        found: dict[int, float] = {}
        before, left = 0, list(places)
        for batch in duck.batches(self._connection, "SELECT x::DOUBLE, n FROM seen WHERE x IS NOT NULL ORDER BY x"):
            upto = before + np.cumsum(batch.column(1).to_numpy())
            while left and left[0] < upto[-1]:
                found[left[0]] = float(batch.column(0)[int(np.searchsorted(upto, left[0], side="right"))].as_py())
                left.pop(0)
            before = int(upto[-1])
            if not left:
                break
        return found


# How far from the value below to the one above it a quantile lies whose place is between theirs.
_PARTS: dict[Interpolation, Callable[[float], float]] = {
    "linear": lambda place: place % 1,
    "lower": lambda place: 0.0,
    "higher": lambda place: 1.0,
    "midpoint": lambda place: 0.5,
    "nearest": lambda place: round(place) - math.floor(place),
}


def _is_number(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _between(low: float, high: float, part: float) -> float:
    if low == high:
        return low
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


# --- types ------------------------------------------------------------------------------------------


def _dtypes(connection: Any, data: Dataset, names: list[str]) -> dict[str, Any]:
    """Return the types that columns would have in pandas: numbers and truth values have others if some are missing."""
    import numpy as np

    plain = data.schema.empty_table().to_pandas().reset_index().dtypes
    counts = ", ".join(f"count(*) - count({column(data, name)})" for name in names)
    missing = duck.run(connection, f"SELECT {counts} FROM data")[0]  # noqa: S608
    found = {}
    for name, none in zip(names, missing, strict=True):
        dtype = plain.get(name, np.dtype(object))
        if none and isinstance(dtype, np.dtype) and dtype.kind in "iub":
            dtype = np.dtype("float64") if dtype.kind in "iu" else np.dtype(object)
        found[name] = dtype
    return found


def _as_pandas(series: Any, data: Dataset, name: str, dtype: Any) -> Any:
    """Return values of a column with the type that it has in pandas."""
    if dtype is None or series.dtype == dtype:
        return series
    if getattr(dtype, "kind", "O") == "m" and series.dtype.kind in "if":  # DuckDB gives spans of time as numbers
        unit = data.schema.field(name).type.unit
        return series.astype("int64").astype(f"timedelta64[{unit}]").astype(dtype)
    return series.astype(dtype)


def _aggregated(series: Any, data: Dataset, name: str, function: str, dtype: Any) -> Any:
    """Return an aggregate with the type that pandas gives it."""
    import numpy as np

    masked = not isinstance(dtype, np.dtype) and hasattr(dtype, "numpy_dtype") and dtype.kind in "iufb"
    if function in _COUNTS:
        return series.astype("Int64" if masked and function != "nunique" else "int64")
    if function in ("any", "all"):
        return series.astype("boolean" if masked else "bool")
    if function in ("sum", "prod"):
        kind = dtype.kind if dtype.kind in "fu" else "i"
        if kind != "f" and function == "prod" and (series.abs() > 2.0**53).any():
            raise InvalidArguments(f"the product of column {name!r} is beyond what whole numbers hold exactly here")
        if kind == "f" or dtype.kind == "O":
            return series.astype("Float64" if masked else dtype if kind == "f" else "int64")
        wide = "uint64" if kind == "u" else "int64"
        if masked:
            return series.astype(wide.capitalize().replace("Ui", "UI"))
        # pandas sums narrow numbers in their own type, and lets the sums overflow; here those become wider.
        own = np.dtype(wide) if dtype.kind == "b" else dtype
        fits = series.empty or np.iinfo(own).min <= series.min() <= series.max() <= np.iinfo(own).max
        return series.astype(own if fits else wide)
    if function in _FLOATS:
        if masked:
            return series.astype("Float32" if dtype.name == "Float32" else "Float64")
        return series.astype("float32" if dtype == np.float32 and function != "skew" else "float64")
    return _as_pandas(series, data, name, dtype)


def _check_fits(data: Dataset, name: str, function: str) -> None:
    import pyarrow as pa

    type_ = data.schema.field(name).type
    if pa.types.is_nested(type_) and function not in ("count", "size", "first", "last"):
        raise InvalidArguments(f"{function!r} doesn't fit column {name!r}, which holds {type_}")
    numeric = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    if function in _NUMBERS and not (numeric or pa.types.is_null(type_)):
        raise InvalidArguments(
            f"an aggregation doesn't fit its column's type: {function!r} takes numbers, column {name!r} holds {type_}"
        )
    if pa.types.is_dictionary(type_) and function in ("min", "max"):
        raise InvalidArguments(f"{function!r} of the categorical column {name!r} isn't known in a table this large")
