"""A pandas array as an Arrow array and a few words that say how to get it back, exactly.

Arrow's own pandas metadata isn't enough: it turns an object column of strings into `str`, labels into text, None
into NaN. Here each column says its dtype itself, and what can't be said is refused.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from workbench.core.errors import InputError
from workbench.values import plain
from workbench.values.plain import Refused, check_unit, zone_in, zone_out

Spec = list[Any]
_encode_cell = msgspec.msgpack.Encoder().encode


def to_arrow(values: Any, *, mixed: bool = False) -> tuple[Spec, Any]:
    """Return the spec and the Arrow array of a pandas array, or of a numpy array of one dimension.

    Parameters
    ----------
    values
        As `series.array` or `index.array`.
    mixed
        Whether objects of several types are allowed, as in an index with a row "All" below its years.

    Raises
    ------
    Refused
        If its dtype, or an object in it, can't travel unchanged.
    """
    import numpy as np
    import pandas as pd

    if type(values) is pd.arrays.NumpyExtensionArray:
        values = values.to_numpy()
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return _numpy_out(np.asarray(values), mixed)
    match dtype:
        case pd.DatetimeTZDtype():
            return ["zoned", dtype.unit, zone_out(dtype.tz)], _integers(values.asi8)
        case pd.CategoricalDtype():
            return _categories_out(values)
        case pd.PeriodDtype():
            return _periods_out(values)
        case pd.IntervalDtype():
            return _intervals_out(values)
        case pd.SparseDtype():
            raise Refused("is sparse. Pass it dense: column.sparse.to_dense(), or numpy.asarray(array)")
        case pd.StringDtype():
            na = "nan" if dtype.na_value is not pd.NA else "NA"
            return ["string", dtype.storage, na], _strings(values)
        case pd.ArrowDtype():
            check_arrow_type(dtype.pyarrow_dtype)
            return ["arrow"], values.__arrow_array__()
        case _ if dtype.name in _MASKED:
            return ["masked", dtype.name], values.__arrow_array__()
    raise Refused(f"has the dtype {dtype}, which can't travel unchanged. Convert it: column.astype(str), or to numbers")


def from_arrow(spec: Spec, array: Any) -> Any:
    """Return what `to_arrow` was given, from its spec and a chunked Arrow array. The caller translates errors."""
    return _IN[spec[0]](spec, array)


def check_arrow_type(kind: Any) -> None:
    """Refuse extension types that other packages define: reading them back would run their code.

    Raises
    ------
    Refused
        If there is one, at any depth.
    """
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType) and type(kind).__module__ != "pyarrow.lib":
        raise Refused(f"has the extension type {kind}. Pass its storage: column.storage")
    if pa.types.is_dictionary(kind):
        check_arrow_type(kind.value_type)
    for index in range(kind.num_fields):
        check_arrow_type(kind.field(index).type)


# --- numpy's ----------------------------------------------------------------------------------------


def _numpy_out(values: Any, mixed: bool) -> tuple[Spec, Any]:
    import pyarrow as pa

    match values.dtype.kind:
        case "b":
            return ["numpy", "|b1"], pa.array(values)
        case "i" | "u" | "f" if values.dtype.itemsize <= 8:
            return ["numpy", values.dtype.str], _integers(values)
        case "M" | "m":
            return ["numpy", values.dtype.str], _integers(values.view("i8"))
        case "O":
            return _objects_out(values, mixed)
        case "c":
            raise Refused("holds complex numbers. Pass real and imaginary parts as two columns")
    raise Refused(f"has the dtype {values.dtype}. Convert it: column.astype('float64')")


def _integers(values: Any) -> Any:
    """Return numbers as an Arrow array, which shares their memory where that lies in order."""
    import numpy as np
    import pyarrow as pa

    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _numpy_in(spec: Spec, array: Any) -> Any:
    import numpy as np

    dtype = np.dtype(spec[1])
    if dtype.kind not in "biufMm":
        raise InputError(f"no column has the dtype {dtype}")
    values = array.to_numpy()
    if dtype.kind in "Mm":
        return values.astype("i8", copy=False).view(dtype.newbyteorder("="))
    return values.astype(dtype, copy=False)


# --- objects ----------------------------------------------------------------------------------------


def _objects_out(values: Any, mixed: bool) -> tuple[Spec, Any]:
    """Strings, bytes, booleans and dates as Arrow has them; other objects as a cell of MessagePack each."""
    import pandas as pd
    import pyarrow as pa

    items = values.tolist() if values.ndim == 1 else list(values)
    try:
        missing = pd.isna(values)
    except ArithmeticError:
        raise Refused("holds a signalling NaN, which may not even be compared. Pass Decimal('NaN') instead") from None
    nulls = {_null_name(items[index]) for index in missing.nonzero()[0]}
    kinds = {type(item) for item, is_missing in zip(items, missing, strict=True) if not is_missing}
    if len(kinds) > 1 and not mixed:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise Refused(
            f"mixes objects of several types ({names}). "
            "Make it one type: column.astype(str), or pandas.to_numeric(column)"
        )
    arrow = {str: pa.large_string(), bytes: pa.large_binary(), bool: pa.bool_(), dt.date: pa.date32()}
    if len(kinds) <= 1 and len(nulls) <= 1 and "odd" not in nulls and (kind := next(iter(kinds), str)) in arrow:
        try:
            return ["objects", nulls.pop() if nulls else "None"], pa.array(
                items, type=arrow[kind], mask=missing if missing.any() else None
            )
        except (UnicodeEncodeError, pa.ArrowException):
            pass  # the cells say which one, and why
    return ["cells"], pa.array(_cells(items), pa.large_binary())


def _null_name(item: object) -> str:
    import pandas as pd

    if isinstance(item, float):
        return "nan"
    # Decimal("NaN") and NumPy's NaT are missing to pandas too, and are themselves.
    return "None" if item is None else "NA" if item is pd.NA else "NaT" if item is pd.NaT else "odd"


def _cells(items: list[object]) -> list[bytes]:
    cells = []
    for row, item in enumerate(items):
        kind = type(item)
        if kind.__module__ == "numpy":
            cure = "column.infer_objects()" if kind.__name__ != "ndarray" else "column.map(list)"
            raise Refused(f"holds a numpy.{kind.__name__} in row {row}, as an object. Pass {cure}")
        try:
            value = plain.label(item) if kind is tuple else plain.plain(item, plain.refuse_rich)
            cells.append(_encode_cell(value))
        except Refused as refused:
            raise Refused(f"can't travel, in row {row}: {refused}") from None
        except (OverflowError, ValueError, RecursionError) as error:
            raise Refused(f"can't travel, in row {row}: {error}. Convert the column to numbers or str") from None
    return cells


def _objects_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    null = {"None": None, "nan": float("nan"), "NA": pd.NA, "NaT": pd.NaT}[spec[1]]
    items = array.to_pylist()
    if null is not None:
        items = [null if item is None else item for item in items]
    return _object_array(items)


def _cells_in(spec: Spec, array: Any) -> Any:
    return _object_array([plain.decode(cell) for cell in array.to_pylist()])


def _object_array(items: list[object]) -> Any:
    import numpy as np

    return np.fromiter(items, dtype=object, count=len(items))  # never tries to make a matrix of equally long lists


_MASKED = frozenset({"boolean", *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))}) | {
    "Float32",
    "Float64",
}

# --- pandas' ----------------------------------------------------------------------------------------


def _strings(values: Any) -> Any:
    import pyarrow as pa

    try:
        array = pa.array(values, from_pandas=True)
    except UnicodeEncodeError as error:
        raise Refused(f"holds a string that isn't Unicode ({error}). Pass the column as bytes") from error
    return array if pa.types.is_large_string(array.type) else array.cast(pa.large_string())


def _string_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    _, storage, na = spec
    dtype: Any = pd.StringDtype(storage) if na == "NA" else pd.StringDtype(storage, na_value=float("nan"))
    return dtype.__from_arrow__(own(array))


def _masked_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    if spec[1] not in _MASKED:
        raise InputError(f"no column has the dtype {spec[1]!r}")
    dtype: Any = pd.api.types.pandas_dtype(spec[1])
    return dtype.__from_arrow__(array)


def _arrow_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    return pd.arrays.ArrowExtensionArray(own(array))


def _zoned_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    _, unit, zone = spec
    moments = array.to_numpy().astype("i8", copy=False).view(f"M8[{check_unit(unit)}]")
    return pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone_in(zone)).array


def _says_all(text: str, freq: Any) -> bool:
    import pandas as pd

    try:
        return bool(pd.tseries.frequencies.to_offset(text) == freq)
    except (ValueError, TypeError):
        return False


def freq_text(values: Any) -> str | None:
    """Return the text of an index's frequency; None where it has none, or where a text can't say all of it."""
    import pandas as pd

    freq = values.freq if isinstance(values, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    return str(freq.freqstr) if freq is not None and _says_all(freq.freqstr, freq) else None


def _periods_out(values: Any) -> tuple[Spec, Any]:
    import pandas as pd

    text = str(values.dtype).removeprefix("period[").removesuffix("]")
    with contextlib.suppress(ValueError, TypeError):
        if pd.PeriodDtype(text) == values.dtype:
            return ["period", text], _integers(values.asi8)
    raise Refused(f"has the frequency {text!r}, which can't travel. Pass timestamps: column.dt.to_timestamp()")


def _period_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    ordinals = array.to_numpy().astype("i8")
    return pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(spec[1]))


def _intervals_out(values: Any) -> tuple[Spec, Any]:
    import pyarrow as pa

    left_spec, left = to_arrow(values.left.array)
    right_spec, right = to_arrow(values.right.array)
    return ["interval", values.closed, left_spec, right_spec], pa.StructArray.from_arrays(
        [left, right], ["left", "right"]
    )


def _interval_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    _, closed, left_spec, right_spec = spec
    left, right = array.combine_chunks().flatten() if array.num_chunks == 1 else array.flatten()
    return pd.arrays.IntervalArray.from_arrays(
        _index_of(from_arrow(left_spec, _chunked(left))), _index_of(from_arrow(right_spec, _chunked(right))), closed
    )


def _categories_out(values: Any) -> tuple[Spec, Any]:
    import pyarrow as pa

    spec, categories = to_arrow(values.categories.array, mixed=True)
    codes = values.codes
    missing = codes == -1
    if isinstance(categories, pa.ChunkedArray):
        categories = categories.combine_chunks()
    if pa.types.is_dictionary(categories.type):
        raise Refused("has categories that are categories themselves. Convert it: column.astype(str)")
    indices = pa.array(codes, mask=missing if missing.any() else None)
    array = pa.DictionaryArray.from_arrays(indices, categories)
    return ["category", bool(values.ordered), spec, freq_text(values.categories)], array


def _category_in(spec: Spec, array: Any) -> Any:
    import pandas as pd

    _, ordered, categories_spec, freq = spec
    codes, values = codes_and_values(array)
    categories = _index_of(from_arrow(categories_spec, _chunked(values)))
    if freq is not None:
        categories.freq = pd.tseries.frequencies.to_offset(freq)
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, ordered))


def codes_and_values(array: Any) -> tuple[Any, Any]:
    """Return a chunked dictionary array's codes (-1 where null) as a numpy array, and its dictionary."""
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type) or array.num_chunks == 0:
        raise InputError("categories are missing")
    if any(not chunk.dictionary.equals(array.chunk(0).dictionary) for chunk in array.chunks[1:]):
        array = array.unify_dictionaries()
    codes = [chunk.indices.fill_null(-1).to_numpy() for chunk in array.chunks]
    return np.concatenate(codes), array.chunk(0).dictionary


def own(array: Any) -> Any:
    """Return a chunked array in memory of its own: what pandas keeps as Arrow has it would stay in the mapped file."""
    import pyarrow as pa

    # Joining copies, but for an array on its own, so that each is joined with none of itself.
    copied = _streamed if _shares(array.type) else lambda chunk: pa.concat_arrays([chunk, chunk.slice(0, 0)])
    return pa.chunked_array([copied(chunk) for chunk in array.chunks], array.type)


def _shares(type_: Any) -> bool:
    """Tell whether joined arrays of a type keep parts of those they were made of: dictionaries, and what views show."""
    import pyarrow as pa

    if pa.types.is_dictionary(type_) or type_ in (pa.string_view(), pa.binary_view()):
        return True
    return any(_shares(type_.field(position).type) for position in range(type_.num_fields))


def _streamed(chunk: Any) -> Any:
    """Return a copy of an array, with all that it refers to."""
    import pyarrow as pa

    batch, sink = pa.record_batch([chunk], names=["x"]), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pa.ipc.open_stream(sink.getvalue()) as reader:
        return reader.read_next_batch().column(0)


def _chunked(array: Any) -> Any:
    import pyarrow as pa

    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _index_of(values: Any) -> Any:
    import pandas as pd

    return pd.Index(values, dtype=values.dtype, copy=True)


_IN: dict[str, Callable[[Spec, Any], Any]] = {
    "numpy": _numpy_in,
    "objects": _objects_in,
    "cells": _cells_in,
    "string": _string_in,
    "masked": _masked_in,
    "arrow": _arrow_in,
    "zoned": _zoned_in,
    "period": _period_in,
    "interval": _interval_in,
    "category": _category_in,
}
