"""The frames of an image: those of an animation, or the pages of a document. Read one by one, and no more than fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels
from workbench.operations.pictures.formats import ImageFormat, Wanted
from workbench.values import decoders, pages

if TYPE_CHECKING:
    from PIL.Image import Image

    from workbench.values.refs import FileRef

_PROFILE = 34_675  # the tag of a TIFF
_STILL = 100
"""Milliseconds for which a page is shown that becomes a frame."""


class Source(NamedTuple):
    """An image to convert."""

    image: Image
    name: str
    stem: str
    several: bool
    """Whether it has more frames than one."""


@contextlib.contextmanager
def opened(image: FileRef | Image) -> Iterator[Source]:
    """Open a file, or take an image in memory."""
    from PIL.Image import Image as PillowImage

    if isinstance(image, PillowImage):
        pixels.check_not_empty(image)
        position = image.tell()
        yield Source(image, "the image", Path(getattr(image, "filename", "") or "image").stem, _several(image))
        image.seek(position)
        return
    path = context.input_path(image)
    name = getattr(image, "name", path.name)
    with decoders.open_image(path, name) as picture:
        with decoders.decoding(name, picture.format):
            several = _several(picture)
        yield Source(picture, name, Path(name).stem or "image", several)


def _several(image: Image) -> bool:
    # What an MPO holds besides its first picture is a preview, a depth map or the other eye's view.
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _read_exif(image: Image) -> None:
    """Read the innermost directory of a TIFF's EXIF: Pillow does so with the others, then closes the file."""
    from PIL.ExifTags import IFD

    if image.format == "TIFF":
        with contextlib.suppress(Exception):  # what a camera wrote breaks Pillow's parser in many ways
            exif = image.getexif()
            if IFD.Exif in exif:
                exif.get_ifd(IFD.Interop)


def frames_of(source: Source, *, everything: bool) -> Iterator[Image]:
    """Yield the image at each of its frames, decoded: the same object again and again, so copy what is to stay.

    Parameters
    ----------
    source
        The image.
    everything
        All of its frames; otherwise the first.

    Raises
    ------
    InputError
        If they are damaged, or too many or too large together.
    """
    image, name = source.image, source.name
    if not (everything and source.several):
        _read_exif(image)
        with decoders.decoding(name, image.format):
            image.load()
        decoders.check_beside(image, name)
        yield image
        return
    with decoders.decoding(name, image.format):
        count = None if image.format == "GIF" else pages.count(image)  # whose frames would all be read for it
    if count is not None and count > decoders.MAX_FRAMES:
        raise InputError(f"{name} has {count:,} frames, and the limit is {decoders.MAX_FRAMES:,}: cut it into parts")
    together = 0
    for number in range(_first(image), decoders.MAX_FRAMES + 1):
        with decoders.decoding(name, image.format):
            if not _sought(image, number, count):
                return
            decoders.check(image, name)
            together += image.width * image.height
            if together > decoders.MAX_PIXELS:
                raise InputError(
                    f"{name}'s frames have more than {decoders.MAX_PIXELS // 1_000_000} megapixels together, which is "
                    "the limit: cut it into parts, or make it smaller"
                )
            image.load()
            if image.format == "TIFF" and _PROFILE not in image.tag_v2:  # type: ignore[attr-defined]
                image.info.pop("icc_profile", None)  # of the page before: Pillow leaves it there
        if number == decoders.MAX_FRAMES:
            raise InputError(
                f"{name} has more than {decoders.MAX_FRAMES:,} frames, which is the limit: cut it into parts"
            )
        yield image


def _first(image: Image) -> int:
    """Return the number of the first frame: an APNG may have an image before it for those who know no animations."""
    return 1 if image.info.get("default_image") else 0


def _sought(image: Image, number: int, count: int | None) -> bool:
    if count is not None:
        if number < count:
            image.seek(number)  # whose absence is an error
        return number < count
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def check_alike(frames: list[Image], to: ImageFormat) -> None:
    """Raise `InvalidArguments` if frames that become an animation differ in size."""
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise InvalidArguments(
            f"image: its frames differ in size ({sizes[0][0]} × {sizes[0][1]} to {sizes[-1][0]} × {sizes[-1][1]}), and "
            f"those of {to} can't: choose tiff or pdf"
        )


def duration_of(frame: Image) -> int:
    """Return the milliseconds for which a frame is shown."""
    known = 0 if frame.format in ("GIF", "PNG", "WEBP", "AVIF") else _STILL
    return round(float(frame.info.get("duration", known)))


def timing(source: Source, durations: list[int], to: ImageFormat, wanted: Wanted) -> dict[str, Any]:
    """Return the options by which Pillow writes an animation: durations, how often it plays, how frames follow."""
    given = wanted.duration
    options: dict[str, Any] = {"duration": [each if given is None else given for each in durations]}
    plays = _plays(source.image) if wanted.loop is None else wanted.loop
    match to:
        case "gif":  # says how often it is repeated
            options |= {"loop": None if plays == 1 else max(0, plays - 1), "disposal": 2}
        case "png":  # each frame is whole: what the source says of its own parts doesn't hold any more
            options |= {"loop": plays, "disposal": 0, "blend": 0, "default_image": False}
        case "webp":
            options |= {"loop": plays, "background": (0, 0, 0, 0)}
        case _ if plays:
            context.note("loop", f"left out: Pillow writes none into {to}, so it plays for ever instead of {plays} ×")
    return options


def _plays(image: Image) -> int:
    """Return how often an animation plays; 0 for ever."""
    loop = image.info.get("loop")
    if image.format == "GIF":  # a loop of 1 is one more time; without one it plays once
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)
