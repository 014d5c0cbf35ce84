"""Pixels as a format can hold them: their mode, their transparency, the colour space they are meant in."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from workbench.operations import context, pixels
from workbench.operations.pictures.formats import Holds, ImageFormat

if TYPE_CHECKING:
    from PIL.Image import Image

Paper = tuple[int, int, int]


class Ready(NamedTuple):
    """An image that a format can hold, and the profile that its colours are meant in; none for sRGB."""

    image: Image
    profile: bytes = b""


def paper(background: pixels.Color) -> Paper:
    """Return the colour that is laid below transparent pixels."""
    colour = pixels.color(background, "RGB", "background")
    return (colour, colour, colour) if isinstance(colour, int) else colour


def fitted(frames: list[Image], to: ImageFormat, holds: Holds, below: Paper) -> list[Ready]:
    """Return the frames in a mode and a colour space that the format can hold; as they are where it can hold that.

    What is lost is noted in the task's record.
    """
    clear = _keeps_alpha(frames, to, holds)
    if not clear and any(map(pixels.has_alpha, frames)):
        what = "partly transparent pixels" if to == "gif" else "transparent pixels"
        context.note("alpha", f"{to} holds no {what}: they were laid on #{bytes(below).hex()}")
    ready = [_fitted(frame, to, holds, below, clear) for frame in frames]
    return ready if holds.frames != "animation" else _alike(ready)


def _keeps_alpha(frames: list[Image], to: ImageFormat, holds: Holds) -> bool:
    """Tell whether transparency stays: in all frames or in none, or some would look unlike the others."""
    if to == "gif":
        return all(_on_or_off(frame) for frame in frames if pixels.has_alpha(frame))
    return "RGBA" in holds.modes


def _on_or_off(frame: Image) -> bool:
    """Tell whether each pixel is either opaque or fully transparent, which is all that GIF knows."""
    if frame.mode == "P" and isinstance(frame.info.get("transparency"), int):
        return True
    histogram = frame.convert("RGBA").getchannel("A").histogram()
    return not any(histogram[1:255])


def _fitted(frame: Image, to: ImageFormat, holds: Holds, below: Paper, clear: bool) -> Ready:
    profile = frame.info.get("icc_profile")
    fits = _in_mode(frame, to, holds, below, clear)
    if profile is None:
        return Ready(fits)
    if holds.icc and _space(frame.mode) == _space(fits.mode) == profile[16:20]:
        return Ready(fits, profile)
    converted = _to_srgb(frame, profile)
    if converted is None:
        context.note("icc_profile", "left out: it doesn't fit the image's colours, or is damaged")
        return Ready(fits)
    reason = "holds its colours in another model" if holds.icc else "holds no profile"
    context.note("icc_profile", f"colours were converted to sRGB: {to} {reason}")
    return Ready(_in_mode(converted, to, holds, below, clear))


def _in_mode(frame: Image, to: ImageFormat, holds: Holds, below: Paper, clear: bool) -> Image:
    if not pixels.has_alpha(frame):
        if frame.mode in holds.modes:
            return frame
    elif clear:
        if frame.mode in holds.modes and (frame.mode in ("LA", "RGBA") or _has_clear_colour(frame, to)):
            return frame
        whole = pixels.displayable(frame)
        return whole if whole.mode in holds.modes else whole.convert("RGBA")
    flat = pixels.flattened(frame, below)
    return flat if flat.mode in holds.modes else flat.convert("RGB")


def _has_clear_colour(frame: Image, to: ImageFormat) -> bool:
    """Tell whether the format, too, has a colour or palette entries that stand for what is transparent."""
    return to == "png" or (to == "gif" and frame.mode == "P")


def _alike(frames: list[Ready]) -> list[Ready]:
    """Return the frames of an animation in one mode, and without palettes where these differ: a file has one."""
    images = [image for image, _ in frames]
    modes = {image.mode for image in images}
    if modes != {"P"} and len(modes) == 1:
        return frames
    if (
        len({(bytes(image.getpalette() or ()), repr(image.info.get("transparency"))) for image in images})
        == 1
        == len(modes)
    ):
        return frames
    mode = "RGBA" if any(map(pixels.has_alpha, images)) else "RGB"
    return [Ready(image if image.mode == mode else image.convert(mode), profile) for image, profile in frames]


def _space(mode: str) -> bytes:
    """Return the colour space of a mode, as profiles spell it (ICC.1:2022, table 19)."""
    return {"1": b"GRAY", "L": b"GRAY", "LA": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}.get(
        mode, b"RGB "
    )


def _to_srgb(frame: Image, profile: bytes) -> Image | None:
    """Return the frame with its colours converted to sRGB; None where the profile doesn't fit it."""
    from PIL import ImageCms

    alpha = pixels.displayable(frame).convert("RGBA").getchannel("A") if pixels.has_alpha(frame) else None
    opaque = frame if frame.mode in ("L", "RGB", "CMYK", "LAB") else pixels.displayable(frame)
    if opaque.mode in ("LA", "RGBA"):
        opaque = opaque.convert(opaque.mode[:-1])
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(opaque, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    assert converted is not None
    converted.info = {name: value for name, value in frame.info.items() if name not in ("icc_profile", "transparency")}
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
