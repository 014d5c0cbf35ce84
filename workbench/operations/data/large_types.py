"""The types that columns larger than memory would have in pandas, and what can be computed of them."""

from __future__ import annotations

from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.operations.data import duck
from workbench.operations.data.duck import column
from workbench.operations.datasets import EXACT, Dataset

_NUMBERS = frozenset({"mean", "median", "prod", "sem", "skew", "std", "sum", "var", "any", "all"})


def dtypes(connection: Any, data: Dataset, names: list[str]) -> dict[str, Any]:
    """Return the types that columns would have in pandas: numbers and truth values have others if some are missing."""
    import numpy as np

    blank = data.schema.empty_table().to_pandas().reset_index()
    plain = {str(name): dtype for name, dtype in blank.dtypes.items()}  # as a file names them
    counts = ", ".join(f"count(*) - count({column(data, name)}), {_farthest(data, name)}" for name in names)
    told = duck.run(connection, f"SELECT {counts} FROM data")[0]  # noqa: S608
    found = {}
    for name, none, farthest in zip(names, told[::2], told[1::2], strict=True):
        dtype = plain.get(name, np.dtype(object))
        found[name] = with_missing(dtype, farthest or 0) if none else dtype
    return found


def _farthest(data: Dataset, name: str) -> str:
    """Return SQL for how far a column's whole numbers go from zero."""
    import pyarrow as pa

    if not pa.types.is_integer(data.schema.field(name).type):
        return "0"
    return f"greatest(max({column(data, name)})::HUGEINT, -min({column(data, name)})::HUGEINT)"


def with_missing(dtype: Any, farthest: int = 0) -> Any:
    """Return the type that a column has in pandas if some of its values are missing.

    Parameters
    ----------
    dtype
        What it has if none is.
    farthest
        How far its whole numbers go from zero: beyond what floats hold they stay whole.
    """
    import numpy as np
    import pandas as pd

    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        if farthest > EXACT:
            return pd.Int64Dtype() if dtype.kind == "i" else pd.UInt64Dtype()
        return np.dtype("float64") if dtype.kind in "iu" else np.dtype(object)
    return dtype


def as_pandas(series: Any, data: Dataset, name: str, dtype: Any) -> Any:
    """Return values of a column with the type that it has in pandas."""
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        return series.astype(pd.CategoricalDtype(_categories(series, data, name), dtype.ordered))
    if dtype is None or series.dtype == dtype:
        return series
    if getattr(dtype, "kind", "O") == "m" and series.dtype.kind in "if":  # DuckDB gives spans of time as numbers
        unit = data.schema.field(name).type.unit
        return series.astype("int64").astype(f"timedelta64[{unit}]").astype(dtype)
    return series.astype(dtype)


def _categories(series: Any, data: Dataset, name: str) -> list[Any]:
    """Return a column's categories, in their order where the data has one: its schema tells none."""
    known: list[Any] = first_categories(data, name).to_pylist()
    return known + sorted(set(series.dropna()) - set(known))


def first_categories(data: Dataset, name: str) -> Any:
    """Return the categories that a column's first rows know, in their order, as an Arrow array."""
    import pyarrow as pa

    first = next(data.batches([name]), None)
    if first is None:
        return pa.array([], data.schema.field(name).type.value_type)
    return first.column(0).dictionary.drop_null()


def check_fits(data: Dataset, name: str, function: str) -> None:
    """Raise if an aggregation doesn't fit a column's type."""
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


def is_number(type_: Any) -> bool:
    """Tell whether an Arrow type is one of numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))
