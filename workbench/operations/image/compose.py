"""Image operations that lay images over or beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.errors import InvalidArguments
from workbench.operations import profiles
from workbench.operations.image import marks
from workbench.operations.image.marks import Place
from workbench.operations.pixels import Color
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("image.watermark")
def watermark(
    image: Image,
    *,
    text: str | None = None,
    mark: Image | None = None,
    position: Place | tuple[int, int] = "bottom right",
    opacity: float = 0.5,
    size: float = 0.25,
    margin: int = 16,
    color: Color = "white",
) -> Image:
    """Lay a line of text, or another image, over an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says.
    text
        A line of up to 500 characters, written in Pillow's own font, which knows Latin letters. Either it or
        `mark` is given.
    mark
        An image; what is transparent in it lets the one below show through.
    position
        A side or a corner (`"top"`, `"bottom right"` …), `"center"`, `"tile"` to cover the whole image, or the mark's
        left and upper edge in pixels.
    opacity
        Of the mark, from 0 to 1; what is transparent in it already becomes more so.
    size
        The mark's width as a share of the image's, above 0 and up to 1. A mark that would be higher than the image is
        made smaller.
    margin
        Pixels between the mark and the sides, or between the tiles.
    color
        The text's colour. Colours of a mark are converted to sRGB by its ICC profile; the image's own profile stays,
        and the mark's numbers are taken as they are.

    Returns
    -------
    PIL.Image.Image
        Grey or RGB, with alpha where the image has any. A grey image stays grey. Colours of models that a screen
        doesn't have (CMYK) are converted to sRGB; ICC profiles that still fit, and EXIF, are kept.

    Raises
    ------
    InvalidArguments
        If not exactly one of `text` and `mark` is given, a number is out of its range, the position is none within the
        image, or the font lacks a letter.

    Examples
    --------
    >>> from PIL import Image
    >>> photo = Image.new("RGB", (640, 480), "navy")
    >>> marked = watermark(photo, text="© Jo", position="top left", size=0.5, margin=0)
    >>> marked.crop((0, 0, 320, 240)).getextrema()[0][1], marked.crop((320, 240, 640, 480)).getextrema()[0][1]
    (128, 0)
    """
    return marks.watermark(
        image, text=text, mark=mark, position=position, opacity=opacity, size=size, margin=margin, color=color
    )


@operation("image.blend")
def blend(image: Image, other: Image, alpha: float = 0.5) -> Image:
    """Mix two images of one size.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says; so is the other.
    other
        An image of the same size.
    alpha
        The other's share, from 0 (only `image`) to 1 (only `other`).

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.blend` makes it: grey where both are, RGBA where either is transparent, RGB otherwise. Transparent
        pixels count by their alpha, so that colours which can't be seen don't show. An ICC profile is kept where it is
        the profile of both; otherwise colours are converted to sRGB.

    Raises
    ------
    InvalidArguments
        If the sizes differ, or `alpha` is out of its range.

    Examples
    --------
    >>> from PIL import Image
    >>> blend(Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 200), 0.25).getpixel((0, 0))
    50
    """
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class

    if not 0 <= alpha <= 1:
        raise InvalidArguments(f"alpha: takes a share from 0 to 1, got {alpha!r}")
    first, second = profiles.alike(image, other)
    check_same_size(first, second)
    if first.mode == "RGBA":
        mixed = pillow.blend(first.convert("RGBa"), second.convert("RGBa"), alpha).convert("RGBA")
    else:
        mixed = pillow.blend(first, second, alpha)
    mixed.info = dict(first.info)
    return mixed


def check_same_size(first: Image, second: Image) -> None:
    """Raise `InvalidArguments` unless the images have one size."""
    if first.size != second.size:
        raise InvalidArguments(
            f"other: it is {second.width} × {second.height}, and the first image {first.width} × {first.height}: bring "
            "both to one size first, with image.resize, image.fit or image.crop"
        )


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
        Each is turned upright, as its EXIF orientation says, shrunk to fit its cell and centred there. Colours are
        converted to sRGB by its ICC profile; without one they are taken for sRGB's.
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
        RGB, in sRGB and without a profile. 16-bit images are divided by 256, floats stretched from their darkest to
        their brightest pixel.

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
