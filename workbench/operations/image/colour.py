"""Image operations that change what pixels look like, and none of their places."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels, profiles, tones
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("image.grayscale")
def grayscale(image: Image) -> Image:
    """Take the colour out of an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Colours with an ICC profile are converted to sRGB
        first; the grey image then has none.

    Returns
    -------
    PIL.Image.Image
        Grey (`L`), with alpha where the image has any (`LA`). The luma is ITU-R 601-2's, as in Pillow. 16-bit greys are
        divided by 256; 32-bit greys and floats are stretched from their darkest to their brightest pixel if they don't
        fit into 0 to 255.

    Examples
    --------
    >>> from PIL import Image
    >>> grayscale(Image.new("RGB", (1, 1), "red")).getpixel((0, 0))
    76
    """
    ready = pixels.displayable(profiles.ready_for(pixels.upright(image), "L"))
    return ready.convert("LA" if pixels.has_alpha(ready) else "L")


@operation("image.adjust")
def adjust(
    image: Image, *, brightness: float = 1.0, contrast: float = 1.0, color: float = 1.0, sharpness: float = 1.0
) -> Image:
    """Change an image's brightness, contrast, colourfulness and sharpness, in this order.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Grey or RGB, with or without alpha, which stays as it
        is; palettes become RGB(A), bilevel images grey.
    brightness
        0 for black, 1 for no change, more for brighter.
    contrast
        0 for an even grey, 1 for no change.
    color
        0 for grey, 1 for no change.
    sharpness
        0 for smoothed, 1 for no change, 2 for sharpened.

    Returns
    -------
    PIL.Image.Image
        As the classes of `PIL.ImageEnhance` make it.

    Raises
    ------
    InvalidArguments
        If a factor isn't from 0 to 1000, or the mode isn't one of these.

    Examples
    --------
    >>> from PIL import Image
    >>> adjust(Image.new("RGB", (1, 1), (100, 50, 10)), brightness=2).getpixel((0, 0))
    (200, 100, 20)
    """
    from PIL import ImageEnhance

    factors = {"brightness": brightness, "contrast": contrast, "color": color, "sharpness": sharpness}
    for name, factor in factors.items():
        if not (math.isfinite(factor) and 0 <= factor <= 1000):
            raise InvalidArguments(f"{name}: takes a factor from 0 to 1000, 1 for no change; got {factor!r}")

    def enhanced(colours: Image, _: Image | None) -> Image:
        for name, factor in factors.items():
            if factor != 1:
                colours = getattr(ImageEnhance, name.title())(colours).enhance(factor)
        return colours

    return tones.changed(tones.toned(image, "image.adjust"), enhanced)


@operation("image.autocontrast")
def autocontrast(
    image: Image,
    cutoff: float | tuple[float, float] = 0,
    *,
    ignore: int | list[int] | None = None,
    preserve_tone: bool = False,
) -> Image:
    """Stretch an image's tones so that its darkest become black and its brightest white.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Grey or RGB, with or without alpha, which stays as it
        is; pixels that can't be seen don't count. Palettes become RGB(A), bilevel images grey.
    cutoff
        Percent of the pixels that may become black and white, at both ends or (dark, bright).
    ignore
        Tones (0 to 255) that don't count, as a background's.
    preserve_tone
        Stretch the three colours alike, by their luma, so that hues stay.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.autocontrast` makes it.

    Raises
    ------
    InvalidArguments
        If the percents or the tones make no sense, or the mode isn't one of these.

    Examples
    --------
    >>> from PIL import Image
    >>> autocontrast(Image.linear_gradient("L").point(lambda tone: 50 + tone // 2)).getextrema()
    (0, 255)
    """
    from PIL import ImageOps

    ends = cutoff if isinstance(cutoff, tuple) else (cutoff, cutoff)
    if not (all(math.isfinite(end) and end >= 0 for end in ends) and sum(ends) < 100):
        raise InvalidArguments(f"cutoff: takes percents from 0 which leave some between them, got {cutoff!r}")
    ignored = [ignore] if isinstance(ignore, int) else ignore or []
    if not all(0 <= tone <= 255 for tone in ignored):
        raise InvalidArguments(f"ignore: takes tones from 0 to 255, got {ignore!r}")

    def stretched(colours: Image, seen: Image | None) -> Image:
        return ImageOps.autocontrast(colours, ends, ignored, mask=seen, preserve_tone=preserve_tone)

    return tones.changed(tones.toned(image, "image.autocontrast"), stretched)


@operation("image.equalize")
def equalize(image: Image) -> Image:
    """Spread an image's tones so that each is as frequent as the others.

    Parameters
    ----------
    image
        As for `image.autocontrast`.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.equalize` makes it.

    Raises
    ------
    InvalidArguments
        If the mode isn't one of these.

    Examples
    --------
    >>> from PIL import Image
    >>> dark = Image.linear_gradient("L").point(lambda tone: tone // 4)
    >>> equalize(dark).getextrema()
    (0, 255)
    """
    from PIL import ImageOps

    return tones.changed(tones.toned(image, "image.equalize"), ImageOps.equalize)


@operation("image.posterize")
def posterize(image: Image, bits: int) -> Image:
    """Keep only the highest bits of each colour.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Grey or RGB, with or without alpha, which stays as it
        is. Palettes stay palettes, those with an alpha channel become RGBA; bilevel images become grey.
    bits
        How many of the 8, from 1.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.posterize` makes it.

    Raises
    ------
    InvalidArguments
        If `bits` isn't from 1 to 8, or the mode isn't one of these.

    Examples
    --------
    >>> from PIL import Image
    >>> posterize(Image.new("L", (1, 1), 200), 1).getpixel((0, 0))
    128
    """
    from PIL import ImageOps

    if not 1 <= bits <= 8:
        raise InvalidArguments(f"bits: takes 1 to 8, got {bits}")
    if image.mode == "P":
        return ImageOps.posterize(pixels.upright(pixels.check_not_empty(image)), bits)
    return tones.changed(tones.toned(image, "image.posterize"), lambda colours, _: ImageOps.posterize(colours, bits))


@operation("image.invert")
def invert(image: Image) -> Image:
    """Make a negative of an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Bilevel, grey or RGB, with or without alpha, which
        stays as it is. Palettes stay palettes, those with an alpha channel become RGBA.

    Returns
    -------
    PIL.Image.Image
        As `PIL.ImageOps.invert` makes it.

    Raises
    ------
    InvalidArguments
        If the mode isn't one of these.

    Examples
    --------
    >>> from PIL import Image
    >>> invert(Image.new("RGB", (1, 1), "yellow")).getpixel((0, 0))
    (0, 0, 255)
    """
    from PIL import ImageOps

    if image.mode == "P" or (image.mode == "1" and not pixels.has_alpha(image)):
        return ImageOps.invert(pixels.upright(pixels.check_not_empty(image)))
    return tones.changed(tones.toned(image, "image.invert"), lambda colours, _: ImageOps.invert(colours))
