"""Changing the colours of an image and leaving its alpha, its profile and its other metadata alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels

if TYPE_CHECKING:
    from PIL.Image import Image

EIGHT_BITS = ("L", "LA", "RGB", "RGBA")


def toned(image: Image, what: str, modes: tuple[str, ...] = EIGHT_BITS) -> Image:
    """Return an upright copy in a mode whose pixels are colours.

    Palettes become RGB, bilevel images grey; what can be transparent in them gets an alpha channel.

    Parameters
    ----------
    image
        As an operation gets it.
    what
        The operation's name, for the message.
    modes
        Those it can work on.

    Raises
    ------
    InvalidArguments
        If the image is of another mode: says how to convert it. Its values are nothing to guess at: of CMYK zero is
        white, of 16 bits and of floats only the caller knows what black and white are.
    """
    ready = pixels.resamplable(pixels.upright(pixels.check_not_empty(image)))
    if ready.mode not in modes:
        cure = "L" if ready.mode in ("I", "F") or ready.mode.startswith("I;") else "RGB"
        raise InvalidArguments(
            f"image: its mode is {ready.mode}, and {what} works on {', '.join(modes)}: "
            f"convert it first, with image.convert to mode='{cure}'"
        )
    return ready


def changed(ready: Image, change: Callable[[Image, Image | None], Image]) -> Image:
    """Return the image with its colours changed.

    Parameters
    ----------
    ready
        From `toned`.
    change
        Called with the image without its alpha, and its alpha or None; returns an image of the same size.
    """
    if ready.mode not in ("LA", "RGBA"):
        made = change(ready, None)
    else:
        alpha = ready.getchannel("A")
        made = change(ready.convert(ready.mode[:-1]), alpha)
        made.putalpha(alpha)
    made.info = dict(ready.info)  # some of Pillow's functions forget the profile
    return made
