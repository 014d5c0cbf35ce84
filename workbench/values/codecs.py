"""Arguments and results as bytes and back. Large ones go into the store, and a reference to them travels.

Nothing here is ever unpickled. What can't come back equal is refused when it is encoded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from workbench.core.errors import InputError, UnsupportedValue, WorkbenchError
from workbench.values import arrays, frames, images, plain
from workbench.values.files import Files
from workbench.values.packed import Packed
from workbench.values.plain import Code, Ext, Refused
from workbench.values.refs import FileRef
from workbench.values.summary import describe as describe

INLINE_VALUE = 64 * 1024
"""Bytes up to which one value travels in its message."""
INLINE_MESSAGE = 256 * 1024
"""Bytes up to which all values of a message together do."""

_encode = msgspec.msgpack.Encoder().encode
_REFERENCE_SIZE = 256  # more than a reference takes: moving anything smaller gains nothing


def encode(value: object, files: Files, *, limit: int = INLINE_VALUE) -> bytes:
    """Write one argument or result.

    Parameters
    ----------
    value
        JSON-like values, dates, bytes, pandas frames and series, pyarrow tables, numpy arrays, PIL images, `FileRef`s,
        and lists and dicts of them. Tuples come back as lists.
    files
        Where large values go.
    limit
        Bytes up to which the value itself is returned. Of a larger one a reference is returned, once the store has it.

    Raises
    ------
    UnsupportedValue
        If the value, or a part of it, would not come back equal; names the part, and the cure.
    StoreError
        If it is too large for a message, and the store isn't known or can't be written.
    """
    body = plain.encode(value, lambda part: _rich(part, files, limit))
    if len(body) <= limit:
        return body
    return _stored(files.need_store().put_bytes(body), len(body), 0)


def encode_call(
    args: Iterable[object], kwargs: Mapping[str, object], files: Files
) -> tuple[tuple[msgspec.Raw, ...], dict[str, msgspec.Raw]]:
    """Write a call's arguments, each for itself; while they are too large together, the largest go into the store.

    Raises
    ------
    UnsupportedValue, StoreError
        As `encode` does, naming the argument.
    """
    bodies: dict[int | str, bytes] = {}
    given: list[tuple[int | str, object]] = [*enumerate(args), *kwargs.items()]
    for key, value in given:
        try:
            bodies[key] = encode(value, files)
        except UnsupportedValue as error:
            name = repr(key) if isinstance(key, str) else str(key + 1)
            raise UnsupportedValue(f"argument {name}: {error}") from error
    total = sum(map(len, bodies.values()))
    for key in sorted(bodies, key=lambda key: len(bodies[key]), reverse=True):
        body = bodies[key]
        if total <= INLINE_MESSAGE or len(body) <= _REFERENCE_SIZE:
            break
        bodies[key] = _stored(files.need_store().put_bytes(body), len(body), 0)
        total -= len(body) - len(bodies[key])
    positional = tuple(msgspec.Raw(body) for key, body in bodies.items() if isinstance(key, int))
    return positional, {key: msgspec.Raw(body) for key, body in bodies.items() if isinstance(key, str)}


def decode(data: bytes | msgspec.Raw, files: Files) -> Any:
    """Read what `encode` wrote.

    Parameters
    ----------
    data
        From a message, so that it may be anything.
    files
        Where references lead.

    Raises
    ------
    InputError
        If it isn't a value.
    StoreError
        If it lies in the store, and can't be read from there.
    """
    try:
        return msgspec.msgpack.Decoder(ext_hook=lambda code, part: _unpack(code, bytes(part), files)).decode(data)
    except (WorkbenchError, MemoryError):
        raise
    except Refused as refused:
        raise InputError(f"a value can't be read: it {refused}") from None
    except RecursionError:
        raise InputError("a value can't be read: it is nested too deeply") from None
    except Exception as error:  # hostile bytes make the libraries below raise whatever they like
        raise InputError(f"a value can't be read: {type(error).__name__}: {error}") from error


# --- inside -----------------------------------------------------------------------------------------


def _rich(value: object, files: Files, limit: int) -> Ext | None:
    """Encode a value that MessagePack has no form for; write a large one straight into the store."""
    if isinstance(value, FileRef):
        return Ext(Code.FILE, _encode([value.uri, value.name, value.size]))
    packed = _pack(value)
    if packed is None:
        return None
    if packed.size <= limit:
        return packed.inline()
    store = files.need_store()
    with store.writer() as writer:
        packed.write(cast("Any", writer), store.remote)
    return Ext(Code.STORED, _encode([writer.key, writer.size, packed.code]))


def _pack(value: object) -> Packed | None:
    """Pack a value by its class. Nothing is imported for that: where there is a frame, there is pandas."""
    pandas, pyarrow, numpy = (sys.modules.get(name) for name in ("pandas", "pyarrow", "numpy"))
    pil = sys.modules.get("PIL.Image")
    if pandas is not None and type(value) is pandas.DataFrame:
        return frames.pack_frame(value)
    if pandas is not None and type(value) is pandas.Series:
        return frames.pack_series(value)
    if pyarrow is not None and isinstance(value, pyarrow.Table):
        return frames.pack_table(value)
    if numpy is not None and type(value) in (numpy.ndarray, numpy.memmap):
        return arrays.pack(value)
    if pil is not None and isinstance(value, pil.Image):
        return images.pack(value)
    return None


def _stored(key: str, size: int, code: int) -> bytes:
    return _encode(Ext(Code.STORED, _encode([key, size, code])))


_UNPACK: dict[int, Callable[[bytes | Path], Any]] = {
    Code.FRAME: frames.unpack_frame,
    Code.SERIES: frames.unpack_series,
    Code.TABLE: frames.unpack_table,
    Code.ARRAY: arrays.unpack,
    Code.IMAGE: images.unpack,
}


def _unpack(code: int, data: bytes, files: Files) -> object:
    if code == Code.STORED:
        return _from_store(data, files)
    if code == Code.FILE:
        uri, name, size = plain.decode(data)
        if not isinstance(uri, str) or not isinstance(name, str) or not isinstance(size, int | None):
            raise Refused("is not a reference to a file")
        if "\0" in name:
            raise Refused("is a reference to a file whose name holds a zero byte")
        return FileRef(uri, name, size, reach=files)
    if code in _UNPACK:
        return _UNPACK[code](data)
    if code == Code.PAIRS:  # its values may be anything
        return dict(decode(data, files))
    return plain.scalar_in(code, data)


def _from_store(data: bytes, files: Files) -> object:
    key, _, code = plain.decode(data)
    if code == 0:
        return decode(files.need_store().read_bytes(key), files)
    with files.pinned(FileRef(f"store:{key}", "")) as path:
        return _UNPACK[code](path)
