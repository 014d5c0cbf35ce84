"""Image operations that tell what an image is."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations import context, pixels
from workbench.operations.image import counting, decoding, tags
from workbench.operations.registry import operation
from workbench.values import decoders, pages
from workbench.values.refs import FileRef

if TYPE_CHECKING:
    from PIL.Image import Image


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
        If the file isn't an image of a known format, is cut short, or has more than a million pages.

    Examples
    --------
    >>> from PIL import Image
    >>> info(Image.new("RGB", (640, 480)))["width"]
    640
    """
    from PIL.Image import Image as PillowImage

    if isinstance(image, PillowImage):
        with decoders.decoding("the image", image.format):
            return _described(image, None)
    path = context.input_path(image)
    with pixels.opened(path, getattr(image, "name", path.name)) as picture:
        return _described(picture, path.stat().st_size)


@operation("image.verify")
def verify(image: FileRef) -> dict[str, Any]:
    """Tell whether a file is an image that decodes wholly, to the last pixel of the last frame.

    Parameters
    ----------
    image
        A file.

    Returns
    -------
    dict
        A report, of damaged files too: `ok`, `problem` (None, `"not an image"`, `"cut short"`, `"damaged"` or
        `"too large"`), `reason` (in words), `format`, `width`, `height`, `frames`, `decoded` (how many of them could
        be), `bytes` (of the file), `warnings` (what Pillow said of it besides).

    Raises
    ------
    InputNotFound
        If the file isn't there.

    Notes
    -----
    A PNG's checksums are held against its data. Formats without any may have changed colours, and still decode. At most
    10,000 frames and 10,000 megapixels are looked at.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp(), "photo.png")
    >>> Image.linear_gradient("L").save(path)
    >>> verify(path)["ok"]
    True
    >>> _ = path.write_bytes(path.read_bytes()[:200])
    >>> verify(path)["problem"]
    'cut short'
    """
    path = context.input_path(image)
    return decoding.report(path, getattr(image, "name", path.name))


@operation("image.exif")
def exif(image: FileRef | Image, *, max_bytes: int = 64) -> dict[str, Any]:
    """Read what the camera noted.

    Parameters
    ----------
    image
        A file, which isn't decoded, or an image in memory.
    max_bytes
        Values that are neither text nor numbers, such as the maker's own notes, are given as bytes up to this many, and
        as `"<1234 bytes>"` beyond.

    Returns
    -------
    dict
        Tags by their names in EXIF (`Make`, `DateTimeOriginal`, `FNumber` …; `"0x1234"` where they have none), empty
        where there is no EXIF, or none that can be read. Fractions are floats, None where they aren't numbers.
        `GPSInfo` holds the tags of the place, and beside them, decoded: `latitude` and `longitude` (degrees, north
        and east positive), `altitude` (metres above the sea) and `time` (UTC, ISO 8601), each where it makes sense.
        Texts are cut after 2,000 characters, lists of more than 64 numbers are told by their length.

    Raises
    ------
    InputError
        If the file isn't an image of a known format.
    InvalidArguments
        If `max_bytes` isn't between 0 and 65,536.

    Examples
    --------
    >>> from PIL import Image
    >>> photo = Image.new("RGB", (64, 64))
    >>> photo.getexif()[0x010F] = "Maker"
    >>> exif(photo)
    {'Make': 'Maker'}
    """
    from PIL.Image import Image as PillowImage

    if not 0 <= max_bytes <= 65_536:
        raise InvalidArguments(f"max_bytes: takes 0 to 65,536, got {max_bytes}")
    if isinstance(image, PillowImage):
        return tags.readable(image, max_bytes)
    path = context.input_path(image)
    with pixels.opened(path, getattr(image, "name", path.name)) as picture:
        return tags.readable(picture, max_bytes)


@operation("image.histogram")
def histogram(image: Image, *, mask: Image | None = None) -> dict[str, Any]:
    """Count how many pixels have which value, band by band.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Palettes are counted by their colours.
    mask
        An image of the same size: only pixels that aren't black in it are counted.

    Returns
    -------
    dict
        `mode`, `pixels` (how many were counted), `range` (the values that the first and the last count are of) and
        `bands`: 256 counts for each of the mode's bands, as `PIL.Image.Image.histogram` gives them. Images of more than
        8 bits and of floats are counted in 256 equal steps from their least to their greatest value.

    Raises
    ------
    InvalidArguments
        If the mask's size differs, or the image has no pixels.

    Examples
    --------
    >>> from PIL import Image
    >>> told = histogram(Image.linear_gradient("L"))
    >>> told["pixels"], told["bands"]["L"][:3]
    (65536, [256, 256, 256])
    """
    return counting.histogram(image, mask)


@operation("image.palette")
def palette(image: Image, colors: int = 8) -> list[dict[str, Any]]:
    """Tell the colours that dominate an image.

    Parameters
    ----------
    image
        Colours are converted to sRGB by its ICC profile. Pixels that are transparent for the most part don't count.
    colors
        How many at most, 1 to 256.

    Returns
    -------
    list of dict
        `color` (`"#rrggbb"`) and `share` (of the pixels that count, from 0 to 1), the greatest first. They are exact
        where the image has no more colours than asked for; otherwise it is quantized, as `PIL.Image.Image.quantize`
        does by the median cut. Of images above a megapixel, a megapixel spread evenly is looked at.

    Raises
    ------
    InvalidArguments
        If `colors` is out of its range, or the image has no pixels.

    Examples
    --------
    >>> from PIL import Image
    >>> flag = Image.new("RGB", (4, 4), "red")
    >>> flag.paste("white", (0, 0, 4, 1))
    >>> palette(flag)
    [{'color': '#ff0000', 'share': 0.75}, {'color': '#ffffff', 'share': 0.25}]
    """
    return counting.palette(image, colors)


def _described(image: Image, size: int | None) -> dict[str, Any]:
    from PIL.ExifTags import Base

    try:
        exif: Any = image.getexif()
    except Exception:  # what a camera wrote breaks Pillow's parser in many ways
        exif = {}
    camera = " ".join(str(exif[tag]).strip("\0 ") for tag in (Base.Make, Base.Model) if exif.get(tag))
    return {
        "format": image.format,
        "mode": image.mode,
        "width": image.width,
        "height": image.height,
        "frames": pages.count(image),
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
