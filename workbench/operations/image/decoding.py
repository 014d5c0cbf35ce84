"""Whether a file decodes, to its last frame."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InputError
from workbench.operations import context, pixels
from workbench.operations.image import segments
from workbench.operations.image.animation import DECODING
from workbench.values import pages
from workbench.values.decoders import MAX_FRAMES

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 10_000_000_000  # of all frames together: minutes of decoding
MOST_WARNINGS = 20


def report(path: Path, name: str) -> dict[str, Any]:
    """Decode a file and tell how it went: see `image.verify`."""
    told: dict[str, Any] = {
        "ok": False,
        "problem": None,
        "reason": None,
        "format": None,
        "width": None,
        "height": None,
        "frames": None,
        "decoded": 0,
        "bytes": path.stat().st_size,
        "warnings": [],
    }
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        warnings.simplefilter("error", DecompressionBombWarning)
        try:
            with pixels.opened(path, name) as picture:
                told |= {"format": picture.format, "width": picture.width, "height": picture.height}
                picture.verify()  # PNG's checksums, which decoding skips
            with pixels.opened(path, name) as picture:
                _decode(picture, told)
            checked = told["problem"] is None and told["format"] in segments.FORMATS
            if checked and segments.is_cut_short(path.read_bytes(), told["format"]):
                told |= {"problem": "cut short", "reason": "the file ends before the image does"}
        except DECODING as error:  # InputError, as `opened` tells some of them, is a ValueError
            told["problem"] = _problem(error, opened=told["format"] is not None)
            told["reason"] = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    told["warnings"] = list(dict.fromkeys(str(each.message)[:500] for each in heard))[:MOST_WARNINGS]
    told["ok"] = told["problem"] is None
    return told


def _problem(error: Exception, *, opened: bool) -> str:
    text = str(error).lower()
    if "too large" in text or "megapixels" in text or "limit" in text:
        return "too large"
    if "truncated" in text or "cut short" in text:
        return "cut short"
    return "damaged" if opened or not isinstance(error, InputError) or "damaged" in text else "not an image"


def _decode(picture: Image, told: dict[str, Any]) -> None:
    told["frames"] = frames = pages.count(picture)
    if frames > MAX_FRAMES or frames * picture.width * picture.height > MOST_PIXELS:
        told["problem"] = "too large"
        told["reason"] = (
            f"its {frames} frames of {picture.width} × {picture.height} are more than are looked at: "
            f"{MAX_FRAMES:,}, and {MOST_PIXELS // 1_000_000:,} megapixels together"
        )
        return
    for number in range(frames):
        picture.seek(number)
        if picture.width * picture.height > pixels.MAX_PIXELS:  # the pages of a TIFF have sizes of their own
            told["problem"] = "too large"
            told["reason"] = f"its frame {number} is {picture.width} × {picture.height}"
            return
        picture.load()
        told["decoded"] = number + 1
        context.progress((number + 1) / frames)
