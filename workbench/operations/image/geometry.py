"""Image operations that move pixels: sizes, boxes, angles, sides. What they share is in `operations.pixels`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels
from workbench.operations.pixels import Color, Resample, RotateResample
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("image.thumbnail")
def thumbnail(image: Image, size: tuple[int, int] = (256, 256), *, resample: Resample = "lanczos") -> Image:
    """Shrink an image to fit inside `size`, keeping its aspect ratio.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Of an animation, its first frame. Palettes become
        RGB(A), bilevel images grey.
    size
        Width and height in pixels. A smaller image stays as it is.
    resample
        The filter, as in Pillow.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.thumbnail` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number.

    Examples
    --------
    >>> from PIL import Image
    >>> thumbnail(Image.new("RGB", (640, 480)), (100, 100)).size
    (100, 75)
    """
    width, height = pixels.check_size(size)
    small = pixels.resamplable(pixels.upright(pixels.check_not_empty(image)))
    # Pillow can't reduce 16-bit greys in two steps, as it does with the others.
    small.thumbnail(
        (width, height), pixels.resampling(resample), reducing_gap=None if small.mode.startswith("I;") else 2.0
    )
    return small


@operation("image.resize")
def resize(image: Image, size: tuple[int, int], *, resample: Resample = "bicubic") -> Image:
    """Bring an image to exactly this size.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Palettes become RGB(A), bilevel images grey.
    size
        Width and height in pixels, up to 200 megapixels.
    resample
        The filter, as in Pillow.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.resize` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, or the image would be too large.

    Examples
    --------
    >>> from PIL import Image
    >>> resize(Image.new("L", (640, 480)), (32, 32)).size
    (32, 32)
    """
    wanted = pixels.check_size(size)
    return pixels.resamplable(pixels.upright(pixels.check_not_empty(image))).resize(wanted, pixels.resampling(resample))


@operation("image.rotate")
def rotate(
    image: Image,
    angle: float,
    *,
    expand: bool = False,
    resample: RotateResample = "bicubic",
    fillcolor: Color | None = None,
) -> Image:
    """Turn an image about its centre.

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
    fill = None if fillcolor is None else pixels.color(fillcolor, ready.mode, "fillcolor")
    try:
        return ready.rotate(angle, pixels.resampling(resample), expand, fillcolor=fill)
    except (TypeError, ValueError) as error:
        raise InvalidArguments(
            f"fillcolor: {fillcolor!r} doesn't fit an image of mode {ready.mode}: {error}"
        ) from error


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
