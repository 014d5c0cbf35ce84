"""`numpy.ndarray`s as their bytes, with dtype, shape and order before them. Nothing is pickled: objects are refused."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any, BinaryIO

from workbench.core.errors import InputError
from workbench.values.packed import Packed
from workbench.values.plain import Code, Refused, read_header, split_header, with_header


def pack(array: Any) -> Packed:
    """Pack an array.

    Raises
    ------
    Refused
        If it holds Python objects.
    """
    import numpy as np

    if array.dtype.hasobject:
        raise Refused(
            "an array of dtype object can't travel unchanged. Convert it first: array.astype(float), or array.tolist()"
        )
    if array.size and not array.dtype.itemsize:
        raise Refused("an array of empty elements can't travel. Pass its shape")
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    flat = array.T if fortran else np.ascontiguousarray(array)
    header = with_header([repr(np.lib.format.dtype_to_descr(array.dtype)), list(array.shape), fortran])

    def write(file: BinaryIO, compress: bool) -> None:
        file.write(header)
        if array.size:
            file.write(flat.reshape(-1).view(np.uint8).data)

    return Packed(Code.ARRAY, len(header) + array.nbytes, write)


def unpack(source: bytes | Path) -> Any:
    """Return the array, writable."""
    import numpy as np

    if isinstance(source, Path):
        with source.open("rb") as file:
            header = read_header(file)
            left = source.stat().st_size - file.tell()
            dtype, shape, fortran, count = _checked(header, left)
            flat = np.fromfile(file, np.uint8, count * dtype.itemsize)
    else:
        header, rest = split_header(source)
        dtype, shape, fortran, count = _checked(header, len(rest))
        flat = np.frombuffer(rest, np.uint8).copy()
    flat = flat.view(dtype) if count else np.empty(count, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _checked(header: Any, left: int) -> tuple[Any, tuple[int, ...], bool, int]:
    """Return dtype, shape, order and number of elements, which must be as many as there are bytes for."""
    import numpy as np

    text, shape, fortran = header
    if not isinstance(text, str) or len(text) > 10_000 or len(shape) > 64:
        raise InputError("it is not an array")
    try:
        dtype = np.lib.format.descr_to_dtype(ast.literal_eval(text))
    except (MemoryError, RecursionError):  # the parser's, of nesting
        raise InputError("it is not an array") from None
    if dtype.hasobject or not all(isinstance(length, int) and length >= 0 for length in shape):
        raise InputError("it is not an array")
    count = math.prod(shape)
    if count * dtype.itemsize != left:
        raise InputError(f"an array of {count} × {dtype} has {left} bytes")
    if count and not dtype.itemsize:  # any number of elements would fit into no bytes
        raise InputError("it is an array of nothing")
    return dtype, tuple(shape), bool(fortran), count
