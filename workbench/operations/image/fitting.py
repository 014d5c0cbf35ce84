"""The best picture that fits into so many bytes: first by its quality, then by its size."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels

if TYPE_CHECKING:
    from PIL.Image import Image

FileFormat = Literal["jpeg", "webp", "avif", "png"]
FORMATS: tuple[FileFormat, ...] = ("jpeg", "webp", "avif", "png")
BEST = 95  # beyond it JPEGs grow and look no better (Pillow's documentation says so)
SIDES: dict[str, int] = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536, "png": 2**31 - 1}


class Fit(NamedTuple):
    """A file that fits, and what it took."""

    data: bytes
    quality: int | None
    size: tuple[int, int]


def fit(image: Image, to: FileFormat, max_bytes: int, min_quality: int) -> Fit:
    """Return the image as a file of at most `max_bytes`: see `image.optimize`.

    Parameters
    ----------
    image
        L, LA, RGB or RGBA, in sRGB.
    to
        The format.
    max_bytes
        How long the file may be.
    min_quality
        What the quality isn't lowered beyond before the picture is shrunk; PNG has none.
    """
    lossy = to != "png"
    least = min_quality if lossy else None
    best = BEST if lossy else None
    if len(whole := _encoded(image, to, best)) <= max_bytes:
        return Fit(whole, best, image.size)
    if lossy and len(_encoded(image, to, least)) <= max_bytes:
        scaled = image
    else:
        scaled = _largest(image, lambda small: len(_encoded(small, to, least)) <= max_bytes)
    if lossy:
        least = _highest(min_quality, BEST, lambda quality: len(_encoded(scaled, to, quality)) <= max_bytes)
    if len(data := _encoded(scaled, to, least)) > max_bytes:
        raise InvalidArguments(
            f"max_bytes: takes at least {len(data):,} for this image as {to}, got {max_bytes:,}: not even a picture of "
            "a pixel fits"
        )
    return Fit(data, least, scaled.size)


def _highest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Return the highest number that fits; `low` does."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _largest(image: Image, fits: Callable[[Image], bool]) -> Image:
    """Return the image shrunk as little as is needed, to a hundredth of its longer side; the least where none fits."""
    best = _scaled(image, 1)
    low, high = 1, max(image.size)  # high doesn't fit
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        small = _scaled(image, middle)
        if fits(small):
            low, best = middle, small
        else:
            high = middle
    return best


def _scaled(image: Image, side: int) -> Image:
    """Return the image with a longer side of so many pixels."""
    from PIL.Image import Resampling

    factor = side / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Resampling.LANCZOS, reducing_gap=3.0)


def _encoded(image: Image, to: FileFormat, quality: int | None) -> bytes:
    options: dict[str, Any] = {"optimize": True} if quality is None else {"quality": quality}
    if to == "jpeg":
        options |= {"optimize": True, "progressive": True}
    buffer = io.BytesIO()
    try:
        image.save(buffer, to.upper(), **options)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidArguments(f"image: it can't be written as {to}: {error}") from error
    return buffer.getvalue()


def ready(image: Image, to: FileFormat, background: Any) -> Image:
    """Return an sRGB image in a mode that the format can hold, and with nothing beside its pixels."""
    if max(image.size) > SIDES[to]:
        raise InvalidArguments(
            f"image: it is {image.width} × {image.height}, and {to} holds at most {SIDES[to]:,} pixels a side: "
            "resize it first, or choose png"
        )
    if to == "jpeg":
        image = pixels.flattened(image, background)
    elif to in ("webp", "avif"):
        image = image.convert("RGBA" if pixels.has_alpha(image) else "RGB")
    image.info = {}
    return image
