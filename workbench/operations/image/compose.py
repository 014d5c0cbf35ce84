"""Image operations that make one image of several, or several of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.operations.pixels import Color
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("image.contact_sheet")
def contact_sheet(
    images: list[Image],
    *,
    columns: int = 4,
    size: tuple[int, int] = (160, 160),
    margin: int = 8,
    background: Color = "white",
    labels: list[str] | None = None,
) -> Image:
    """Lay many images out on one sheet, row by row.

    Parameters
    ----------
    images
        Each is turned upright, as its EXIF orientation says, shrunk to fit its cell and centred there.
    columns
        How many stand in a row.
    size
        Width and height in pixels that an image may take up.
    margin
        Pixels around and between the cells.
    background
        The sheet's colour, which shows through transparent images.
    labels
        A line of text under each image, shortened to fit.

    Returns
    -------
    PIL.Image.Image
        RGB. 16-bit images are divided by 256, floats stretched from their darkest to their brightest pixel.

    Raises
    ------
    InvalidArguments
        If there are no images, labels are too few or too many, or a size isn't sane.

    Examples
    --------
    >>> from PIL import Image
    >>> contact_sheet([Image.new("RGB", (640, 480))] * 5, columns=3, size=(100, 100), margin=10).size
    (340, 230)
    """
    from workbench.operations import sheets

    return sheets.contact_sheet(images, columns=columns, size=size, margin=margin, background=background, labels=labels)
