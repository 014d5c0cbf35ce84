"""Values as MessagePack can write them, without changing them on the way.

msgspec would turn a date, a naive datetime, a set or a dataclass into something else without a word, so that every
value is looked at first: what MessagePack has is left as it is, what has a form of its own becomes an extension, and
the rest is refused with its place in the value. Frames, images and their like are for the caller's `rich`.
"""

from __future__ import annotations

import datetime as dt
import struct
import sys
import zoneinfo
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any, cast

import msgspec

from workbench.core.errors import InputError, UnsupportedValue

Ext = msgspec.msgpack.Ext
Rich = Callable[[object], Ext | None]
"""Encodes what MessagePack has no form for; None where it doesn't know the value either."""


class Code:
    """The extensions' codes. They are on the wire, so that a number is never used again for something else."""

    STORED = 1
    FILE = 2
    FRAME = 3
    SERIES = 4
    TABLE = 5
    IMAGE = 6
    ARRAY = 7
    PAIRS = 16  # a dict whose keys aren't all plain scalars
    TUPLE = 17  # only within labels, where a list won't do
    DATETIME = 18
    DATE = 19
    TIME = 20
    DURATION = 21
    DECIMAL = 22
    TIMESTAMP = 23
    TIMEDELTA = 24
    MISSING = 25  # pandas.NA and pandas.NaT
    DATETIME64 = 26


class Refused(Exception):
    """A part of a value can't travel; `path` is gathered on the way up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(reversed(self.path))
        return f"at {where}: {self.reason}" if where else self.reason


_SCALARS = frozenset({str, int, float, bool, NoneType})
_KEYS = frozenset({str, int, float, bool, NoneType})
_encode = msgspec.msgpack.Encoder().encode
_BIG = "is an integer beyond 64 bits, which MessagePack can't hold. Pass it as str, or as float where that will do"


def encode(value: object, rich: Rich) -> bytes:
    """Write a value as MessagePack.

    Raises
    ------
    UnsupportedValue
        Naming the place in the value, and what to pass instead.
    """
    try:
        try:
            return _encode(plain(value, rich))
        except (OverflowError, UnicodeEncodeError):
            return _encode(plain(value, rich, careful=True))
    except Refused as refused:
        raise UnsupportedValue(str(refused)) from None
    except RecursionError:
        raise UnsupportedValue("the value is nested too deeply, or contains itself") from None
    except (OverflowError, ValueError) as error:
        raise UnsupportedValue(f"the value can't be written: {error}") from error


def refuse_rich(value: object) -> Ext | None:
    """Be the `rich` where only plain values are allowed."""
    return None


def plain(value: object, rich: Rich, *, careful: bool = False) -> object:
    """Return the value as msgspec can write it unchanged; lists of plain scalars are not even copied.

    Parameters
    ----------
    value
        Any value.
    rich
        Encodes what isn't plain.
    careful
        Look at every scalar, to find the one that can't be written. Otherwise whole lists of them pass unseen.
    """
    kind = type(value)
    if kind in _SCALARS and not careful:
        return value
    if kind is list or kind is tuple:
        return _sequence(value, rich, careful)  # type: ignore[arg-type]
    if kind is dict:
        return _dict(value, rich, careful)  # type: ignore[arg-type]
    if (scalar := _scalar(value)) is not _UNKNOWN:
        return scalar
    if (extension := rich(value)) is not None:
        return extension
    if isinstance(value, tuple | list):
        return _sequence(value, rich, careful)
    if isinstance(value, dict):
        return _dict(value, rich, careful)
    raise Refused(_reason(value))


def _sequence(value: Sequence[object], rich: Rich, careful: bool) -> object:
    if not careful and _SCALARS.issuperset(map(type, value)):
        return value
    items = []
    for index, item in enumerate(value):
        try:
            items.append(plain(item, rich, careful=careful))
        except Refused as refused:
            refused.path.append(f"[{index}]")
            raise
    return items


def _dict(value: dict[object, object], rich: Rich, careful: bool) -> object:
    items = {}
    for key, item in value.items():
        try:
            items[key] = plain(item, rich, careful=careful)
        except Refused as refused:
            refused.path.append(f"[{key!r}]" if len(repr(key)) < 60 else "[…]")
            raise
    if _KEYS.issuperset(map(type, value)) and not careful:
        return items
    try:
        keys = [label(key) for key in items]
    except Refused as refused:
        raise Refused(f"a key {refused.reason}") from None
    if _KEYS.issuperset(map(type, keys)):
        return dict(zip(keys, items.values(), strict=True))
    return Ext(Code.PAIRS, _encode([[key, item] for key, item in zip(keys, items.values(), strict=True)]))


def label(value: object) -> object:
    """Return a dict's key, a column's label or an index's name as msgspec can write it; tuples stay tuples."""
    if isinstance(value, tuple):
        return Ext(Code.TUPLE, _encode([label(item) for item in value]))
    if (scalar := _scalar(value)) is not _UNKNOWN:
        return scalar
    raise Refused(_reason(value))


_UNKNOWN: Any = object()


def _scalar(value: object) -> object:
    """Return a scalar as msgspec can write it; `_UNKNOWN` if it is none."""
    match value:
        case None | bool():
            return value
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Refused(
                    f"{value[:60]!r} holds half a surrogate pair, as names of files that aren't UTF-8 do. "
                    "Pass it as bytes: os.fsencode(name)"
                ) from None
            return str.__str__(value)  # an enum's own __str__ may say something else
        case int():
            if not -(2**63) <= value < 2**64:
                raise Refused(f"{str(value)[:30]}… {_BIG}" if value.bit_length() < 4000 else f"it {_BIG}")
            return int(value)
        case float():
            return float(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
    return _moment(value)


def _moment(value: object) -> object:
    """Continue `_scalar`: what tells of time, decimals, and the scalars of pandas and numpy."""
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None:
        if value is pandas.NA or value is pandas.NaT:
            return Ext(Code.MISSING, b"NA" if value is pandas.NA else b"NaT")
        if isinstance(value, pandas.Timestamp):
            return Ext(Code.TIMESTAMP, _encode([int(value.asm8.view("i8")), value.unit, zone_out(value.tzinfo)]))
        if isinstance(value, pandas.Timedelta):
            return Ext(Code.TIMEDELTA, _encode([int(value.asm8.view("i8")), value.unit]))
    if numpy is not None and isinstance(value, numpy.generic):
        if isinstance(value, numpy.datetime64 | numpy.timedelta64):
            return Ext(Code.DATETIME64, _encode([value.dtype.str, int(value.view("i8"))]))
        if value.dtype.kind in "biufUS" and value.dtype.str[1:] not in ("f16", "f12"):
            return _scalar(value.item())
        return _UNKNOWN
    match value:
        case dt.datetime():
            if value.tzinfo is dt.UTC and not value.fold:
                return value  # MessagePack has a form for it
            zone = zone_out(value.tzinfo)
            return Ext(Code.DATETIME, _encode([value.replace(tzinfo=None, fold=0).isoformat(), value.fold, zone]))
        case dt.date():
            return Ext(Code.DATE, value.isoformat().encode())
        case dt.time() if value.tzinfo is None:
            return Ext(Code.TIME, _encode([value.replace(fold=0).isoformat(), value.fold]))
        case dt.timedelta():
            return Ext(Code.DURATION, _encode([value.days, value.seconds, value.microseconds]))
        case Decimal():
            return Ext(Code.DECIMAL, str(value).encode())
    return _UNKNOWN


_CURES = {
    "set": "Pass a list: sorted(values)",
    "frozenset": "Pass a list: sorted(values)",
    "complex": "Pass its real and imaginary parts",
    "complex64": "Pass its real and imaginary parts",
    "complex128": "Pass its real and imaginary parts",
    "generator": "Pass a list: list(values)",
    "range": "Pass a list: list(values)",
    "dict_keys": "Pass a list: list(values)",
    "dict_values": "Pass a list: list(values)",
    "UUID": "Pass it as str",
    "function": "Name a registered operation instead of passing code",
    "Enum": "Pass its value",
    "Index": "Pass index.to_series(), or index.tolist()",
    "GeoDataFrame": "Pass pandas.DataFrame(frame) with geometries as WKB",
    "PurePath": "Pass it as a parameter of its own, or in a list of files, so that it is sent along; or as str",
    "module": "Only data can travel",
    "MaskedArray": "Pass array.filled(…), or its data and mask",
    "ChunkedArray": "Pass it as a column of a pyarrow.Table",
    "RecordBatch": "Pass pyarrow.Table.from_batches([batch])",
}


def _reason(value: object) -> str:
    kind = type(value)
    cure = next((_CURES[base.__name__] for base in kind.__mro__ if base.__name__ in _CURES), None)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    what = "Pass JSON-like values, dates, bytes, paths, pandas frames, pyarrow tables, numpy arrays or PIL images"
    return f"a {name} can't travel unchanged. {cure or what}"


# --- time zones -------------------------------------------------------------------------------------


def zone_out(zone: dt.tzinfo | None) -> str | int | list[str] | None:
    """Return a time zone as data: its IANA name, that in a list if it is pytz's, seconds east of UTC, or None.

    Raises
    ------
    Refused
        If it is of another library.
    """
    if zone is None:
        return None
    if zone is dt.UTC:
        return 0
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return zone.key
    if type(zone) is dt.timezone and (offset := zone.utcoffset(None)).microseconds == 0:
        return offset.days * 86400 + offset.seconds
    if type(zone).__module__.startswith("pytz") and isinstance(name := getattr(zone, "zone", None), str):
        return [name]  # pandas 2 makes these of names
    raise Refused(
        f"the time zone {zone!r} is none of zoneinfo's. Convert it first: .astimezone(zoneinfo.ZoneInfo('Area/City')), "
        "or .tz_convert('Area/City') in pandas"
    )


def zone_in(data: object) -> dt.tzinfo | None:
    """Return the time zone that `zone_out` described."""
    match data:
        case None:
            return None
        case 0:
            return dt.UTC
        case int():
            return dt.timezone(dt.timedelta(seconds=data))
        case [str(name)]:
            import pytz  # type: ignore[import-untyped]  # pandas 2 brings it; where it is missing, so is its user

            return cast("dt.tzinfo", pytz.timezone(name))
        case str():
            return zoneinfo.ZoneInfo(data)  # refuses keys that would lead out of its directory
    raise InputError("not a time zone")


# --- and back ---------------------------------------------------------------------------------------


def scalar_in(code: int, data: bytes) -> object:
    """Return the value of an extension that `plain` or `label` made.

    Raises
    ------
    InputError
        If there is no such extension. Other errors where `data` isn't what it should be: the caller translates them.
    """
    match code:
        case Code.PAIRS:
            return dict(decode(data))
        case Code.TUPLE:
            return tuple(decode(data))
        case Code.DATETIME:
            text, fold, zone = decode(data)
            return dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone_in(zone))
        case Code.DATE:
            return dt.date.fromisoformat(data.decode())
        case Code.TIME:
            text, fold = decode(data)
            return dt.time.fromisoformat(text).replace(fold=fold)
        case Code.DURATION:
            days, seconds, microseconds = decode(data)
            return dt.timedelta(days, seconds, microseconds)
        case Code.DECIMAL:
            return Decimal(data.decode())
        case Code.TIMESTAMP | Code.TIMEDELTA | Code.MISSING | Code.DATETIME64:
            return _array_scalar_in(code, data)
    raise InputError(f"it holds an extension {code} that isn't known here: is the sender's workbench a newer one?")


def _array_scalar_in(code: int, data: bytes) -> object:
    import numpy as np
    import pandas as pd

    match code:
        case Code.MISSING:
            return pd.NA if data == b"NA" else pd.NaT
        case Code.TIMESTAMP:
            number, unit, zone = decode(data)
            moment = pd.Timestamp(np.datetime64(number, check_unit(unit)))
            return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone_in(zone))
        case Code.TIMEDELTA:
            number, unit = decode(data)
            return pd.Timedelta(np.timedelta64(number, check_unit(unit)))
    dtype, number = decode(data)
    if np.dtype(dtype).kind not in "mM":
        raise InputError("not a time of numpy's")
    return np.array(number, "i8").view(dtype)[()]


def check_unit(unit: object) -> Any:
    """Return a unit of time that pandas knows."""
    if unit not in ("s", "ms", "us", "ns"):
        raise InputError(f"{unit!r} is not a unit of time")
    return unit


decode = msgspec.msgpack.Decoder(ext_hook=lambda code, data: scalar_in(code, bytes(data))).decode
"""Read a value that was written without anything rich."""

_LENGTH = struct.Struct("<I")


def with_header(header: object) -> bytes:
    """Write the header of a rich value: plain data that says how to read the bytes after it."""
    data = _encode(header)
    return _LENGTH.pack(len(data)) + data


def split_header(data: bytes | memoryview) -> tuple[Any, memoryview]:
    """Return the header and the bytes after it."""
    view = memoryview(data)
    (length,) = _LENGTH.unpack(view[:4])
    if length > len(view) - 4:
        raise InputError("it is cut short")
    return decode(view[4 : 4 + length]), view[4 + length :]


HEADER_LIMIT = 1 << 28


def read_header(file: Any) -> Any:
    """Read the header off a file, which is left where the bytes after it begin."""
    (length,) = _LENGTH.unpack(file.read(4))
    if length > HEADER_LIMIT:
        raise InputError("its header is too long")
    return decode(file.read(length))
