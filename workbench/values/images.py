"""`PIL.Image`s. One that came from a file and hasn't been touched travels as the file's bytes, others as PNG.

Modes that PNG can't hold as they are (palettes, CMYK, floats …) travel as their pixels.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from workbench.core.errors import InputError
from workbench.values import decoders
from workbench.values.decoders import FORMATS as FORMATS
from workbench.values.decoders import load as load
from workbench.values.packed import Packed
from workbench.values.plain import Code, Refused, label, split_header, with_header

_PNG_MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "I;16"})
_INFO = ("exif", "icc_profile", "dpi", "transparency", "gamma", "comment", "duration")


def pack(image: Any) -> Packed:
    """Pack an image.

    Raises
    ------
    Refused
        If its file can't be read any more.
    """
    data = _untouched(image)
    if data is not None:
        return _packed(["file", Path(str(getattr(image, "filename", "") or "")).name], data)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise Refused(f"the image {getattr(image, 'filename', '') or ''!r} can't be read: {error}") from error
    info = [[name, label(value)] for name, value in _info_of(image).items()]
    if image.mode in _PNG_MODES and 0 not in image.size:
        buffer = io.BytesIO()
        # What the image knows besides its pixels travels in the header, exactly; PNG would round some of it.
        image.save(buffer, "PNG", compress_level=1, icc_profile=None, transparency=None)
        return _packed(["png", image.format, info], buffer.getvalue())
    palette = None
    if image.mode in ("P", "PA") and image.palette is not None:
        mode = image.palette.mode
        palette = [mode, bytes(image.getpalette(mode) or ())]
    header = ["pixels", image.format, info, image.mode, list(image.size), palette]
    return _packed(header, zlib.compress(image.tobytes(), 1))


def _packed(header: list[Any], data: bytes) -> Packed:
    head = with_header(header)

    def write(file: BinaryIO, compress: bool) -> None:
        file.write(head)
        file.write(data)

    return Packed(Code.IMAGE, len(head) + len(data), write)


def _info_of(image: Any) -> dict[str, Any]:
    info = {name: image.info[name] for name in _INFO if isinstance(image.info.get(name), bytes | str | int | float)}
    for name in ("dpi", "transparency"):
        value = image.info.get(name)
        if isinstance(value, tuple) and all(isinstance(part, int | float) for part in value):
            info[name] = value
        elif isinstance(value, tuple):  # TIFF has its own rational numbers
            with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
                info[name] = tuple(float(part) for part in value)
    with contextlib.suppress(Exception):  # what a camera wrote can break its parser: then the bytes go as they are
        if exif := image.getexif():
            info["exif"] = exif.tobytes()
    return info


def _untouched(image: Any) -> bytes | None:
    """Return the bytes of the file the image came from, if it is exactly what opening them again will give.

    Pixels are read from the file when they are first asked for. Once they are loaded they may have been painted on,
    which leaves no trace, so that only an image that hasn't loaded them is sure to be its file's.
    """
    from PIL import Image, ImageFile

    if not isinstance(image, ImageFile.ImageFile) or not image.tile or getattr(image, "_im", None) is not None:
        return None
    file = getattr(image, "fp", None)
    if file is None or image.tell() != 0:
        return None
    try:
        position = file.tell()
        file.seek(0)
        data: bytes = file.read()
        file.seek(position)
        with Image.open(io.BytesIO(data), formats=decoders.ready()) as again:
            same = (again.mode, again.size, again.info) == (image.mode, image.size, image.info)
            same = same and dict(again.getexif()) == dict(image.getexif())
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        return None
    return data if same else None


def unpack(source: bytes | Path) -> Any:
    """Return the image, its pixels loaded.

    Raises
    ------
    InputError
        If it is damaged, too large or of an unknown format.
    """
    from PIL import Image

    header, data = split_header(source.read_bytes() if isinstance(source, Path) else source)
    if header[0] == "file":
        return load(io.BytesIO(data), str(header[1]) or "the image")
    kind, format_, info = header[:3]
    if kind == "png":
        image: Any = load(io.BytesIO(data), "the image")
        image.info.clear()
    else:
        mode, size, palette = header[3:]
        width, height = size
        if width < 0 or height < 0 or width * height > decoders.MAX_PIXELS:
            raise InputError(f"the image would have {width:,} × {height:,} pixels: {decoders.SMALLER}")
        pixels = zlib.decompressobj().decompress(data, max(16, width * height * 4))
        if len(pixels) < (width + 7) // 8 * height:  # before room is made for them
            raise InputError("the image has too few pixels")
        image = Image.frombytes(mode, (width, height), pixels) if pixels else Image.new(mode, (width, height))
        if palette is not None:
            image.putpalette(palette[1], palette[0])
    image.info.update(dict(info))
    image.format = format_
    return image
