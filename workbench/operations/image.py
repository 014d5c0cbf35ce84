"""The image family: pictures in, pictures out. What they share about modes and sizes is in `pixels`."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels
from workbench.operations.pixels import Color, Resample, RotateResample
from workbench.operations.registry import operation
from workbench.values.refs import FileRef

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


@operation("image.info")
def info(image: FileRef | Image) -> dict[str, Any]:
    """Tell what an image is, without decoding it where it is a file.

    Parameters
    ----------
    image
        A file, or an image in memory.

    Returns
    -------
    dict
        `format`, `mode`, `width` and `height` as stored (before any turning), `frames`, `bytes` (of the file; None in
        memory), `orientation` (EXIF, 1 for upright, 2 to 8), `dpi` (horizontal and vertical, or None), `alpha`,
        `icc_profile` (its description, or None), `taken_at`, `camera` (from EXIF, as written there, or None).

    Raises
    ------
    InputError
        If the file isn't an image of a known format.

    Examples
    --------
    >>> from PIL import Image
    >>> info(Image.new("RGB", (640, 480)))["width"]
    640
    """
    from PIL.Image import Image as PillowImage

    if isinstance(image, PillowImage):
        return _described(image, None)
    path = context.input_path(image)
    with pixels.opened(path, getattr(image, "name", path.name)) as picture:
        return _described(picture, path.stat().st_size)


def _described(image: Image, size: int | None) -> dict[str, Any]:
    from PIL.ExifTags import Base

    try:
        exif: Any = image.getexif()
    except Exception:  # what a camera wrote breaks Pillow's parser in many ways
        exif = {}
    try:
        frames = getattr(image, "n_frames", 1)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"the image's frames can't be counted: {error}. It is damaged: get the file again") from error
    camera = " ".join(str(exif[tag]).strip("\0 ") for tag in (Base.Make, Base.Model) if exif.get(tag))
    return {
        "format": image.format,
        "mode": image.mode,
        "width": image.width,
        "height": image.height,
        "frames": frames,
        "bytes": size,
        "orientation": pixels.orientation(image),
        "dpi": _dpi(image),
        "alpha": pixels.has_alpha(image),
        "icc_profile": _profile_name(image),
        "taken_at": str(exif[Base.DateTime]) if exif.get(Base.DateTime) else None,
        "camera": camera or None,
    }


def _dpi(image: Image) -> list[float] | None:
    with contextlib.suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
        horizontal, vertical = (round(float(part), 3) for part in image.info["dpi"])
        if math.isfinite(horizontal) and math.isfinite(vertical):
            return [horizontal, vertical]
    return None


def _profile_name(image: Image) -> str | None:
    from io import BytesIO

    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "unreadable"


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
