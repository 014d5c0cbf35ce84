"""Images into files: the mode, the metadata and the frames that each format can hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels

if TYPE_CHECKING:
    from PIL.Image import Image

    from workbench.values.refs import FileRef

ImageFormat = Literal["png", "jpeg", "webp", "tiff", "gif", "bmp"]


class _Holds(NamedTuple):
    """What a format can hold. The side is the longest in pixels."""

    modes: tuple[str, ...]
    exif: bool = False
    icc: bool = False
    dpi: bool = False
    frames: bool = False
    quality: bool = False
    side: int = 2**31 - 1


_FORMATS: dict[ImageFormat, _Holds] = {
    "png": _Holds(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), exif=True, icc=True, dpi=True, frames=True),
    "jpeg": _Holds(("L", "RGB", "CMYK"), exif=True, icc=True, dpi=True, quality=True, side=65_500),
    "webp": _Holds(("RGB", "RGBA"), exif=True, icc=True, frames=True, quality=True, side=16_383),
    "tiff": _Holds(
        ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I", "I;16", "F"),
        exif=True,
        icc=True,
        dpi=True,
        frames=True,
    ),
    "gif": _Holds(("1", "L", "P", "RGB", "RGBA"), frames=True, side=65_535),
    "bmp": _Holds(("1", "L", "P", "RGB"), dpi=True),
}
_QUALITY = 85


def convert(
    image: FileRef | Image, to: ImageFormat, *, quality: int | None, background: pixels.Color, output: str | None
) -> Path:
    """Write an image in another format: see `convert.image`."""
    if to not in _FORMATS:
        raise InvalidArguments(f"to: takes one of {', '.join(_FORMATS)}, got {to!r}")
    holds = _FORMATS[to]
    options: dict[str, Any] = {}
    if quality is not None:
        if not holds.quality:
            raise InvalidArguments(f"quality: {to} is without loss; it is for jpeg and webp")
        if not 1 <= quality <= 100:
            raise InvalidArguments(f"quality: takes 1 to 100, got {quality}")
    if holds.quality:
        options["quality"] = quality or _QUALITY
    paper = pixels.color(background, "RGB", "background")
    paper = (paper, paper, paper) if isinstance(paper, int) else paper
    with _opened(image) as (picture, stem):
        frames = _frames(picture, holds)
        for frame in frames:
            _check_side(frame, to, holds)
        ready = [_fitted(frame, to, holds, paper) for frame in frames]
        options |= _metadata(picture, ready[0], holds) | _animation(frames, to)
        return context.write_file(f"{stem}.{to}", output, lambda part: _save(ready, part, to, options))


@contextlib.contextmanager
def _opened(image: FileRef | Image) -> Iterator[tuple[Image, str]]:
    """Yield the image and the stem of its file's name."""
    from PIL.Image import Image as PillowImage

    if isinstance(image, PillowImage):
        yield image, Path(getattr(image, "filename", "") or "image").stem
        return
    path = context.input_path(image)
    name = getattr(image, "name", path.name)
    with pixels.opened(path, name) as picture:
        try:
            picture.load()
        except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError) as error:
            raise InputError(f"{name} can't be read as {picture.format}: {error}. Get the file again") from error
        yield picture, Path(name).stem or "image"


def _frames(image: Image, holds: _Holds) -> list[Image]:
    """Return the frames to write, each upright."""
    from PIL import ImageSequence

    pixels.check_not_empty(image)
    count = getattr(image, "n_frames", 1) if holds.frames else 1
    if count == 1:
        return [pixels.upright(image)]
    if count * image.width * image.height > pixels.MAX_PIXELS:
        raise InvalidArguments(
            f"image: its {count} frames are {count * image.width * image.height / 1e6:,.0f} megapixels together, and "
            f"the limit is {pixels.MAX_PIXELS // 1_000_000}: pass fewer of them"
        )
    frames = []
    for frame in ImageSequence.Iterator(image):
        upright = pixels.upright(frame)
        upright.info["duration"] = frame.info.get("duration", 0)
        frames.append(upright)
    return frames


def _check_side(frame: Image, to: str, holds: _Holds) -> None:
    if max(frame.size) > holds.side:
        raise InvalidArguments(
            f"image: it is {frame.width} × {frame.height}, and {to} holds at most {holds.side:,} pixels a side: "
            "resize it first, or choose png or tiff"
        )


# --- pixels -----------------------------------------------------------------------------------------


def _fitted(frame: Image, to: ImageFormat, holds: _Holds, paper: tuple[int, int, int]) -> Image:
    """Return the frame in a mode and a colour space that the format can hold."""
    fitted = _in_mode(frame, to, holds, paper)
    profile = frame.info.get("icc_profile")
    if profile is None:
        return fitted
    if holds.icc and _space(frame.mode) == _space(fitted.mode) == profile[16:20]:
        fitted.info["icc_profile"] = profile
        return fitted
    converted = _in_mode(_to_srgb(frame, profile), to, holds, paper)
    converted.info.pop("icc_profile", None)
    return converted


def _in_mode(frame: Image, to: ImageFormat, holds: _Holds, paper: tuple[int, int, int]) -> Image:
    transparent = pixels.has_alpha(frame)
    if not transparent and frame.mode in holds.modes:
        return frame
    if transparent and to != "bmp" and frame.mode in holds.modes and (to != "gif" or _on_or_off(frame)):
        return frame  # PNG and GIF also hold a palette or a colour that is transparent
    if transparent and "RGBA" in holds.modes and (to != "gif" or _on_or_off(frame)):
        return pixels.displayable(frame).convert("RGBA")
    flat = pixels.flattened(frame, paper)
    if flat.mode in holds.modes:
        return flat
    return flat.convert("RGB")


def _on_or_off(frame: Image) -> bool:
    """Tell whether each pixel is either opaque or fully transparent, which is all that GIF knows."""
    histogram = frame.convert("RGBA").getchannel("A").histogram()
    return not any(histogram[1:255])


def _space(mode: str) -> bytes:
    """Return the colour space of a mode, as profiles spell it (ICC.1:2022, table 19)."""
    return {"1": b"GRAY", "L": b"GRAY", "LA": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}.get(
        mode, b"RGB "
    )


def _to_srgb(frame: Image, profile: bytes) -> Image:
    """Return the frame with its colours converted to sRGB; as it is where the profile doesn't fit it."""
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
        return frame
    assert converted is not None
    converted.info = {name: value for name, value in frame.info.items() if name not in ("icc_profile", "transparency")}
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


# --- beside the pixels --------------------------------------------------------------------------------


def _metadata(original: Image, image: Image, holds: _Holds) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if holds.icc and image.info.get("icc_profile"):
        found["icc_profile"] = image.info["icc_profile"]
    if holds.dpi and (dpi := _dpi(image)):
        found["dpi"] = dpi
    if holds.exif and (exif := _exif(original)):
        found["exif"] = exif
    return found


def _dpi(image: Image) -> tuple[float, float] | None:
    with contextlib.suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
        horizontal, vertical = (float(part) for part in image.info["dpi"])
        if 0 < horizontal < 1e6 and 0 < vertical < 1e6:
            return horizontal, vertical
    return None


_LAYOUT = frozenset(  # of a TIFF file itself: how its pixels lie there, which is the writer's to say
    {
        254,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        274,
        277,
        278,
        279,
        284,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        347,
        530,
        531,
    }
)


def _exif(image: Image) -> bytes | None:
    """Return the EXIF block without the orientation, which the pixels have followed."""
    from PIL.Image import Exif

    try:
        exif = Exif()
        exif.load(image.getexif().tobytes())  # a copy: the image stays as it is
        for tag in _LAYOUT.intersection(exif):
            del exif[tag]
        return exif.tobytes() if len(exif) else None
    except Exception:  # what a camera wrote breaks Pillow's parser in many ways
        return None


def _animation(frames: list[Image], to: ImageFormat) -> dict[str, Any]:
    if len(frames) == 1 or to == "tiff":
        return {}
    loop = frames[0].info.get("loop")
    timing: dict[str, Any] = {"duration": [int(frame.info.get("duration", 0)) for frame in frames]}
    if loop is not None:
        timing["loop"] = loop
    if to == "gif":
        timing["disposal"] = 2
    return timing


def _save(frames: list[Image], path: Path, to: ImageFormat, options: dict[str, Any]) -> None:
    first, *rest = frames
    if rest:
        options = {**options, "save_all": True, "append_images": rest}
    if to == "tiff" and first.mode not in ("YCbCr", "LAB", "F", "I"):
        options["compression"] = "tiff_adobe_deflate"
    first.encoderinfo = {}
    first.info.pop("exif", None)  # only what is given counts
    try:
        first.save(path, to.upper(), **options)
    except (ValueError, KeyError, TypeError, SystemError) as error:
        raise InvalidArguments(f"image: it can't be written as {to}: {error}") from error


def document(
    images: list[Image],
    to: Literal["pdf", "tiff"],
    *,
    background: pixels.Color,
    resolution: float,
    output: str | None,
) -> Path:
    """Write images as the pages of one file: see `convert.pages`."""
    if not images:
        raise InvalidArguments("images: takes at least one image")
    if not resolution > 0:
        raise InvalidArguments(f"resolution: takes pixels to the inch, above zero, got {resolution}")
    paper = pixels.color(background, "RGB", "background")
    first, *others = [pixels.flattened(pixels.upright(image), paper).convert("RGB") for image in images]
    stem = Path(getattr(images[0], "filename", "") or "image").stem

    def write(part: Path) -> None:
        options: dict[str, Any] = {"resolution": resolution} if to == "pdf" else {"dpi": (resolution, resolution)}
        first.save(part, format=to.upper(), save_all=True, append_images=others, **options)

    return context.write_file(f"{stem}.{to}", output, write)
