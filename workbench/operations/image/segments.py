"""Image files without their metadata, copied part by part: the pixels' bytes stay as they are.

Of JPEG the segments are kept that a decoder needs (ITU-T T.81, annex B; JFIF; Adobe's for the colour transform), of PNG
the chunks that say how pixels are shown (PNG, third edition, section 11), of WebP likewise (RFC 9649), and of GIF all
but comments and applications' extensions (GIF89a). All else goes, known or not: thumbnails, previews and further
pictures that cameras append, and whatever follows an image's end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator


class Damaged(ValueError):
    """A file's parts don't follow each other to its end."""


def strip(data: bytes, format: str, *, icc: bool, orientation: int) -> bytes:  # noqa: A002 - as Pillow names it
    """Return an image file without metadata.

    Parameters
    ----------
    data
        The file.
    format
        Its format, as Pillow spells it: one of `FORMATS`.
    icc
        Keep the ICC profile.
    orientation
        What a new EXIF block of nothing else says; 1 for no block.

    Raises
    ------
    Damaged
        If a part reaches beyond the file's end, or the file has none.
    """
    try:
        return b"".join(FORMATS[format](data, icc, _exif(orientation) if orientation != 1 else b""))
    except (struct.error, IndexError):
        raise Damaged("it is cut short") from None


def is_cut_short(data: bytes, format: str) -> bool:  # noqa: A002 - as above
    """Tell whether a file ends before its image does, which some of Pillow's decoders pass over.

    Of a file that is damaged otherwise it isn't said.
    """
    try:
        for _ in FORMATS[format](data, False, b""):
            pass
    except Damaged as error:
        return "cut short" in str(error)
    except (struct.error, IndexError):
        return True
    return False


def _exif(orientation: int) -> bytes:
    """Return a TIFF structure of one tag: 274 (orientation), a SHORT."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def _part(data: bytes, start: int, size: int) -> bytes:
    if start + size > len(data):
        raise Damaged("it is cut short")
    return data[start : start + size]


# --- JPEG -------------------------------------------------------------------------------------------

_EOI, _SOS = 0xD9, 0xDA
_KEPT = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF})  # frames, and the tables of their codes
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length


def _jpeg(data: bytes, icc: bool, exif: bytes) -> Iterator[bytes]:
    yield _part(data, 0, 2)
    place, written = 2, not exif
    while True:
        while data[place] == 0xFF and data[place + 1] == 0xFF:  # markers may be padded
            place += 1
        if data[place] != 0xFF:
            raise Damaged(f"at byte {place}, where a segment should begin, there is none")
        marker = data[place + 1]
        if not written and marker != 0xE0:  # after JFIF's segment, which has to be the first
            written = True
            yield struct.pack(">BBH6s", 0xFF, 0xE1, len(exif) + 8, b"Exif\0\0") + exif
        if marker == _EOI:
            yield b"\xff\xd9"
            return
        if marker in _ALONE:
            yield _part(data, place, 2)
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment = _part(data, place, length + 2)
        place += length + 2
        if marker == _SOS:
            end = _scan_end(data, place)
            yield segment + data[place:end]
            place = end
        else:
            yield _kept_segment(marker, segment, icc)


def _kept_segment(marker: int, segment: bytes, icc: bool) -> bytes:
    """Return what is kept of a segment."""
    name = segment[4:]
    if marker == 0xE0 and name.startswith(b"JFIF\0") and len(segment) >= 18:
        return struct.pack(">BBH", 0xFF, 0xE0, 16) + segment[4:16] + b"\0\0"  # with the density, without the thumbnail
    if marker == 0xEE and name.startswith(b"Adobe"):
        return segment
    if marker == 0xE2 and name.startswith(b"ICC_PROFILE\0"):
        return segment if icc else b""
    return segment if marker in _KEPT else b""


def _scan_end(data: bytes, place: int) -> int:
    """Return where the entropy-coded data ends that begins here: at a marker that is no restart."""
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            raise Damaged("it is cut short: it has no end")
        following = data[place + 1]
        if following == 0xFF:
            place += 1
        elif following == 0 or 0xD0 <= following <= 0xD7:
            place += 2
        else:
            return place


# --- PNG --------------------------------------------------------------------------------------------

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB cICP mDCV cLLI sBIT bKGD pHYs acTL fcTL fdAT".split())


def _png(data: bytes, icc: bool, exif: bytes) -> Iterator[bytes]:
    yield _part(data, 0, len(_PNG_HEAD))
    place = len(_PNG_HEAD)
    while True:
        length, name = struct.unpack_from(">I4s", data, place)
        chunk = _part(data, place, length + 12)
        place += length + 12
        if name in _PNG_KEPT or (name == b"iCCP" and icc):
            yield chunk
        if name == b"IHDR" and exif:
            yield struct.pack(">I4s", len(exif), b"eXIf") + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        if name == b"IEND":
            return


# --- WebP -------------------------------------------------------------------------------------------

_WEBP_KEPT = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))
_ICC, _EXIF, _XMP = 0x20, 0x08, 0x04


def _webp(data: bytes, icc: bool, exif: bytes) -> Iterator[bytes]:
    (size,) = struct.unpack_from("<I", data, 4)
    parts = []
    for name, body in _chunks(_part(data, 0, size + 8), 12):
        if name == b"VP8X":  # whether there is EXIF is written in its flags; files without it have none
            flags = body[0] & ~(_EXIF | _XMP | (0 if icc else _ICC)) | (_EXIF if exif else 0)
            body = bytes([flags]) + body[1:]
        elif name == b"ANMF":  # a frame: where it lies, and chunks of its own
            body = body[:16] + b"".join(_chunk(*each) for each in _chunks(body, 16) if each[0] in _WEBP_KEPT)
        if name in _WEBP_KEPT or (name == b"ICCP" and icc):
            parts.append(_chunk(name, body))
    if exif:
        parts.append(_chunk(b"EXIF", exif))
    yield b"RIFF" + struct.pack("<I", sum(map(len, parts)) + 4) + b"WEBP"
    yield from parts


def _chunks(data: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        yield name, _part(data, place + 8, length)
        place += 8 + length + length % 2


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)


# --- GIF --------------------------------------------------------------------------------------------

_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def _gif(data: bytes, icc: bool, exif: bytes) -> Iterator[bytes]:
    place = 13 + _colours(data[10])
    yield _part(data, 0, place)
    while data[place] != 0x3B:
        start = place
        if data[place] == 0x2C:
            place = _blocks_end(data, place + 11 + _colours(data[place + 9]))
            yield _part(data, start, place - start)
        elif data[place] == 0x21:
            label, name = data[place + 1], data[place + 3 : place + 14]
            place = _blocks_end(data, place + 2)
            kept = label in (0xF9, 0x01) or (label == 0xFF and (name in _LOOPS or (name == b"ICCRGBG1012" and icc)))
            if kept:
                yield _part(data, start, place - start)
        else:
            raise Damaged(f"at byte {place}, where a block should begin, there is none")
    yield b"\x3b"


def _colours(flags: int) -> int:
    """Return how many bytes a table of colours takes up."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks_end(data: bytes, place: int) -> int:
    while data[place]:
        place += data[place] + 1
    return place + 1


FORMATS: dict[str, Callable[[bytes, bool, bytes], Iterator[bytes]]] = {
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
}
