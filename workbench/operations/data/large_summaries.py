"""Groups and counts of tables larger than memory, by DuckDB; the results are small, and as pandas's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.data import duck
from workbench.operations.data.duck import ROW, column
from workbench.operations.data.large_types import as_pandas, check_fits, dtypes
from workbench.operations.datasets import Dataset

if TYPE_CHECKING:
    from pandas import DataFrame

_FLOATS = frozenset({"mean", "median", "sem", "skew", "std", "var"})
_COUNTS = frozenset({"count", "nunique", "size"})


def groupby(
    data: Dataset, keys: list[str], agg: dict[str, str | list[str]], *, dropna: bool = True, sort: bool = True
) -> DataFrame:
    """Group rows and aggregate columns, as `pandas.DataFrame.groupby(keys).agg(agg)`."""
    import pandas as pd

    wanted = [
        (name, function)
        for name, functions in agg.items()
        for function in ([functions] if isinstance(functions, str) else functions)
    ]
    for name, function in wanted:
        check_fits(data, name, function)
    with duck.opened(data=data) as connection:
        types = dtypes(connection, data, list(dict.fromkeys([*keys, *agg])))
        frame = duck.fetch(connection, _grouping(data, keys, wanted, dropna))
    for position, key in enumerate(keys):
        frame[f"k{position}"] = _restored(frame[f"k{position}"], data, key, types[key])
    names = [f"k{position}" for position in range(len(keys))]
    if sort:
        frame = frame.sort_values(names, kind="stable")
    values = {
        position: _aggregated(frame[f"a{position}"], data, name, function, types[name])
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
        types = dtypes(connection, data, columns)
        frame = duck.fetch(connection, query)
    for own, name in zip(names, columns, strict=True):
        frame[own] = as_pandas(frame[own], data, name, types[name])
    single = len(columns) == 1
    index: Any = pd.Index(frame[names[0]], name=columns[0]) if single else None
    if index is None:
        index = pd.MultiIndex.from_frame(frame[names], names=columns)
    numbers = (frame["n"] / frame["total"]) if normalize else frame["n"]
    return pd.DataFrame({"proportion" if normalize else "count": numbers.to_numpy()}, index=index)


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
        _check_sum(series, name, wide)
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
    return _restored(series, data, name, dtype)


def _restored(series: Any, data: Dataset, name: str, dtype: Any) -> Any:
    """Return values as `as_pandas` does, spans of time too where some are missing."""
    if getattr(dtype, "kind", "O") == "m" and series.dtype.kind in "if":
        return as_pandas(series.fillna(0), data, name, dtype).mask(series.isna())
    return as_pandas(series, data, name, dtype)


def _check_sum(series: Any, name: str, wide: str) -> None:
    """Raise where a sum isn't one of the whole numbers of a type; pandas's would start again from the other end."""
    import numpy as np

    least, most = np.iinfo(wide).min, np.iinfo(wide).max
    if not series.empty and not least <= series.min() <= series.max() <= most:
        raise InvalidArguments(
            f"the sum of column {name!r} is beyond the whole numbers of 64 bits: convert the column to floats first, "
            "with data.astype"
        )
