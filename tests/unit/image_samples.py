"""Pictures to try the image operations on: of every mode, size and content."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageCms

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16B", "I", "F")
BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
ORIENTATION = 0x0112
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]  # by its header
SWAPPED = (  # where red is blue, and blue is red
    SRGB.replace(b"rXYZ", b"tmp ").replace(b"bXYZ", b"rXYZ").replace(b"tmp ", b"bXYZ").replace(b"\0s\0R", b"\0S\0w")
)


def photograph(name: str) -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


def chelsea() -> Image.Image:
    with Image.open(photograph("chelsea.png")) as picture:
        picture.load()
        picture.info.clear()  # an sRGB profile, among others
        return picture


def sample(mode: str, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Return a part of a photograph in this mode, its alpha (where there is any) a ramp."""
    picture = chelsea().crop((100, 50, 292, 178)).resize(size)
    match mode:
        case "LA" | "RGBA":
            made = picture.convert(mode)
            made.putalpha(Image.linear_gradient("L").resize(size))
            return made
        case "P":
            return picture.quantize(32)
        case "PA":
            return sample("RGBA", size).convert("PA")
        case "I;16" | "I" | "F":
            kind = {"I;16": "uint16", "I": "int32", "F": "float32"}[mode]
            return Image.fromarray((np.asarray(picture.convert("L"), dtype="int32") * 200).astype(kind))
        case "I;16B":
            made = Image.new(mode, size)
            made.frombytes(np.asarray(sample("I;16", size)).astype(">u2").tobytes())
            return made
    return picture.convert(mode)


def same(left: Image.Image, right: Image.Image) -> bool:
    return (left.mode, left.size, left.tobytes(), left.getpalette()) == (
        right.mode,
        right.size,
        right.tobytes(),
        right.getpalette(),
    )


@st.composite
def images(draw: st.DrawFn, modes: tuple[str, ...] = tuple(BANDS), side: int = 24) -> Image.Image:
    """Images of any content, of 1 × 1 up to `side` × `side`."""
    mode = draw(st.sampled_from(modes))
    width, height = draw(st.integers(1, side)), draw(st.integers(1, side))
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(0, 256, width * height * BANDS[mode], dtype="uint8")
    return Image.frombytes(mode, (width, height), values.tobytes())
