"""Image operations that change what pixels look like, and none of their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.operations import pixels
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("image.grayscale")
def grayscale(image: Image) -> Image:
    """Take the colour out of an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says.

    Returns
    -------
    PIL.Image.Image
        Grey (`L`), with alpha where the image has any (`LA`). The luma is ITU-R 601-2's, as in Pillow.

    Examples
    --------
    >>> from PIL import Image
    >>> grayscale(Image.new("RGB", (1, 1), "red")).getpixel((0, 0))
    76
    """
    ready = pixels.displayable(pixels.upright(image))
    return ready.convert("LA" if pixels.has_alpha(ready) else "L")
