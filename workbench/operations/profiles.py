"""ICC profiles: kept where they describe the new pixels, otherwise the colours are converted to sRGB."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from workbench.operations import context, pixels

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsProfile

_SPACES = {"1": b"GRAY", "L": b"GRAY", "LA": b"GRAY", "I": b"GRAY", "F": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}


def space(mode: str) -> bytes:
    """Return the colour space of a mode, as profiles spell it (ICC.1:2022, table 19)."""
    return b"GRAY" if mode.startswith("I;") else _SPACES.get(mode, b"RGB ")


def ready_for(image: Image, mode: str) -> Image:
    """Return the image so that it can be converted to another mode and no profile ends up on pixels it isn't of.

    Without a profile, or with one of both modes' colour space, it stays as it is. Otherwise its colours are
    converted to sRGB, whose values are what Pillow's own conversions take pixels for.
    """
    profile = image.info.get("icc_profile")
    if not profile or profile[16:20] == space(image.mode) == space(mode):
        return image
    return to_srgb(image)


def to_srgb(image: Image) -> Image:
    """Return the image without its profile, its colours converted from that to sRGB, as RGB or RGBA.

    Pixels that are of sRGB already stay as they are, in their mode. So do those of a profile that can't be read, or
    isn't of the image's colour space: it says nothing about them. Which of these happened is noted in the attempt's
    record.
    """
    from PIL import ImageCms

    try:
        profile = image.info["icc_profile"]
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        plain = name.startswith("sRGB") and profile[16:20] == space(image.mode) == b"RGB "
        converted = None if plain else _converted(image, source)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        context.note("icc_profile", f"left out, as it doesn't describe these pixels: {error}")
        converted = None
    else:
        told = "left out, as it is sRGB's" if converted is None else f"colours converted from {name} to sRGB"
        context.note("icc_profile", told)
    made = image.copy() if converted is None else converted
    left_out = ("icc_profile",) if converted is None else ("icc_profile", "transparency")
    made.info = {name: value for name, value in image.info.items() if name not in left_out}
    return made


def _converted(image: Image, source: ImageCmsProfile) -> Image:
    from PIL import ImageCms

    known = image.mode in ("L", "RGB", "CMYK", "LAB") and not pixels.has_alpha(image)  # to the colour management
    shown = image if known else pixels.displayable(image)
    alpha = shown.getchannel("A") if shown.mode in ("LA", "RGBA") else None
    opaque = shown.convert(shown.mode[:-1]) if alpha is not None else shown
    converted = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
