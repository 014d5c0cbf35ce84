"""Pixels as a format can hold them: their mode, their transparency, the colour space they are meant in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from workbench.operations import context, pixels, profiles
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
    colour: Paper = pixels.color(background, "RGB", "background")
    return colour


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
    if holds.icc and profiles.fits(profile, frame.mode, fits.mode):
        return Ready(fits, profile)
    reason = "holds its colours in another model" if holds.icc else "holds no profile"
    converted = profiles.converted(frame, profile, f"{to} {reason}")
    return Ready(fits if converted is None else _in_mode(converted, to, holds, below, clear))


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
