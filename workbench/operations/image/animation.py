"""Image operations that turn frames into an animation, and an animation into frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels, profiles
from workbench.operations.context import Output, Overwrite
from workbench.operations.image import segments
from workbench.operations.pixels import Color
from workbench.operations.registry import operation
from workbench.values import decoders, pages
from workbench.values import images as values
from workbench.values.refs import FileRef, OutputPath

if TYPE_CHECKING:
    from PIL.Image import Image

AnimationFormat = Literal["gif", "webp", "png"]

DURATION = 100  # ms, of a frame that doesn't say
LONGEST = 65_535 * 10  # ms: GIF counts hundredths of a second in two bytes
DECODING = (OSError, ValueError, SyntaxError, TypeError, EOFError, OverflowError, KeyError, IndexError)
"""What Pillow's decoders raise at damaged files."""
_SIDES: dict[AnimationFormat, int] = {"gif": 65_535, "webp": 16_383, "png": 2**31 - 1}


@operation("image.animate")
def animate(
    images: list[Image],
    format: AnimationFormat = "gif",  # noqa: A002 - as Pillow names it
    *,
    duration: int | list[int] | None = None,
    loop: int = 0,
    quality: int | None = None,
    background: Color = "white",
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> Path:
    """Make an animation of images.

    Parameters
    ----------
    images
        The frames, of one size; each is turned upright first, as its EXIF orientation says.
    format
        The file's format.
    duration
        Milliseconds that a frame is shown, of all or of each; GIF knows hundredths of a second only. If None, as long
        as the frame's own file said (`image.split_frames` keeps it), and 100 where it didn't.
    loop
        How often it is played; 0 for ever. As in Pillow.
    quality
        Of WebP, 1 to 100; without loss if None.
    background
        What is laid below partly transparent pixels in a GIF, which knows only pixels that are transparent or aren't.
    output
        Where to write it; None for a file of the first image's name.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pathlib.Path
        The file, complete. Neighbouring frames that are equal may be stored as one that is shown as long as both. An
        ICC profile that all frames share is kept (PNG, WebP); otherwise colours are converted to sRGB. EXIF, which
        tells of single photographs, isn't written.

    Raises
    ------
    InvalidArguments
        If there are no images, their sizes differ, they are more than 200 megapixels together, a number is out of
        its range, or `output` is there already and is not to be replaced.

    Examples
    --------
    >>> from PIL import Image
    >>> animate([Image.new("L", (64, 64), shade) for shade in (0, 128, 255)], duration=[500, 100, 100]).name
    'image.gif'
    """
    if format not in _SIDES:
        raise InvalidArguments(f"format: takes one of {', '.join(_SIDES)}, got {format!r}")
    if quality is not None and (format != "webp" or not 1 <= quality <= 100):
        raise InvalidArguments(f"quality: takes 1 to 100, and is for webp only; got {quality} for {format}")
    if not 0 <= loop <= 65_535:
        raise InvalidArguments(f"loop: takes a count from 0, for ever, to 65,535, got {loop}")
    paper = pixels.color(background, "RGB", "background")
    _check_frames(images, format)
    durations = _durations(images, duration, format)
    frames = profiles.alike(*images)
    if format == "gif":
        frames = [_on_or_off(frame, paper) for frame in frames]
    stem = Path(getattr(images[0], "filename", "") or "image").stem
    return context.write_file(
        f"{stem}.{format}",
        Output(output, overwrite),
        lambda part: _write(frames, part, format, durations, loop, quality),
    )


@operation("image.split_frames")
def split_frames(
    image: FileRef | Image,
    *,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    limit: int = 100,
    format: Literal["png", "webp", "tiff"] | None = None,  # noqa: A002 - as Pillow names it
) -> list[Image] | list[Path]:
    """Take an animation, or a file of several pages, apart.

    Parameters
    ----------
    image
        A file; an image in memory has one frame.
    start
        The first frame that is taken, from 0.
    stop
        The first one that isn't any more; None for all.
    step
        Take every so manieth frame.
    limit
        The most frames that are returned, up to 1,000. If there are more, nothing is: take a part of them.
    format
        Return files of this format, all of them without loss, named after the animation and the frame's number; None
        for images.

    Returns
    -------
    list
        The frames as they are shown (those of a GIF are often stored as what changes), upright, each with its ICC
        profile. An image has the milliseconds that it is shown in `info["duration"]`, and `image.animate` follows it.

    Raises
    ------
    InputError
        If the file isn't an image of a known format, or is damaged.
    InvalidArguments
        If there are more frames than `limit`, or than 200 megapixels of them.

    Examples
    --------
    >>> from PIL import Image
    >>> path = animate([Image.new("L", (64, 64), shade) for shade in (0, 128, 255)])
    >>> [frame.size for frame in split_frames(path, start=1)]
    [(64, 64), (64, 64)]
    >>> [file.name for file in split_frames(path, format="png")]
    ['image-0000.png', 'image-0001.png', 'image-0002.png']
    """
    if not 1 <= limit <= 1000:
        raise InvalidArguments(f"limit: takes 1 to 1,000 frames, got {limit}")
    if start < 0 or step < 1 or (stop is not None and stop < 0):
        raise InvalidArguments(f"start, stop, step: take whole numbers from 0, a step from 1; got {start, stop, step}")
    if format not in (None, "png", "webp", "tiff"):
        raise InvalidArguments(f"format: takes png, webp or tiff, or None for images, got {format!r}")
    with _opened(image) as (picture, name):
        count = _count(picture, name)
        wanted = range(start, min(count, 2**31 if stop is None else stop), step)
        if len(wanted) > limit:
            raise InvalidArguments(
                f"limit: {name} has {count} frames, and {len(wanted)} of them are more than {limit}: "
                "take a part of them with start and stop, or fewer with step"
            )
        if wanted and wanted[-1] >= decoders.MAX_FRAMES:  # to reach it takes as long as the square of its number
            raise InputError(f"{name} has {count:,} frames, and only the first {decoders.MAX_FRAMES:,} can be taken")
        _check_pixels(name, len(wanted) * picture.width * picture.height)
        made: list[Any] = []
        taken = 0
        for done, number in enumerate(wanted):
            _seek(picture, number, name)
            taken += picture.width * picture.height  # the pages of a TIFF have sizes of their own
            _check_pixels(name, taken)
            frame = _shown(picture, number, name)
            made.append(frame if format is None else _kept(frame, f"{Path(name).stem}-{number:04}.{format}", format))
            context.progress((done + 1) / len(wanted))
    return made


# --- together ---------------------------------------------------------------------------------------


def _check_frames(images: list[Image], to: AnimationFormat) -> None:
    if not images:
        raise InvalidArguments("images: takes at least one image")
    sizes = [_upright_size(pixels.check_not_empty(image)) for image in images]
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            raise InvalidArguments(
                f"images: the first is {sizes[0][0]} × {sizes[0][1]}, and images[{index}] is {size[0]} × {size[1]}: "
                "bring them to one size first, with image.pad, image.fit or image.resize"
            )
    if max(sizes[0]) > _SIDES[to]:
        raise InvalidArguments(f"images: {to} holds at most {_SIDES[to]:,} pixels a side: resize them first")
    _check_pixels("images", len(images) * sizes[0][0] * sizes[0][1])


def _upright_size(image: Image) -> tuple[int, int]:
    return (image.height, image.width) if pixels.orientation(image) >= 5 else image.size


def _check_pixels(what: str, total: int) -> None:
    if total > pixels.MAX_PIXELS:
        raise InvalidArguments(
            f"{what}: its frames are {total / 1e6:,.0f} megapixels together, and the limit is "
            f"{pixels.MAX_PIXELS // 1_000_000}: take fewer of them, or smaller ones"
        )


def _durations(images: list[Image], duration: int | list[int] | None, to: AnimationFormat) -> list[int]:
    if duration is None:
        own = [image.info.get("duration") for image in images]
        durations = [round(each) if isinstance(each, int | float) and each > 0 else DURATION for each in own]
    else:
        durations = [duration] * len(images) if isinstance(duration, int) else list(duration)
    if len(durations) != len(images):
        raise InvalidArguments(f"duration: takes one for each of the {len(images)} images, got {len(durations)}")
    least = 10 if to == "gif" else 1
    for each in durations:
        if not least <= each <= LONGEST:
            raise InvalidArguments(f"duration: takes milliseconds, {least} to {LONGEST:,} in a {to}; got {each!r}")
    return [round(each / 10) * 10 for each in durations] if to == "gif" else durations


def _on_or_off(image: Image, paper: tuple[int, int, int]) -> Image:
    """Return the frame as GIF can hold it."""
    image = profiles.in_srgb(image)
    if not pixels.has_alpha(image):
        return image
    image = image.convert("RGBA")
    if any(image.getchannel("A").histogram()[1:255]):
        return pixels.flattened(image, paper)
    return image


def _write(
    frames: list[Image], path: Path, to: AnimationFormat, durations: list[int], loop: int, quality: int | None
) -> None:
    first, *rest = frames
    options: dict[str, Any] = {"duration": durations if rest else durations[0], "loop": loop}
    if to == "gif":
        options |= {"disposal": 2, "optimize": False}
    else:
        options["icc_profile"] = first.info.get("icc_profile")
    if to == "webp":
        options |= {"quality": quality} if quality is not None else {"lossless": True, "exact": True}
    for frame in frames:
        frame.info = {}
    try:
        first.save(path, to.upper(), save_all=True, append_images=rest, **options)
    except (ValueError, KeyError, TypeError, SystemError) as error:
        raise InvalidArguments(f"images: they can't be written as {to}: {error}") from error
    if to == "webp" and first.mode == "RGBA":
        _flag_alpha(path)


def _flag_alpha(path: Path) -> None:
    """Tell in a WebP file's header that it is transparent.

    libwebp cuts each frame to what isn't, and tells it only if something transparent is left in one of them. Otherwise
    what it cut off is shown black.
    """
    with path.open("r+b") as file:
        head = file.read(21)
        if head[12:16] == b"VP8X":
            file.seek(20)
            file.write(bytes([head[20] | 0x10]))


# --- apart ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(image: FileRef | Image) -> Iterator[tuple[Image, str]]:
    from PIL.Image import Image as PillowImage

    if isinstance(image, PillowImage):
        yield image, getattr(image, "filename", "") or "image"
        return
    path = context.input_path(image)
    name = getattr(image, "name", path.name)
    with values.load(path, name) as picture:
        if picture.format == "GIF" and segments.is_cut_short(path.read_bytes(), "GIF"):
            raise InputError(f"{name} can't be read as GIF: it is cut short. Get the file again")
        yield picture, name


def _count(picture: Image, name: str) -> int:
    try:
        return pages.count(picture)
    except InputError:
        raise
    except DECODING as error:
        raise InputError(f"{name} is damaged: its frames can't be counted: {error}. Get the file again") from error


def _seek(picture: Image, number: int, name: str) -> None:
    try:
        picture.seek(number)
    except DECODING as error:
        raise InputError(f"{name} is damaged: its frame {number} isn't there: {error}. Get the file again") from error


def _shown(picture: Image, number: int, name: str) -> Image:
    """Return the frame that was sought, decoded and upright."""
    try:
        picture.load()
    except DECODING as error:
        raise InputError(f"{name} is damaged: its frame {number} can't be read: {error}. Get the file again") from error
    frame = pixels.upright(picture)
    frame.info = {name: value for name, value in frame.info.items() if name in _KEPT}
    if picture.format == "GIF":  # Pillow gives its first frame with a palette, and the others without
        shown = pixels.displayable(frame)
        shown = shown.convert("RGBA" if pixels.has_alpha(shown) else "RGB")
        shown.info = {"duration": frame.info["duration"]} if "duration" in frame.info else {}
        return shown
    return frame


_KEPT = ("icc_profile", "dpi", "transparency", "duration")


def _kept(frame: Image, name: str, to: str) -> Path:
    def write(part: Path) -> None:
        ready = frame if to != "webp" else profiles.paintable(frame)
        options: dict[str, Any] = {"lossless": True, "exact": True} if to == "webp" else {}
        if ready.info.get("icc_profile"):
            options["icc_profile"] = ready.info["icc_profile"]
        if to == "png" and ready.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            ready = profiles.in_srgb(ready)
            options.pop("icc_profile", None)
        ready.save(part, to.upper(), **options)

    return context.write_file(name, Output(), write)
