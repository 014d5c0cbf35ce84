"""Image operations that move pixels and change none: boxes, angles, sides. Sizes are in `image.sizes`."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels
from workbench.operations.pixels import Color, RotateResample
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[int, int, int, int]


@operation("image.rotate")
def rotate(
    image: Image,
    angle: float,
    *,
    expand: bool = False,
    resample: RotateResample = "bicubic",
    center: tuple[float, float] | None = None,
    translate: tuple[int, int] | None = None,
    fillcolor: Color | None = None,
) -> Image:
    """Turn an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Palettes become RGB(A), bilevel images grey.
    angle
        Degrees, counter-clockwise. Multiples of 90 move pixels and change none.
    expand
        Make the image as large as the turned one; otherwise its corners are cut off.
    resample
        The filter: those that Pillow can turn with.
    center
        The point to turn about, in pixels from the upper left corner; the image's centre if None.
    translate
        Pixels to move it right and down by, after the turn.
    fillcolor
        Of the corners outside the image; black (transparent where there is alpha) if None.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.rotate` makes it.

    Raises
    ------
    InvalidArguments
        If the angle isn't finite, the colour isn't one, or the image would be too large.

    Examples
    --------
    >>> from PIL import Image
    >>> rotate(Image.new("L", (640, 480)), 90, expand=True).size
    (480, 640)
    """
    if not math.isfinite(angle):
        raise InvalidArguments(f"angle: takes degrees, got {angle!r}")
    for name, point in (("center", center), ("translate", translate)):
        if point is not None and not all(map(math.isfinite, point)):
            raise InvalidArguments(f"{name}: takes two numbers of pixels, got {point!r}")
    if resample not in ("nearest", "bilinear", "bicubic"):
        raise InvalidArguments(f"resample: images turn with nearest, bilinear or bicubic, got {resample!r}")
    ready = pixels.resamplable(pixels.upright(pixels.check_not_empty(image)))
    if expand:
        turn = math.radians(angle)
        sine, cosine = abs(math.sin(turn)), abs(math.cos(turn))
        width, height = ready.size
        pixels.check_size(
            (math.ceil(width * cosine + height * sine) or 1, math.ceil(width * sine + height * cosine) or 1),
            "the turned image",
        )
    fill = pixels.blank(ready.mode) if fillcolor is None else pixels.color(fillcolor, ready.mode, "fillcolor")
    return ready.rotate(angle, pixels.resampling(resample), expand, center, translate, fillcolor=fill)


@operation("image.crop")
def crop(image: Image, box: tuple[int, int, int, int]) -> Image:
    """Cut a rectangle out of an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says.
    box
        Left, upper, right and lower edge in pixels from the upper left corner; right and lower lie just outside.

    Raises
    ------
    InvalidArguments
        If the box is empty, or reaches beyond the image.

    Examples
    --------
    >>> from PIL import Image
    >>> crop(Image.new("L", (640, 480)), (10, 10, 110, 60)).size
    (100, 50)
    """
    ready = pixels.upright(image)
    left, upper, right, lower = box
    if not (0 <= left < right <= ready.width and 0 <= upper < lower <= ready.height):
        raise InvalidArguments(
            f"box: {tuple(box)} is not a rectangle (left, upper, right, lower) within the image, "
            f"which is {ready.width} × {ready.height}"
        )
    return ready.crop((left, upper, right, lower))


@operation("image.flip")
def flip(image: Image, direction: Literal["horizontal", "vertical"] = "horizontal") -> Image:
    """Mirror an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says.
    direction
        `horizontal` swaps left and right, `vertical` top and bottom.

    Raises
    ------
    InvalidArguments
        If the direction is another word.

    Examples
    --------
    >>> from PIL import Image
    >>> flip(Image.linear_gradient("L"), "vertical").getpixel((0, 0))
    255
    """
    from PIL.Image import Transpose

    ways = {"horizontal": Transpose.FLIP_LEFT_RIGHT, "vertical": Transpose.FLIP_TOP_BOTTOM}
    if direction not in ways:
        raise InvalidArguments(f"direction: takes 'horizontal' or 'vertical', got {direction!r}")
    return pixels.upright(image).transpose(ways[direction])


@operation("image.auto_orient")
def auto_orient(image: Image) -> Image:
    """Turn an image upright, as its EXIF orientation says.

    Parameters
    ----------
    image
        One without an orientation, or with one that makes no sense, stays as it is.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.exif_transpose` makes it: one that was turned is without the orientation.

    Examples
    --------
    >>> from PIL import Image
    >>> photograph = Image.new("L", (640, 480))
    >>> photograph.getexif()[0x0112] = 6
    >>> auto_orient(photograph).size
    (480, 640)
    """
    return pixels.upright(image)


@operation("image.border")
def border(
    image: Image, border: int | tuple[int, int] | tuple[int, int, int, int] = 1, *, fill: Color = "black"
) -> Image:
    """Put a border around an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Palettes become RGB(A), bilevel images grey.
    border
        Its width in pixels: on all sides, or (left and right, top and bottom), or (left, top, right, bottom).
    fill
        Its colour.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.expand` makes it.

    Raises
    ------
    InvalidArguments
        If a width is below 0, the colour isn't one, or the image would be too large.

    Examples
    --------
    >>> from PIL import Image
    >>> border(Image.new("L", (640, 480)), (10, 20), fill="white").size
    (660, 520)
    """
    from PIL import ImageOps

    if min(border if isinstance(border, tuple) else (border,)) < 0:
        raise InvalidArguments(f"border: takes pixels from 0, got {border!r}: image.crop takes some off")
    left, top, right, bottom = _widths(border)
    ready = pixels.resamplable(pixels.upright(pixels.check_not_empty(image)))
    pixels.check_size((left + ready.width + right, top + ready.height + bottom), "the image with its border")
    made = ImageOps.expand(ready, (left, top, right, bottom), pixels.color(fill, ready.mode, "fill"))
    made.info = dict(ready.info)  # Pillow forgets the profile
    return made


def _widths(border: int | tuple[int, ...]) -> Box:
    match border:
        case int():
            return border, border, border, border
        case (across, down):
            return across, down, across, down
        case (left, top, right, bottom):
            return left, top, right, bottom
    raise InvalidArguments(f"border: takes one, two or four widths in pixels, got {border!r}")


@operation("image.trim")
def trim(image: Image, color: Color | None = None, *, tolerance: int = 0) -> Image:
    """Cut off an image's borders, as far as they are of one colour.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says.
    color
        The borders' colour; that of the pixel in the upper left corner if None. Where there is alpha, all that can't
        be seen is one colour.
    tolerance
        How far each of a pixel's values may be from the colour's: of 255, or of what a pixel of `I;16`, `I` and `F`
        holds. JPEG's borders need some, 10 or so.

    Returns
    -------
    PIL.Image.Image
        Of the same mode. An image that is all border stays as it is.

    Raises
    ------
    InvalidArguments
        If the colour isn't one, or the tolerance is below 0.

    Examples
    --------
    >>> from PIL import Image
    >>> page = Image.new("L", (640, 480), "white")
    >>> page.paste(0, (100, 200, 150, 220))
    >>> trim(page).size
    (50, 20)
    """
    if tolerance < 0:
        raise InvalidArguments(f"tolerance: takes a difference from 0, got {tolerance}")
    upright = pixels.upright(pixels.check_not_empty(image))
    ready = pixels.resamplable(upright)
    value = ready.getpixel((0, 0)) if color is None else pixels.color(color, ready.mode, "color")
    box = _numbers_box(ready, value, tolerance) if _is_numbers(ready.mode) else _colours_box(ready, value, tolerance)
    return upright.crop(box)


def _is_numbers(mode: str) -> bool:
    """Tell whether it is a mode that ImageChops doesn't know."""
    return mode in ("I", "F") or mode.startswith("I;")


_PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}


def _colours_box(image: Image, value: Any, tolerance: int) -> Box | None:
    """Return the box of what differs; None if nothing does."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL import ImageChops

    mode = _PREMULTIPLIED.get(image.mode, image.mode)  # there, what is transparent has no colour
    border = pillow.new(image.mode, image.size, value)
    bands = zip(image.convert(mode).split(), border.convert(mode).split(), strict=True)
    apart = reduce(ImageChops.lighter, [ImageChops.difference(*pair) for pair in bands])
    return apart.point(lambda difference: 255 if difference > tolerance else 0).getbbox()


def _numbers_box(image: Image, value: Any, tolerance: int) -> Box | None:
    import numpy as np

    apart = np.abs(np.asarray(image, dtype="float64") - value) > tolerance  # which what is no number never is
    rows, columns = np.flatnonzero(apart.any(axis=1)), np.flatnonzero(apart.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
