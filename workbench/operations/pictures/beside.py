"""What an image file holds beside its pixels, as far as the new format can hold it: EXIF, profile, resolution."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from workbench.operations import context
from workbench.operations.pictures.formats import Holds, ImageFormat

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 274
_LAYOUT = frozenset(  # of a TIFF file itself: how its pixels lie there, which is the writer's to say
    (
        *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347),
        *(530, 531, _ORIENTATION, 34_675),  # the last one is the profile, which is given beside it
    )
)
_LAYOUT_OF_TIFF = frozenset(  # what says so only in a TIFF, or points into one, and is no harm elsewhere
    (
        *(255, 263, 264, 265, 288, 289, 290, 291, 292, 293, 301, 326, 327, 328, 330, 332, 334, 340, 341, 342),
        *(512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 532),
    )
)
_BLOCKS = frozenset((700, 33_723, 34_377))  # XMP, IPTC, Photoshop's: tags in a TIFF, and no EXIF elsewhere
_JPEG_MARKER = 65_533
_START = b"Exif\0\0"


def metadata(image: Image, to: ImageFormat, holds: Holds) -> dict[str, Any]:
    """Return the options by which Pillow writes an image's resolution and EXIF; what is left out is noted."""
    found: dict[str, Any] = {}
    if dpi := _dpi(image):
        if holds.dpi:
            found["dpi"] = dpi
        else:
            context.note("dpi", f"left out: {to} holds none")
    if to == "jpeg" and len(image.info.get("comment") or "") > _JPEG_MARKER:
        found["comment"] = b""
        context.note("comment", f"left out: it is longer than JPEG's {_JPEG_MARKER:,} bytes")
    if image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"):
        context.note("xmp", "left out: only EXIF, the colour profile and the resolution are kept")
    exif = _exif(image, to)
    if exif and not holds.exif:
        context.note("exif", f"left out: {to} holds none")
    elif exif and to == "jpeg" and len(exif) > _JPEG_MARKER:
        context.note("exif", f"left out: its {len(exif):,} bytes are more than JPEG's {_JPEG_MARKER:,}")
    elif exif:
        found["exif"] = exif.removeprefix(_START) if to == "webp" else exif
    return found


def _dpi(image: Image) -> tuple[float, float] | None:
    with contextlib.suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
        horizontal, vertical = (float(part) for part in image.info["dpi"])
        if 0 < horizontal < 1e6 and 0 < vertical < 1e6:
            return horizontal, vertical
    return None


def _exif(image: Image, to: ImageFormat) -> bytes | None:
    """Return the EXIF block without the orientation, which the pixels have followed; as it was, if that is all.

    For a TIFF, whose directories are made of it, it is always written anew: what is damaged shows by that.
    """
    from PIL.Image import Exif

    try:
        tags = image.getexif()
        raw: bytes | None = image.info.get("exif")
        surplus = (_LAYOUT | _LAYOUT_OF_TIFF if to == "tiff" else _LAYOUT | _BLOCKS).intersection(tags)
        if raw and not surplus and to != "tiff":
            return raw if raw.startswith(_START) else _START + raw
        if raw and not len(tags):
            context.note("exif", "left out: there is no tag in it that can be read")
            return None
        exif = Exif()
        exif.load(tags.tobytes())  # a copy: the image stays as it is
        for tag in surplus.intersection(exif):
            del exif[tag]
        return exif.tobytes() if len(exif) else None
    except Exception:  # what a camera wrote breaks Pillow's parser in many ways
        if image.info.get("exif"):
            context.note("exif", "left out: it is damaged")
        return None
