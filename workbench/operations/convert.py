"""Conversions of files. Tables are streamed block by block and never loaded whole; targets are complete or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import context, streams
from workbench.operations.registry import operation
from workbench.values.refs import FileRef, OutputPath

if TYPE_CHECKING:
    from PIL.Image import Image

TableFormat = Literal["csv", "jsonl", "parquet", "feather"]
ImageFormat = Literal["png", "jpeg", "webp", "tiff", "gif", "bmp"]


@operation("convert.table")
def table(
    source: FileRef,
    to: TableFormat,
    *,
    output: OutputPath | None = None,
    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] | None = None,
    delimiter: str = ",",
    column_types: dict[str, str] | None = None,
) -> Path:
    """Convert a table from one file format into another, block by block.

    Parameters
    ----------
    source
        A `.csv`, `.tsv`, `.jsonl` (each also with `.gz`), `.parquet`, or `.feather`/`.arrow` file. Text is UTF-8.
    to
        The target's format. Feather is the Arrow file format, version 2.
    output
        Where to write it, below a shared root; None to hand the file back, named as the source with another extension.
    compression
        Of a Parquet file (zstd by default) or a Feather file (lz4 by default; lz4, zstd or none).
    delimiter
        Between the fields of a CSV source and of a CSV target; a `.tsv` source has tabs.
    column_types
        Arrow types for columns of a text source, such as `{"zip": "string"}`; the others are inferred. A column whose
        later blocks contradict its first is read again as a wider type: whole numbers, numbers, text.

    Returns
    -------
    pathlib.Path
        The file. Empty CSV fields and JSON nulls become nulls, and nulls empty fields; times keep their zone, in CSV
        and JSON as ISO 8601 text.

    Raises
    ------
    InputError
        If the source is damaged: names the file and, where it is text, the line.
    InvalidArguments
        If an option makes no sense, or a CSV is asked for with a column of lists or structs.

    Examples
    --------
    >>> import tempfile
    >>> source = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = source.write_text("x,y\\n1,2\\n")
    >>> table(FileRef(str(source), "a.csv"), "parquet").name
    'a.parquet'
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise InvalidArguments(f"delimiter takes one character other than a quote or a line's end, got {delimiter!r}")
    name = f"{_stem(source.name)}.{to}"
    with _target(name, output) as (target, draft):
        streams.convert(source, draft, to, compression=compression, delimiter=delimiter, column_types=column_types)
    return target


@operation("convert.image")
def image(
    image: Image,
    to: ImageFormat,
    *,
    quality: int = 85,
    background: str = "white",
    output: OutputPath | None = None,
) -> Path:
    """Convert an image into another file format.

    Parameters
    ----------
    image
        A file of any known format, or an image; of an animation the first frame.
    to
        The target's format.
    quality
        Of a JPEG or WebP, from 1 to 100.
    background
        What transparent parts show where the target has no transparency (JPEG, BMP), by name or as `"#rrggbb"`.
    output
        Where to write it, below a shared root; None to hand the file back.

    Returns
    -------
    pathlib.Path
        The file. EXIF data (with its orientation) and the ICC profile are kept in PNG, JPEG, WebP and TIFF. GIF and
        BMP can't hold them: the image is set upright, and its colours are converted to sRGB.

    Raises
    ------
    InvalidArguments
        If the quality or the colour makes no sense.

    Examples
    --------
    >>> from PIL import Image
    >>> image(Image.new("RGB", (4, 3)), "png").name
    'image.png'
    """
    if not 1 <= quality <= 100:
        raise InvalidArguments(f"quality takes a number from 1 to 100, got {quality}")
    keeps = to in ("png", "jpeg", "webp", "tiff")
    extra: dict[str, Any] = {}
    if keeps:
        if len(exif := image.getexif()):
            extra["exif"] = exif.tobytes()
        if profile := image.info.get("icc_profile"):
            extra["icc_profile"] = profile
    if to in ("jpeg", "webp"):
        extra["quality"] = quality
    ready = _in_mode(image if keeps else _plain(image), to, background)
    with _target(f"{_stem(getattr(image, 'filename', '') or 'image')}.{to}", output) as (target, draft):
        ready.save(draft, format=to.upper(), **extra)
    return target


_MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "tiff": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"),
    "gif": ("1", "L", "P", "RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
}
_TRANSPARENT = ("png", "webp", "tiff", "gif")


def _plain(image: Image) -> Image:
    """Return an image that needs neither its orientation tag nor its colour profile."""
    import io

    from PIL import ImageCms, ImageOps

    upright = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    if profile and upright.mode in ("RGB", "L", "CMYK"):
        with contextlib.suppress(ImageCms.PyCMSError):  # a profile that doesn't fit its image says nothing
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(upright, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or upright
    return upright


def _in_mode(image: Image, to: ImageFormat, background: str) -> Image:
    """Return the image in a mode that the format can hold."""
    from PIL import Image, ImageColor

    if image.has_transparency_data and to not in _TRANSPARENT:
        try:
            paper = ImageColor.getrgb(background)
        except ValueError as error:
            raise InvalidArguments(
                f"{background!r} is not a colour; give a name such as 'white', or '#rrggbb'"
            ) from error
        flat = Image.new("RGB", image.size, paper[:3])
        layer = image.convert("RGBA")
        flat.paste(layer, mask=layer)
        return flat
    if image.mode in _MODES[to]:
        return image
    if image.mode in ("I", "I;16", "F"):  # 16 bits and more: convert() would cut them off at 255
        low, high = image.getextrema()
        assert isinstance(low, int | float)
        assert isinstance(high, int | float)
        scale = 255 / (high - low) if high > low else 0
        return (
            image.convert("F")
            .point(lambda value: (value - low) * scale)
            .convert("L")
            .convert("L" if "L" in _MODES[to] else "RGB")
        )
    return image.convert("RGBA" if image.has_transparency_data and "RGBA" in _MODES[to] else "RGB")


def _stem(name: str) -> str:
    return Path(name.removesuffix(".gz")).stem or "table"


@contextlib.contextmanager
def _target(name: str, output: str | None) -> Iterator[tuple[Path, Path]]:
    """Yield where the file will lie and where to write it; move it there in the end, or remove it."""
    target = context.scratch_file(name) if output is None else Path(output)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield target, draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
