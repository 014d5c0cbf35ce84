"""What each image format can hold, and the options that its writer takes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from workbench.core.errors import InvalidArguments

ImageFormat = Literal["png", "jpeg", "webp", "avif", "tiff", "gif", "bmp", "ico", "jp2", "pdf"]


class Holds(NamedTuple):
    """What a format can hold, as Pillow writes it. The side is the longest in pixels."""

    modes: tuple[str, ...]
    exif: bool = False
    icc: bool = False
    dpi: bool = False
    frames: Literal["", "animation", "pages"] = ""
    side: int = 2**31 - 1
    pillow: str = ""


FORMATS: dict[ImageFormat, Holds] = {
    "png": Holds(
        ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), exif=True, icc=True, dpi=True, frames="animation", pillow="PNG"
    ),
    "jpeg": Holds(("L", "RGB", "CMYK"), exif=True, icc=True, dpi=True, side=65_500, pillow="JPEG"),
    "webp": Holds(("RGB", "RGBA"), exif=True, icc=True, frames="animation", side=16_383, pillow="WEBP"),
    "avif": Holds(("L", "RGB", "RGBA"), exif=True, icc=True, frames="animation", side=65_535, pillow="AVIF"),
    "tiff": Holds(
        ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I", "I;16", "F"),
        exif=True,
        icc=True,
        dpi=True,
        frames="pages",
        pillow="TIFF",
    ),
    "gif": Holds(("1", "L", "P", "RGB", "RGBA"), frames="animation", side=65_535, pillow="GIF"),
    "bmp": Holds(("1", "L", "P", "RGB"), dpi=True, pillow="BMP"),
    "ico": Holds(("RGB", "RGBA"), pillow="ICO"),
    "jp2": Holds(("L", "LA", "RGB", "RGBA", "I;16"), pillow="JPEG2000"),
    "pdf": Holds(("1", "L", "RGB", "CMYK"), dpi=True, frames="pages", side=65_500, pillow="PDF"),
}


class Wanted(NamedTuple):
    """The options of a conversion, by the names of `convert.image`; None where they weren't given."""

    quality: int | None = None
    lossless: bool | None = None
    speed: int | None = None
    method: int | None = None
    progressive: bool | None = None
    optimize: bool | None = None
    sizes: list[tuple[int, int]] | None = None
    duration: int | None = None
    loop: int | None = None


_TAKEN_BY: dict[str, tuple[ImageFormat, ...]] = {
    "quality": ("jpeg", "webp", "avif", "jp2", "pdf"),
    "lossless": ("webp", "jp2", "png", "tiff", "bmp"),  # the last three can't do otherwise
    "speed": ("avif",),
    "method": ("webp",),
    "progressive": ("jpeg",),
    "optimize": ("jpeg", "png", "gif"),
    "sizes": ("ico",),
    "duration": ("gif", "webp", "png", "avif"),
    "loop": ("gif", "webp", "png"),
}
_RANGES = {"quality": (1, 100), "speed": (0, 10), "method": (0, 6), "duration": (1, 65_535), "loop": (0, 65_535)}
_QUALITY: dict[ImageFormat, int] = {"jpeg": 85, "webp": 85, "avif": 75, "pdf": 85}


def holds(to: str) -> Holds:
    """Return what a format can hold; raise `InvalidArguments` if there is none of this name."""
    if to not in FORMATS:
        raise InvalidArguments(f"to: takes one of {', '.join(FORMATS)}, got {to!r}")
    return FORMATS[to]


def writer_options(to: ImageFormat, wanted: Wanted) -> dict[str, Any]:
    """Return the options of Pillow's writer.

    Raises
    ------
    InvalidArguments
        If the format has no such option, or its value makes no sense.
    """
    for name, value in wanted._asdict().items():
        if value is not None and value is not False:
            _check(to, name, value)
    if wanted.lossless and wanted.quality is not None:
        raise InvalidArguments("quality: without loss there is none to choose; leave out one of quality and lossless")
    options: dict[str, Any] = {}
    if to == "jp2":
        if wanted.quality is not None:
            options |= {"quality_mode": "dB", "quality_layers": [wanted.quality], "irreversible": True}
    elif wanted.lossless and to == "webp":
        options["lossless"] = True
    elif to in _QUALITY:
        options["quality"] = _QUALITY[to] if wanted.quality is None else wanted.quality
    for name in ("speed", "method", "sizes"):
        if (value := getattr(wanted, name)) is not None:
            options[name] = [tuple(size) for size in value] if name == "sizes" else value
    for name in ("progressive", "optimize"):
        if getattr(wanted, name):
            options[name] = True
    return options


def _check(to: ImageFormat, name: str, value: Any) -> None:
    if to not in _TAKEN_BY[name]:
        raise InvalidArguments(f"{name}: {to} has no such option; it is for {', '.join(_TAKEN_BY[name])}")
    if name in _RANGES:
        low, high = _RANGES[name]
        if not low <= value <= high:
            raise InvalidArguments(f"{name}: takes {low} to {high:,}, got {value}")
    if name == "sizes" and not (value and all(len(size) == 2 and 1 <= min(size) <= max(size) <= 256 for size in value)):
        raise InvalidArguments(
            f"sizes: takes widths and heights from 1 to 256, such as [(16, 16), (32, 32)]; got {value}"
        )
