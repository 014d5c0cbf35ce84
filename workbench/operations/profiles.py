"""ICC profiles: kept where they say what the new numbers mean, otherwise the colours are converted to sRGB.

Which of these happened is noted in the attempt's record: nothing in silence.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from workbench.operations import context, pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_SPACES = {"1": b"GRAY", "L": b"GRAY", "LA": b"GRAY", "I": b"GRAY", "F": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}


def fits(profile: bytes, *modes: str) -> bool:
    """Tell whether a profile is of these modes' colour space (ICC.1:2022, table 19: bytes 16 to 19 of its header)."""
    return all(profile[16:20] == _space(mode) for mode in modes)


def _space(mode: str) -> bytes:
    return b"GRAY" if mode.startswith("I;") else _SPACES.get(mode, b"RGB ")


# --- for a mode ---------------------------------------------------------------------------------------


def ready_for(image: Image, mode: str) -> Image:
    """Return the image so that it can be converted to another mode and no profile ends up on pixels it isn't of.

    Without a profile, or with one of both modes' colour space, it stays as it is. Otherwise its colours are
    converted to sRGB, whose values are what Pillow's own conversions take pixels for.
    """
    profile = image.info.get("icc_profile")
    if not profile or fits(profile, image.mode, mode):
        return image
    made = converted(image, profile)
    if made is None:
        made = image.copy()
        del made.info["icc_profile"]
    return made


def converted(image: Image, profile: bytes, reason: str = "") -> Image | None:
    """Return the image as RGB or RGBA, its colours converted from a profile to sRGB, and without the profile.

    Parameters
    ----------
    image
        Of any mode.
    profile
        What its numbers mean.
    reason
        Why it can't be kept, for the note.

    Returns
    -------
    PIL.Image.Image or None
        None where the pixels can stay as they are: they are of sRGB already, or the profile can't be read, or isn't of
        the image's colour space, and so says nothing about them.
    """
    from PIL import ImageCms

    known = image.mode in ("L", "RGB", "CMYK", "LAB") and not pixels.has_alpha(image)  # to the colour management
    shown = image if known else pixels.displayable(image)
    alpha = shown.getchannel("A") if shown.mode in ("LA", "RGBA") else None
    opaque = shown.convert(shown.mode[:-1]) if alpha is not None else shown
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if name.startswith("sRGB") and profile[16:20] == _space(image.mode) == b"RGB ":
            context.note("icc_profile", "left out, as it is sRGB's")  # to convert them would round some
            return None
        made = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        context.note("icc_profile", f"left out, as it doesn't describe these pixels: {error}")
        return None
    assert made is not None
    context.note("icc_profile", f"colours converted from {name} to sRGB" + (f": {reason}" if reason else ""))
    made.info = {key: value for key, value in image.info.items() if key not in ("icc_profile", "transparency")}
    if alpha is not None:
        made.putalpha(alpha)
    return made


# --- where images meet, or are told in numbers ----------------------------------------------------------


def paintable(image: Image) -> Image:
    """Return an upright copy in L, LA, RGB or RGBA, with its profile where that still says what its numbers mean.

    Where it doesn't, as that of a CMYK image, the colours are converted to sRGB, and the profile is gone.
    """
    upright = pixels.upright(pixels.check_not_empty(image))
    profile = upright.info.get("icc_profile")
    shown = pixels.displayable(upright)
    if profile and not fits(profile, shown.mode):
        return _shown_in_srgb(upright)
    return _with_info(shown, upright, profile)


def in_srgb(image: Image) -> Image:
    """Return an upright copy in L, LA, RGB or RGBA whose numbers are sRGB's: without a profile, none being needed.

    A profile that is damaged, or doesn't fit the image, says nothing: the numbers stay.
    """
    return _shown_in_srgb(pixels.upright(pixels.check_not_empty(image)))


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
    if mode != "L" and any(fits(each.info.get("icc_profile", b""), "L") for each in ready):
        ready = [in_srgb(each) for each in ready]
    return [each if each.mode == mode else each.convert(mode) for each in ready]


def _shown_in_srgb(upright: Image) -> Image:
    profile = upright.info.get("icc_profile")
    shown = pixels.displayable(upright)
    made = converted(upright, profile) if profile else None
    if made is None:
        return _with_info(shown, upright)
    return _with_info(made.convert(shown.mode) if shown.mode in ("L", "LA") else made, upright)  # greys stay grey


def _with_info(image: Image, original: Image, profile: bytes | None = None) -> Image:
    """Return the image with what the original knows besides its pixels, and this profile."""
    info = {name: value for name, value in original.info.items() if name not in ("icc_profile", "transparency")}
    image.info = info | ({"icc_profile": profile} if profile else {})
    return image
