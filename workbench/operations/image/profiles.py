"""What image operations do about ICC profiles where images meet, or are told in numbers: nothing in silence."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from workbench.operations import context, pixels

if TYPE_CHECKING:
    from PIL.Image import Image


def paintable(image: Image) -> Image:
    """Return an upright copy in L, LA, RGB or RGBA, with its profile where that still says what its numbers mean.

    Where it doesn't, as that of a CMYK image, the colours are converted to sRGB, and the profile is gone.
    """
    upright = pixels.upright(pixels.check_not_empty(image))
    profile = upright.info.get("icc_profile")
    if not profile:
        return _with_info(pixels.displayable(upright), upright)
    ready = pixels.displayable(upright)
    if _fits(profile, ready.mode):
        return _with_info(ready, upright, profile)
    return _with_info(_converted(upright, profile), upright)


def in_srgb(image: Image) -> Image:
    """Return an upright copy in L, LA, RGB or RGBA whose numbers are sRGB's: without a profile, none being needed.

    A profile that is damaged, or doesn't fit the image, says nothing: the numbers stay.
    """
    upright = pixels.upright(pixels.check_not_empty(image))
    profile = upright.info.get("icc_profile")
    return _with_info(_converted(upright, profile) if profile else pixels.displayable(upright), upright)


def alike(*images: Image) -> list[Image]:
    """Return upright copies in one mode (L, RGB or RGBA) and one colour space: that of all, or else sRGB."""
    profiles = {image.info.get("icc_profile") or None for image in images}
    ready = [paintable(image) for image in images] if len(profiles) == 1 else [in_srgb(image) for image in images]
    if len({each.info.get("icc_profile") or None for each in ready}) > 1:  # of one profile, and it fits only some
        ready = [in_srgb(image) for image in images]
    if any(pixels.has_alpha(each) for each in ready):
        mode = "RGBA"
    else:
        mode = "L" if all(each.mode == "L" for each in ready) else "RGB"
    if mode != "L" and any(_space(each) == b"GRAY" for each in ready):
        ready = [in_srgb(each) for each in ready]
    return [each if each.mode == mode else each.convert(mode) for each in ready]


def _fits(profile: bytes, mode: str) -> bool:
    """Tell whether a profile is of the mode's colour space (ICC.1:2022, table 19: bytes 16 to 19 of its header)."""
    return profile[16:20] == (b"GRAY" if mode in ("L", "LA") else b"RGB ")


def _space(image: Image) -> bytes:
    profile: bytes = image.info.get("icc_profile") or b""
    return profile[16:20]


def _converted(image: Image, profile: bytes) -> Image:
    from PIL import ImageCms

    plain = pixels.displayable(image)
    alpha = plain.convert("RGBA").getchannel("A") if pixels.has_alpha(plain) else None
    opaque = image if image.mode in ("CMYK", "LAB") else plain
    if opaque.mode in ("LA", "RGBA") or "transparency" in opaque.info:
        opaque = opaque.convert("L" if opaque.mode in ("L", "LA") else "RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if name.startswith("sRGB") and _fits(
            profile, opaque.mode
        ):  # nothing to convert, and rounding would change some
            return plain.copy()
        turned = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        context.note("icc_profile", f"left out, as it doesn't describe these pixels: {error}")
        return plain.copy()
    assert turned is not None
    context.note("icc_profile", f"colours converted from {name} to sRGB")
    if opaque.mode == "L":  # greys stay grey
        turned = turned.convert("L")
    if alpha is not None:
        turned.putalpha(alpha)
    return turned


def _with_info(image: Image, original: Image, profile: bytes | None = None) -> Image:
    """Return the image with what the original knows besides its pixels, and this profile."""
    info = {name: value for name, value in original.info.items() if name not in ("icc_profile", "transparency")}
    image.info = info | ({"icc_profile": profile} if profile else {})
    return image
