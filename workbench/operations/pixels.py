"""What the image operations share: upright pixels, modes that can be resampled, sizes that are sane.

Every operation that changes an image turns it upright first, as its EXIF orientation says, so that sides, boxes and
angles mean what a viewer shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.values import decoders

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
RotateResample = Literal["nearest", "bilinear", "bicubic"]
Color = str | int | tuple[int, int, int] | tuple[int, int, int, int]

MAX_PIXELS = decoders.MAX_PIXELS
"""An output larger than this is refused: as RGB it would take 800 MB, and is a slip of the keyboard as a rule."""


def upright(image: Image) -> Image:
    """Return a copy, turned as its EXIF orientation says and without that tag; other metadata stays.

    An EXIF block that can't be parsed says nothing: the pixels stay as they are.
    """
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # what a camera wrote breaks Pillow's parser in many ways
        return image.copy()


def orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 where there is none, or none that makes sense."""
    from PIL.ExifTags import Base

    try:
        value = image.getexif().get(Base.Orientation, 1)
    except Exception:  # as above
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def resampling(name: str, what: str = "resample") -> Resampling:
    """Return Pillow's filter of this name.

    Raises
    ------
    InvalidArguments
        If there is none.
    """
    from PIL.Image import Resampling

    try:
        return Resampling[name.upper()]
    except KeyError:
        raise InvalidArguments(
            f"{what}: takes one of {', '.join(each.name.lower() for each in Resampling)}, got {name!r}"
        ) from None


def resamplable(image: Image) -> Image:
    """Return the image in a mode whose pixels can be averaged.

    Palettes become RGB, or RGBA where they hold transparency, and bilevel images grey: Pillow would fall back to the
    nearest neighbour for both. 16-bit greys get this machine's order of bytes.
    """
    match image.mode:
        case "I;16B" | "I;16L" | "I;16N":  # a TIFF's, say, which much of Pillow can't work on
            return image.convert("I").convert("I;16")
        case "P" | "PA":
            return image.convert("RGBA" if has_alpha(image) else "RGB")
        case "1":
            return image.convert("L")
        case "L" | "RGB" if "transparency" in image.info:  # one colour is transparent: it would blur into opaque ones
            return image.convert("LA" if image.mode == "L" else "RGBA")
    return image


def has_alpha(image: Image) -> bool:
    """Tell whether pixels can be transparent: by a channel, a palette, or one colour that stands for it."""
    return image.has_transparency_data


def check_size(size: tuple[int, int], what: str = "size") -> tuple[int, int]:
    """Return a size of a new image, in pixels.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number, or the image would be absurdly large.
    """
    try:
        width, height = size
    except (TypeError, ValueError):
        raise InvalidArguments(f"{what}: takes a width and a height in pixels, got {size!r}") from None
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (width, height)):
        raise InvalidArguments(f"{what}: width and height must be whole numbers of pixels above 0, got {size!r}")
    if width * height > MAX_PIXELS:
        raise InvalidArguments(
            f"{what}: {width} × {height} is {width * height / 1e6:,.0f} megapixels, and the limit is "
            f"{MAX_PIXELS // 1_000_000}: ask for a smaller image, or for tiles"
        )
    return width, height


def check_not_empty(image: Image) -> Image:
    """Return the image; raise `InvalidArguments` if it has no pixels."""
    if 0 in image.size:
        raise InvalidArguments(f"image: it is {image.width} × {image.height}, and so has no pixels")
    return image


def color(value: Any, mode: str, what: str) -> Any:
    """Return a colour as one pixel of this mode.

    A number is a grey, three of them are opaque where the mode has alpha. In 16 bits a name's grey is scaled; numbers
    there, and in 32 bits and floats, are taken as they are.

    Raises
    ------
    InvalidArguments
        If it isn't a colour.
    """
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL import ImageColor

    try:
        if isinstance(value, str):
            if mode in _NAMED:
                return ImageColor.getcolor(value, mode)
            if mode in _DEEPEST:
                return ImageColor.getcolor(value, "L") * (257 if mode == "I;16" else 1)
            return pillow.new("RGB", (1, 1), ImageColor.getrgb(value)[:3]).convert(mode).getpixel((0, 0))
        values = (value,) if isinstance(value, int) else tuple(value)
        low, high = _DEEPEST.get(mode, (0, 255))
        if all(isinstance(part, int) and low <= part <= high for part in values):
            return _pixel(values, mode)
    except (KeyError, ValueError, TypeError, AttributeError):
        pass
    raise InvalidArguments(
        f"{what}: {value!r} is not a colour of mode {mode}: take a name as in CSS ('white'), '#rrggbb', or numbers "
        f"from {' to '.join(map(str, _DEEPEST.get(mode, (0, 255))))}"
    )


_NAMED = ("L", "LA", "RGB", "RGBA", "HSV")
_DEEPEST = {"I;16": (0, 65_535), "I": (-(2**31), 2**31 - 1), "F": (-(2**31), 2**31 - 1)}


def _pixel(values: tuple[int, ...], mode: str) -> int | tuple[int, ...]:
    from PIL import Image as pillow  # noqa: N813 - as above

    bands = pillow.getmodebands(mode)
    if len(values) == 1 and mode in ("RGB", "RGBA", "LA"):
        values *= min(bands, 3) if mode != "LA" else 1
    if len(values) == bands - 1 and mode in ("RGBA", "LA"):
        values = (*values, 255)
    if len(values) != bands:
        raise ValueError("too few or too many")
    return values if bands > 1 else values[0]


def blank(mode: str) -> Any:
    """Return the pixel that is nothing: black, and transparent where there is alpha."""
    return color("black", mode, "blank") if mode in ("CMYK", "YCbCr", "LAB") else 0


def displayable(image: Image) -> Image:
    """Return the image as 8-bit grey or RGB, with alpha where it has any: what screens and most formats hold.

    16-bit grey is divided by 256. 32-bit grey and floats are kept where they fit into 0 to 255, and are stretched from
    their darkest to their brightest pixel otherwise.
    """
    match image.mode:
        case "L" | "RGB" if "transparency" not in image.info:
            return image
        case "LA" | "RGBA":
            return image
        case "1":
            return image.convert("L")
        case "La":
            return image.convert("LA")
        case "I" | "F":
            return _stretched(image)
        case mode if mode.startswith("I;16"):
            return _high_bytes(image)
        case "LAB":
            return _lab_to_rgb(image)
    return image.convert("RGBA" if has_alpha(image) else "RGB")


def _high_bytes(image: Image) -> Image:
    """Return 16-bit grey as 8-bit grey, with alpha where one grey stands for nothing: other greys look the same now."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class

    values = np.asarray(image)
    grey = pillow.fromarray((values >> 8).astype("uint8"))
    grey.info = {name: value for name, value in image.info.items() if name != "transparency"}
    if (nothing := image.info.get("transparency")) is not None:
        grey.putalpha(pillow.fromarray((values != nothing).astype("uint8") * 255))
    return grey


def _stretched(image: Image) -> Image:
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class

    values = np.asarray(image, dtype="float64")
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if low < 0 or high > 255:
        values = (values - low) * (255 / (high - low if high > low else 1))
    return pillow.fromarray(np.nan_to_num(values, nan=0, posinf=255, neginf=0).clip(0, 255).astype("uint8"))


def _lab_to_rgb(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    turned = ImageCms.applyTransform(image, transform)
    assert turned is not None
    return turned


def flattened(image: Image, background: Any) -> Image:
    """Return the image as 8-bit grey or RGB without alpha, what was transparent laid onto `background`."""
    from PIL import Image as pillow  # noqa: N813 - as above

    image = displayable(image)
    if not has_alpha(image):
        return image
    rgba = image.convert("RGBA")
    below = pillow.new("RGBA", rgba.size, background)
    flat = pillow.alpha_composite(below, rgba).convert("RGB")
    flat.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return flat


@contextlib.contextmanager
def opened(path: Path, name: str) -> Iterator[Image]:
    """Open an image file, its pixels not decoded yet.

    Parameters
    ----------
    path
        The file; it may have no telling name.
    name
        For the message, should it fail.

    Raises
    ------
    InputError
        If it isn't an image of a known format, is damaged, or too large; also while the block decodes it.
    """
    with decoders.open_image(path, name) as image, decoders.decoding(name, image.format):
        yield image
