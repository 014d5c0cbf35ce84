"""Which image files are opened, and how large they may be: the one door through which images are decoded.

A file says itself how much it becomes: a few bytes can ask for gigabytes. So its size, its frames and what it holds
beside its pixels are looked at before room is made for them.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from workbench.core.errors import InputError, WorkbenchError
from workbench.values import unopened

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "DIB", "ICO", "JPEG2000", "PPM")
"""What is opened (JPEG includes MPO, as phones and 3D cameras write it). None of the others that Pillow knows: some run
other programs, few are needed, and each is a decoder that a stranger's file can reach."""

_PLUGINS = ("Png", "Jpeg", "Mpo", "WebP", "Avif", "Tiff", "Gif", "Bmp", "Ico", "Jpeg2K", "Ppm")

MAX_PIXELS = 200_000_000
"""An image with more is refused, an animation with more in all its frames, too: as RGBA they take 800 MB."""
MAX_FRAMES = 10_000
MAX_BESIDE = 16 * 1024**2
"""Bytes that a profile, EXIF and texts may take together."""
_MAX_ICON_ENTRIES, _MAX_ICON_SIDE = 256, 1024

SMALLER = "Cut it into tiles, or pass a smaller version"
_STRIP = "strip them first (exiftool -all= does)"
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    TypeError,
    EOFError,
    ArithmeticError,
    LookupError,
    AttributeError,
    struct.error,
    zlib.error,
)


def ready() -> list[str]:
    """Load the decoders of `FORMATS` and no others; return those that this Pillow has."""
    from PIL import Image

    for plugin in _PLUGINS:
        with contextlib.suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return [format_ for format_ in FORMATS if format_ in Image.OPEN]


def limit_process() -> None:
    """Hold all of this process to `MAX_PIXELS`, also what opens images without asking here.

    For a worker's processes. In a notebook Pillow's own limit is the user's to set: by default it warns from 89
    megapixels on and refuses from 179 on.
    """
    from PIL import Image

    ready()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def open_image(file: BinaryIO | Path, name: str) -> ImageFile:
    """Open an image; its pixels aren't decoded yet, but for an icon's.

    Parameters
    ----------
    file
        A path, or an open file.
    name
        For the message, should it fail.

    Raises
    ------
    InputError
        If it isn't an image of one of `FORMATS`, is damaged, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    known = ready()
    head = _head(file)
    if head.startswith(b"\0\0\1\0"):
        _check_icon(file, name)
    try:
        with decoding(name):
            image = Image.open(file, formats=known)
    except UnidentifiedImageError:
        raise InputError(unopened.described(name, head, known)) from None
    try:
        check(image, name)
    except BaseException:
        image.close()
        raise
    return image


def load(file: BinaryIO | Path, name: str) -> Image:
    """Open an image and decode its pixels: of an animation, the first frame's.

    Parameters
    ----------
    file, name
        As for `open_image`.

    Raises
    ------
    InputError
        If it isn't an image of a known format, is cut short, damaged, or too large.
    """
    image = open_image(file, name)
    try:
        with decoding(name, image.format):
            image.load()
        check_beside(image, name)
    except BaseException:
        image.close()
        raise
    image.filename = name  # what a person calls it; in the store it has no telling name
    return image


@contextlib.contextmanager
def decoding(name: str, format_: str | None = None) -> Iterator[None]:
    """Tell what Pillow raises in the block as an `InputError`: the decoders raise many kinds of errors.

    Parameters
    ----------
    name
        The file's.
    format_
        What it has been opened as.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (WorkbenchError, UnidentifiedImageError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{name} {_too_large(str(error))}. {SMALLER}") from error
    except MemoryError as error:
        raise InputError(
            f"{name} takes more memory, decoded, than the slot may use: give the worker a higher --memory-limit, or "
            "pass a smaller version"
        ) from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (
            None,
            errno.EINVAL,
        ):  # a disk's or a file server's, not the file's
            raise
        if str(error).startswith(("Decompressed data too large", "Too much memory used in text")):  # in a PNG
            raise InputError(
                f"{name} holds texts or a profile that unpack to more than is allowed ({error}): {_STRIP}"
            ) from error
        reason = "it is cut short" if "truncated" in str(error).lower() else "it is damaged"
        what = f"can't be read as {format_}" if format_ else "is not an image that can be read"
        raise InputError(f"{name} {what}: {reason} ({error}). Get the file again") from error


def check(image: Image, name: str) -> None:
    """Raise `InputError` if the image is too large to be decoded here, or holds too much beside its pixels."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} is {width:,} × {height:,}, {width * height / 1e6:,.0f} megapixels, and the limit is "
            f"{MAX_PIXELS // 1_000_000}. {SMALLER}"
        )
    # These two hand out pixels in a block of bytes, beside which Pillow makes its own.
    check_room(size_of(image) * (2 if image.format in ("WEBP", "AVIF") else 1), name)
    check_beside(image, name)


def size_of(image: Image) -> int:
    """Return the bytes that an image's pixels take decoded, in Pillow's way of keeping them."""
    wide = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    return image.width * image.height * wide


def check_room(size: int, name: str) -> None:
    """Raise `InputError` if so many bytes are more than this process may still use: a slot has a memory limit."""
    if size < 1024**2 or (room := _room()) is None:
        return
    if size > room:
        raise InputError(
            f"{name} takes {size / 1e6:,.0f} MB of memory decoded, and the slot has {room / 1e6:,.0f} MB left: give "
            "the worker a higher --memory-limit, or pass a smaller version"
        )


def _room() -> int | None:
    """Return the bytes that this process may still map; None where that has no limit, or isn't known."""
    with contextlib.suppress(ImportError, OSError):  # elsewhere than on Linux
        import resource

        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if limit != resource.RLIM_INFINITY:
            found = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
            return max(0, limit - int(found[1]) * 1024) if found else None
    return None


_NO_TEXTS = (
    *("aspect", "background", "blend", "compression", "default_image", "disposal", "dpi", "duration", "exif", "gamma"),
    *("extension", "icc_profile", "interlace", "loop", "palette", "sizes", "timestamp", "transparency", "version"),
)


def check_beside(image: Image, name: str) -> None:
    """Raise `InputError` if a file's profile, EXIF and texts are of an absurd size.

    Texts that bear the name of something else are dropped: Pillow keeps the texts of a PNG, which have any name, among
    what it knows of the image itself, and then takes `interlace` or `loop` for its own.
    """
    for key in _NO_TEXTS:
        if isinstance(image.info.get(key), str):
            del image.info[key]
    size = sum(len(value) for value in image.info.values() if isinstance(value, bytes | str))
    if size > MAX_BESIDE:
        raise InputError(
            f"{name} holds {size / 1e6:,.0f} MB beside its pixels (a colour profile, EXIF, texts), and the limit is "
            f"{MAX_BESIDE // 1024**2}: {_STRIP}"
        )


# --- what a file says of itself -------------------------------------------------------------------------


def _head(file: BinaryIO | Path) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(1024)
    file.seek(0)
    head = file.read(1024)
    file.seek(0)
    return head


def _too_large(text: str) -> str:
    found = re.search(r"\((\d+) pixels\) exceeds limit of (\d+)", text)
    if found is None:  # pragma: no cover - another Pillow words it in another way
        return f"is too large an image: {text}"
    pixels, limit = (int(number) / 1e6 for number in found.groups())
    return f"has {pixels:,.0f} megapixels, and the limit is {min(limit, MAX_PIXELS / 1e6):,.0f}"


def _check_icon(file: BinaryIO | Path, name: str) -> None:
    """Look at the pictures in an icon, which are files of their own: Pillow decodes one as it opens the icon."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return _check_icon(opened, name)
    file.seek(4)
    (count,) = struct.unpack("<H", file.read(2).ljust(2, b"\0"))
    if count > _MAX_ICON_ENTRIES:
        raise InputError(
            f"{name} holds {count:,} icons, and the limit is {_MAX_ICON_ENTRIES}. It is damaged, or a trap"
        )
    entries = file.read(16 * count)
    for (offset,) in struct.iter_unpack("<12xI", entries[: len(entries) // 16 * 16]):
        file.seek(offset)
        start = file.read(24)
        if start.startswith(b"\x89PNG") and len(start) == 24:
            sides = struct.unpack(">II", start[16:])
        elif len(start) >= 12 and int.from_bytes(start[:4], "little") in range(40, 256):  # its header's size
            width, height = struct.unpack("<ii", start[4:12])
            sides = abs(width), abs(height) // 2  # the mask lies below it
        else:
            continue
        if max(sides) > _MAX_ICON_SIDE:
            raise InputError(
                f"{name} holds an icon of {sides[0]:,} × {sides[1]:,}, and the limit is {_MAX_ICON_SIDE:,} pixels a "
                "side. It is damaged, or a trap"
            )
    file.seek(0)
    return None
