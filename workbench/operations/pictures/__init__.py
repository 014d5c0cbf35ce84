"""Images into files: the mode, the metadata and the frames that each format can hold."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import context, pixels
from workbench.operations.pictures import beside, colours, formats, frames, tiffs
from workbench.operations.pictures.colours import Ready
from workbench.operations.pictures.formats import Holds
from workbench.operations.pictures.formats import ImageFormat as ImageFormat
from workbench.operations.pictures.formats import Wanted as Wanted

if TYPE_CHECKING:
    from PIL.Image import Image

    from workbench.values.refs import FileRef


def convert(
    image: FileRef | Image, to: ImageFormat, wanted: Wanted, *, background: pixels.Color, output: context.Output
) -> Path:
    """Write an image in another format: see `convert.image`."""
    holds = formats.holds(to)
    options = formats.writer_options(to, wanted)
    paper = colours.paper(background)
    with frames.opened(image) as source:
        many = source.several and holds.frames != ""
        if source.several and not many:
            context.note("frames", f"the first one was taken: {to} holds no more")
        straight: list[Image] = []
        durations: list[int] = []
        for frame in frames.frames_of(source, everything=many):
            if not straight:
                options |= beside.metadata(frame, to, holds)
            durations.append(frames.duration_of(frame))
            turned = _upright(frame)
            # A writer would go through all frames of an image that has several, which is the same object for each.
            straight.append(turned.copy() if source.several and turned is frame else turned)
        for each in straight:
            _check_side(each, to, holds)
        if many and holds.frames == "animation":
            frames.check_alike(straight, to)
            options |= frames.timing(source, durations, to, wanted)
        ready = colours.fitted(straight, to, holds, paper)
        return context.write_file(
            f"{source.stem}.{to}",
            output,
            lambda part: _save(ready, part, to, options, source.stem),
        )


def document(
    images: Sequence[FileRef | Image],
    to: Literal["pdf", "tiff"],
    *,
    background: pixels.Color,
    resolution: float,
    quality: int | None,
    output: context.Output,
) -> Path:
    """Write images as the pages of one file: see `convert.pages`."""
    if not images:
        raise InvalidArguments("images: takes at least one image")
    if to not in ("pdf", "tiff"):
        raise InvalidArguments(f"to: takes pdf or tiff, got {to!r}")
    if not resolution > 0:
        raise InvalidArguments(f"resolution: takes pixels to the inch, above zero, got {resolution}")
    holds = formats.holds(to)._replace(modes=("1", "L", "RGB", "CMYK"))
    options = formats.writer_options(to, Wanted(quality=quality))
    options["dpi"] = (resolution, resolution)
    stem = ""
    straight = []
    for image in images:
        with frames.opened(image) as source:
            stem = stem or source.stem
            first = next(frames.frames_of(source, everything=False))
            straight.append(pixels.upright(first))  # a copy, without further frames
    for each in straight:
        _check_side(each, to, holds)
    pages = colours.fitted(straight, to, holds, colours.paper(background))
    return context.write_file(f"{stem}.{to}", output, lambda part: _save(pages, part, to, options, stem))


def _upright(image: Image) -> Image:
    """Return the image turned as its EXIF orientation says: itself, not a copy, if it stands upright."""
    return image if pixels.orientation(image) == 1 else pixels.upright(image)


def _check_side(frame: Image, to: str, holds: Holds) -> None:
    if max(frame.size) > holds.side:
        raise InvalidArguments(
            f"image: it is {frame.width} × {frame.height}, and {to} holds at most {holds.side:,} pixels a side: "
            "resize it first, or choose png or tiff"
        )


def _save(ready: list[Ready], path: Path, to: ImageFormat, options: dict[str, Any], stem: str) -> None:
    images = [image for image, _ in ready]
    first, *rest = images
    exif = b""
    match to:
        case "pdf":
            from PIL import PdfImagePlugin  # noqa: F401 - or Pillow would load all of its plugins to find it

            first, *rest = _same_options(images, options)
            options["title"] = stem
        case "tiff":
            first, *rest = [_page(*each) for each in ready]
            exif = options.get("exif", b"")
            options = {name: value for name, value in options.items() if name != "exif"}
        case "ico":
            _check_sizes(first, options)
            first = _without_profile(first)
        case _ if formats.FORMATS[to].icc:  # in any case, or writers would take over what the image still knows
            options = {**options, "icc_profile": ready[0].profile}
    if rest:
        options = {**options, "save_all": True, "append_images": rest}
    try:
        first.save(path, formats.FORMATS[to].pillow, **options)
        if exif:
            tiffs.put_exif(path, exif)
    except (ValueError, KeyError, TypeError, SystemError, RuntimeError, OSError, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's
        raise InvalidArguments(f"image: it can't be written as {to}: {error}") from error


def _same_options(pages: list[Image], options: dict[str, Any]) -> list[Image]:
    """Return the pages of a PDF so that they can be written alike: Pillow's fax images take no quality, JPEGs do."""
    if all(page.mode == "1" for page in pages):
        options.pop("quality", None)
        return pages
    return [page.convert("L") if page.mode == "1" else page for page in pages]


def _page(image: Image, profile: bytes) -> Image:
    """Return a page of a TIFF with its own compression and profile, and without the tags of the TIFF it came from."""
    page = image.copy()
    page.encoderinfo = {"icc_profile": profile}
    if page.mode not in ("YCbCr", "LAB", "F", "I"):
        page.encoderinfo["compression"] = "tiff_adobe_deflate"
    return page


def _without_profile(image: Image) -> Image:
    if "icc_profile" not in image.info:
        return image
    bare = image.copy()
    del bare.info["icc_profile"]
    return bare


def _check_sizes(image: Image, options: dict[str, Any]) -> None:
    for width, height in options.get("sizes", ()):
        if width > image.width or height > image.height:
            raise InvalidArguments(
                f"sizes: {width} × {height} is larger than the image, which is {image.width} × {image.height}: "
                "icons are made smaller, never larger"
            )
