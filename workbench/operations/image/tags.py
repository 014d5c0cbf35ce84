"""EXIF as plain values that a person can read: tags by name, fractions as numbers, places in degrees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_TEXT = 2000  # characters
LONGEST_LIST = 64  # numbers
MOST_TAGS = 500


def readable(image: Image, max_bytes: int) -> dict[str, Any]:
    """Return an image's EXIF: see `image.exif`."""
    from PIL.ExifTags import GPSTAGS, IFD, TAGS

    try:
        exif = image.getexif()
        found = _named(dict(exif), TAGS, max_bytes)
    except Exception:  # what a camera wrote breaks Pillow's parser in many ways
        return {}
    for ifd in (IFD.Exif, IFD.GPSInfo, IFD.Interop, IFD.MakerNote):  # pointers, offsets within the file
        found.pop(TAGS.get(ifd, hex(ifd)), None)
    found |= {name: value for name, value in _named(_ifd(exif, IFD.Exif), TAGS, max_bytes).items() if name not in found}
    for name in ("ExifInteroperabilityOffset", "GPSInfo"):
        found.pop(name, None)
    if gps := _ifd(exif, IFD.GPSInfo):
        found["GPSInfo"] = _named(gps, GPSTAGS, max_bytes) | _place(gps)
    return dict(list(found.items())[:MOST_TAGS])


def _ifd(exif: Any, ifd: int) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(ifd))
    except Exception:  # as above
        return {}


def _named(tags: dict[int, Any], names: dict[int, str], max_bytes: int) -> dict[str, Any]:
    return {
        names.get(tag, f"0x{tag:04x}"): _plain(value, max_bytes, wide=0x9C9B <= tag <= 0x9C9F)
        for tag, value in sorted(tags.items())[:MOST_TAGS]
    }


def _plain(value: Any, max_bytes: int, *, wide: bool = False) -> Any:
    """Return a tag's value as it can travel, and be read.

    Parameters
    ----------
    value
        As Pillow gives it.
    max_bytes
        How many of the bytes that aren't text are kept.
    wide
        Bytes are UTF-16, as in Windows' own tags.
    """
    match value:
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else None
        case float():
            return value if math.isfinite(value) else None
        case str():
            return _text(value)
        case bytes():
            return _bytes(value, max_bytes, wide)
        case tuple() | list():
            if wide and all(isinstance(part, int) and 0 <= part <= 255 for part in value):
                return _bytes(bytes(value), max_bytes, wide)
            if len(value) > LONGEST_LIST:
                return f"<{len(value)} values>"
            return [_plain(part, max_bytes) for part in value]
        case dict():
            return {str(key): _plain(part, max_bytes) for key, part in list(value.items())[:LONGEST_LIST]}
    return _number(value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)  # TIFF's rational numbers
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: str) -> str:
    text = value.strip("\0 ").encode(errors="replace").decode()  # halves of surrogate pairs can't travel
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


# The first eight bytes of UserComment and some others say how the rest is written (EXIF 2.32, table 9).
_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"JIS\0\0\0\0\0": "iso2022_jp", b"\0" * 8: "utf-8"}


def _bytes(value: bytes, max_bytes: int, wide: bool) -> Any:
    if wide:
        return _text(value.decode("utf-16-le", errors="replace"))
    if value[:8] in _CODES:
        return _text(value[8:].decode(_CODES[value[:8]], errors="replace"))
    stripped = value.rstrip(b"\0 ")
    if stripped and stripped.isascii() and stripped.decode().isprintable():
        return _text(stripped.decode())
    return value if len(value) <= max_bytes else f"<{len(value)} bytes>"


# --- places -----------------------------------------------------------------------------------------


def _place(gps: dict[int, Any]) -> dict[str, Any]:
    """Return where and when: degrees north and east, metres above the sea, UTC in ISO 8601. Only what makes sense."""
    from PIL.ExifTags import GPS

    place: dict[str, Any] = {}
    latitude = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "S", 90)
    longitude = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "W", 180)
    if latitude is not None and longitude is not None:
        place |= {"latitude": latitude, "longitude": longitude}
    altitude = _number(gps.get(GPS.GPSAltitude))
    if altitude is not None:
        below = gps.get(GPS.GPSAltitudeRef) in (1, b"\x01", 3, b"\x03")  # 3: below the ellipsoid (EXIF 3.0)
        place["altitude"] = -altitude if below else altitude
    if (time := _time(gps.get(GPS.GPSDateStamp), gps.get(GPS.GPSTimeStamp))) is not None:
        place["time"] = time
    return place


def _degrees(parts: Any, reference: Any, negative: str, most: int) -> float | None:
    try:
        degrees, minutes, seconds = (*(float(part) for part in parts), 0.0, 0.0)[:3]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= most:  # not a number, too
        return None
    letter = reference.decode("latin-1") if isinstance(reference, bytes) else str(reference or "")
    return round(-value if letter.strip("\0 ").upper().startswith(negative) else value, 7)


def _time(date: Any, time: Any) -> str | None:
    import datetime as dt

    try:
        year, month, day = (int(part) for part in str(date).strip("\0 ").replace("-", ":").split(":"))
        hour, minute, second = (float(part) for part in time)
        moment = dt.datetime(year, month, day, tzinfo=dt.UTC) + dt.timedelta(hours=hour, minutes=minute, seconds=second)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return moment.isoformat()
