"""Image operations that tell what an image is."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InputError
from workbench.operations import context, pixels
from workbench.operations.registry import operation
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
