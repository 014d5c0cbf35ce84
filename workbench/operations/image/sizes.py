"""Image operations that change an image's size, its pixels computed anew. Those that only move pixels: `geometry`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels
from workbench.operations.pixels import Color, Resample
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

Size = tuple[int, int]


@operation("image.resize")
def resize(
    image: Image,
    size: tuple[int, int],
    *,
    resample: Resample = "bicubic",
    box: tuple[float, float, float, float] | None = None,
    reducing_gap: float | None = None,
) -> Image:
    """Bring an image to exactly this size.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Palettes become RGB(A), bilevel images grey.
    size
        Width and height in pixels, up to 200 megapixels.
    resample
        The filter, as in Pillow.
    box
        Left, upper, right and lower edge, in pixels, of the part to take; all of the image if None.
    reducing_gap
        Shrink in two steps, the first of them fast and to no less than so many times the size: from 1, and from 3
        with no visible difference. None for one step.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.resize` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, the image would be too large, or the box isn't within it.

    Examples
    --------
    >>> from PIL import Image
    >>> resize(Image.new("L", (640, 480)), (32, 32)).size
    (32, 32)
    """
    wanted, chosen = pixels.check_size(size), pixels.resampling(resample)
    ready = _ready(image)
    if box is not None:
        left, upper, right, lower = box
        if not (0 <= left < right <= ready.width and 0 <= upper < lower <= ready.height):
            raise InvalidArguments(
                f"box: {tuple(box)} is not a rectangle (left, upper, right, lower) within the image, "
                f"which is {ready.width} × {ready.height}"
            )
    if reducing_gap is not None and not (math.isfinite(reducing_gap) and reducing_gap >= 1):
        raise InvalidArguments(f"reducing_gap: takes a number from 1, got {reducing_gap!r}")
    return ready.resize(wanted, chosen, box, None if ready.mode.startswith("I;") else reducing_gap)


@operation("image.contain")
def contain(image: Image, size: tuple[int, int], *, method: Resample = "bicubic") -> Image:
    """Shrink or enlarge an image until it just fits inside `size`, keeping its aspect ratio.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Palettes become RGB(A), bilevel images grey.
    size
        Width and height in pixels.
    method
        The filter, as in Pillow.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.contain` makes it; a side that would come to less than a pixel is one.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, or the image would be too large.

    Examples
    --------
    >>> from PIL import Image
    >>> contain(Image.new("L", (64, 48)), (200, 200)).size
    (200, 150)
    """
    wanted, chosen = pixels.check_size(size), pixels.resampling(method, "method")
    return _contained(_ready(image), wanted, chosen)


def _contained(image: Image, size: Size, resample: Resampling) -> Image:
    from PIL import ImageOps

    if min(size[0] * image.height / image.width, size[1] * image.width / image.height) < 1:
        narrow = (size[0], 1) if image.width > image.height else (1, size[1])
        return image.resize(narrow, resample)
    return ImageOps.contain(image, size, resample)


@operation("image.cover")
def cover(image: Image, size: tuple[int, int], *, method: Resample = "bicubic") -> Image:
    """Shrink or enlarge an image until it just covers `size`, keeping its aspect ratio. Nothing is cut off.

    Parameters
    ----------
    image, method
        As for `image.contain`.
    size
        Width and height in pixels. One side comes out as said, the other no smaller.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.cover` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, or the image would be too large.

    Examples
    --------
    >>> from PIL import Image
    >>> cover(Image.new("L", (64, 48)), (200, 200)).size
    (267, 200)
    """
    from PIL import ImageOps

    (width, height), chosen = pixels.check_size(size), pixels.resampling(method, "method")
    ready = _ready(image)
    scale = max(width / ready.width, height / ready.height)
    pixels.check_size((math.ceil(ready.width * scale), math.ceil(ready.height * scale)), "the covering image")
    return ImageOps.cover(ready, (width, height), chosen)


@operation("image.fit")
def fit(
    image: Image,
    size: tuple[int, int],
    *,
    method: Resample = "bicubic",
    bleed: float = 0.0,
    centering: tuple[float, float] = (0.5, 0.5),
) -> Image:
    """Bring an image to exactly this size, keeping its aspect ratio: what is too wide or too high is cut off.

    Parameters
    ----------
    image, size, method
        As for `image.contain`.
    bleed
        Fraction of the image to cut off on each side first, below 0.5.
    centering
        Where to cut: (0, 0) keeps the upper left, (0.5, 0.5) the middle, (1, 1) the lower right.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.fit` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, or a fraction is out of its range.

    Examples
    --------
    >>> from PIL import Image
    >>> fit(Image.new("L", (640, 480)), (100, 100)).size
    (100, 100)
    """
    from PIL import ImageOps

    wanted, chosen = pixels.check_size(size), pixels.resampling(method, "method")
    if not 0 <= bleed < 0.5:
        raise InvalidArguments(f"bleed: takes a fraction from 0 to below 0.5, got {bleed!r}")
    return ImageOps.fit(_ready(image), wanted, chosen, bleed, _centering(centering))


@operation("image.pad")
def pad(
    image: Image,
    size: tuple[int, int],
    *,
    method: Resample = "bicubic",
    color: Color | None = None,
    centering: tuple[float, float] = (0.5, 0.5),
) -> Image:
    """Bring an image to exactly this size, keeping its aspect ratio: what it doesn't fill gets a colour.

    Parameters
    ----------
    image, size, method
        As for `image.contain`.
    color
        Of the rest; black if None, transparent where there is alpha.
    centering
        Where the image lies: (0, 0) in the upper left, (0.5, 0.5) in the middle, (1, 1) in the lower right.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.pad` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, the colour isn't one, or a fraction is out of its range.

    Examples
    --------
    >>> from PIL import Image
    >>> pad(Image.new("L", (640, 480)), (100, 100), color="white").getpixel((0, 0))
    255
    """
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class

    (width, height), chosen = pixels.check_size(size), pixels.resampling(method, "method")
    across, down = _centering(centering)
    ready = _ready(image)
    fill = pixels.blank(ready.mode) if color is None else pixels.color(color, ready.mode, "color")
    inner = _contained(ready, (width, height), chosen)
    made = pillow.new(ready.mode, (width, height), fill)
    made.paste(inner, (round((width - inner.width) * across), round((height - inner.height) * down)))
    made.info = dict(ready.info)
    return made


def _ready(image: Image) -> Image:
    return pixels.resamplable(pixels.upright(pixels.check_not_empty(image)))


def _centering(centering: tuple[float, float]) -> tuple[float, float]:
    across, down = centering
    if not (0 <= across <= 1 and 0 <= down <= 1):
        raise InvalidArguments(f"centering: takes two fractions from 0 to 1, got {centering!r}")
    return across, down
