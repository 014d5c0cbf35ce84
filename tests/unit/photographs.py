"""Photographs that come with scikit-image, and what tests ask of pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from PIL import Image, ImageChops

ORIENTATION = 0x0112


def photograph(name: str) -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


def loaded(name: str) -> Image.Image:
    with Image.open(photograph(name)) as picture:
        picture.load()
        return picture


def same(left: Image.Image, right: Image.Image) -> bool:
    return (left.mode, left.size) == (right.mode, right.size) and left.tobytes() == right.tobytes()


def furthest(left: Image.Image, right: Image.Image) -> int:
    """Return the largest difference of two pixels' channels."""
    assert (left.mode, left.size) == (right.mode, right.size)
    extrema = ImageChops.difference(left, right).getextrema()
    return int(max(high for _, high in (extrema if isinstance(extrema[0], tuple) else [extrema])))  # type: ignore[misc]
