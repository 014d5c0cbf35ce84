"""Image operations that change how pixels are stored: modes and palettes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels, profiles, tones
from workbench.operations.pixels import Color
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"]
Dithering = Literal["none", "floydsteinberg"]
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F")
_WITH_ALPHA = ("LA", "PA", "RGBA", "P")
_NUMBERS = ("I;16", "I", "F")  # modes whose pixels may be any number
_BRIGHTEST = 65_535  # of 16 bits


@operation("image.convert")
def convert(
    image: Image,
    mode: Mode,
    *,
    background: Color = "white",
    dither: Dithering = "floydsteinberg",
    palette: Literal["web", "adaptive"] = "web",
    colors: int = 256,
) -> Image:
    """Convert an image to another mode. To another file format: `convert.image`.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. One of this mode already stays as it is otherwise.
    mode
        As in Pillow. 16-bit greys (`I;16`) are scaled to and from 8 bits, where Pillow would clip them; 32-bit greys
        and floats (`I`, `F`) keep their values among `I;16`, `I` and `F`, and are stretched from their darkest to their
        brightest pixel otherwise, if they don't fit into 0 to 255.
    background
        What transparent pixels are laid onto if the mode holds no alpha.
    dither
        How colours that `1` or the web palette don't have are approached.
    palette
        Of `P`: `web` for its fixed 216 colours, `adaptive` for those that suit the image. Transparent images always
        get the latter, as in Pillow.
    colors
        Size of an adaptive palette, 2 to 256.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.convert` makes it. An ICC profile stays where it is of the new mode's colour space;
        otherwise the colours are converted to sRGB first.

    Raises
    ------
    InvalidArguments
        If an argument isn't one of these, or numbers don't fit into 16 bits.

    Examples
    --------
    >>> from PIL import Image
    >>> glass = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
    >>> convert(glass, "RGB", background="#102030").getpixel((0, 0))
    (16, 32, 48)
    """
    from PIL.Image import Dither, Palette

    if mode not in _MODES:
        raise InvalidArguments(f"mode: takes one of {', '.join(_MODES)}, got {mode!r}")
    if not 2 <= colors <= 256:
        raise InvalidArguments(f"colors: takes 2 to 256, got {colors}")
    dithering = _named(Dither, dither, "dither")
    chosen = _named(Palette, palette, "palette")
    paper = pixels.color(background, "RGB", "background")
    upright = pixels.upright(pixels.check_not_empty(image))
    if upright.mode.startswith("I;16"):
        upright = pixels.resamplable(upright)  # in this machine's order of bytes
    if upright.mode == mode:
        return upright
    if upright.mode in _NUMBERS and mode in _NUMBERS:
        return _between_numbers(upright, mode)
    ready = _prepared(profiles.ready_for(upright, mode), mode, paper)
    if mode == "I;16":
        return _widened(ready)
    if ready.mode == mode:
        return ready
    if mode == "P" and palette == "adaptive" and ready.mode not in ("L", "RGB", "RGBA"):
        ready = ready.convert("RGB")  # Pillow chooses colours among these alone
    made = ready.convert(mode, dither=dithering, palette=chosen, colors=colors)
    made.info = {name: value for name, value in ready.info.items() if name != "transparency"}
    return made


def _named(kind: Any, name: str, what: str) -> Any:
    names = [each.lower() for each in kind.__members__ if each not in ("ORDERED", "RASTERIZE")]  # Pillow has no code
    if name not in names:
        raise InvalidArguments(f"{what}: takes one of {', '.join(names)}, got {name!r}")
    return kind[name.upper()]


def _prepared(image: Image, mode: str, paper: tuple[int, int, int]) -> Image:
    """Return the image in a mode that Pillow converts to `mode` without losing alpha or clipping numbers."""
    if mode in _WITH_ALPHA and pixels.has_alpha(image):
        shown = pixels.displayable(image)
        return shown if mode == "LA" or shown.mode == "RGBA" else shown.convert("RGBA")
    if pixels.has_alpha(image):
        return pixels.flattened(image, paper)
    if image.mode in (*_NUMBERS, "LAB"):
        return pixels.displayable(image)
    return image


def _widened(image: Image) -> Image:
    """Return an 8-bit image as 16-bit grey: 255 becomes 65535."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class

    grey = image.convert("L")
    wide = pillow.fromarray(np.asarray(grey, dtype="uint16") * (_BRIGHTEST // 255))
    wide.info = dict(grey.info)
    return wide


def _between_numbers(image: Image, mode: str) -> Image:
    if mode == "I;16":
        low, high = cast("tuple[float, float]", image.getextrema())
        if not (0 <= low <= high <= _BRIGHTEST):
            raise InvalidArguments(
                f"image: its pixels go from {low} to {high}, and I;16 holds 0 to {_BRIGHTEST}: scale them first, or "
                "convert to L, which stretches them from the darkest to the brightest"
            )
        return image.convert("I").convert(mode)  # from floats at once Pillow would clip to 8 bits
    return image.convert(mode)


@operation("image.quantize")
def quantize(
    image: Image,
    colors: int = 256,
    *,
    method: Literal["mediancut", "maxcoverage", "fastoctree", "libimagequant"] | None = None,
    kmeans: int = 0,
    palette: Image | None = None,
    dither: Dithering = "floydsteinberg",
) -> Image:
    """Reduce an image to a palette of few colours.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Bilevel, grey, RGB or a palette, with or without
        alpha.
    colors
        How many at most, 1 to 256.
    method
        How they are chosen, as in Pillow; if None, `mediancut`, and `fastoctree` where there is alpha. Some
        installations of Pillow are without `libimagequant`.
    kmeans
        0 takes the method's choice. From 1 on k-means improves it, until nothing changes (1), or little (more).
    palette
        An image of mode `P` whose colours to use, instead of chosen ones.
    dither
        How colours that `palette` doesn't have are approached. Chosen colours are never dithered.

    Returns
    -------
    PIL.Image.Image
        A palette (`P`), as `PIL.Image.Image.quantize` makes it. Alpha is part of the palette. An ICC profile of
        RGB stays; greys with a profile are converted to sRGB.

    Raises
    ------
    InvalidArguments
        If an argument isn't one of these, or the method can't do with alpha.

    Examples
    --------
    >>> from PIL import Image
    >>> few = quantize(Image.linear_gradient("L"), 4)
    >>> few.mode, len(few.getcolors())
    ('P', 4)
    """
    from PIL.Image import Dither, Quantize

    if not 1 <= colors <= 256:
        raise InvalidArguments(f"colors: takes 1 to 256, got {colors}")
    if not 0 <= kmeans < 2**31:
        raise InvalidArguments(f"kmeans: takes a whole number from 0, got {kmeans}")
    dithering = _named(Dither, dither, "dither")
    chosen = None if method is None else _named(Quantize, method, "method")
    ready = profiles.ready_for(tones.toned(image, "image.quantize"), "P")
    ready = ready.convert("RGBA") if ready.mode == "LA" else ready
    if palette is not None:
        return _to_palette(ready, palette, dithering)
    if ready.mode == "RGBA" and method in ("mediancut", "maxcoverage"):
        raise InvalidArguments(
            f"method: {method} can't do with alpha: take 'fastoctree', or lay the image onto a background first, with "
            "image.convert to mode='RGB'"
        )
    try:
        return ready.quantize(colors, chosen, kmeans)
    except ValueError as error:
        raise InvalidArguments(f"method: Pillow here is without {method}: {error}. Take 'fastoctree'") from error


def _to_palette(ready: Image, palette: Image, dither: Any) -> Image:
    if palette.mode != "P":
        raise InvalidArguments(
            f"palette: takes an image of mode P, got one of {palette.mode}: image.quantize makes one"
        )
    if ready.mode == "RGBA":
        raise InvalidArguments(
            "image: a given palette has no alpha: lay the image onto a background first, with image.convert to "
            "mode='RGB'"
        )
    return ready.quantize(palette=palette, dither=dither)
