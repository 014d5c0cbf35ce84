"""Image operations that rewrite a file: without what it tells besides the picture, or so that it fits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels, profiles
from workbench.operations.context import Output, Overwrite
from workbench.operations.image import fitting, segments
from workbench.operations.image.animation import DECODING
from workbench.operations.image.fitting import FileFormat
from workbench.operations.pixels import Color
from workbench.operations.registry import operation
from workbench.values import images as values
from workbench.values.refs import FileRef, OutputPath

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("image.strip_metadata")
def strip_metadata(
    image: FileRef,
    *,
    keep_icc: bool = True,
    orientation: Literal["keep", "apply"] = "keep",
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> Path:
    """Copy an image file without what it tells besides the picture: EXIF, places, XMP, comments, thumbnails.

    Parameters
    ----------
    image
        A JPEG, PNG, WebP or GIF file.
    keep_icc
        Keep the ICC profile, which says what the colours mean. Without it they are shown as sRGB, and may look
        different.
    orientation
        What becomes of an EXIF orientation other than upright. `keep`: it is the one tag that is left, and every pixel
        stays as it is. `apply`: the pixels are turned, for which the file is encoded again: JPEG by its own tables,
        lossy WebP at a quality of 95, and PNG of more than 8 bits a colour with 8.
    output
        Where to write it; None for a file of the image's name.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pathlib.Path
        The file, complete. Unless pixels are turned, the compressed picture is copied byte for byte, all frames of it.
        What cameras append to a JPEG (previews, gain maps, further pictures) is gone. The task's notes tell under
        `pixels` whether they were copied or encoded again.

    Raises
    ------
    InputError
        If the file isn't an image, or is cut short or damaged.
    InvalidArguments
        If it is of another format, an animation is to be turned, or `output` is there already and is not to be
        replaced.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp(), "photo.jpg")
    >>> Image.linear_gradient("L").save(path, comment=b"taken at home")
    >>> with Image.open(strip_metadata(path)) as stripped:
    ...     print(stripped.info.get("comment"))
    None
    """
    if orientation not in ("keep", "apply"):
        raise InvalidArguments(f"orientation: takes 'keep' or 'apply', got {orientation!r}")
    path = context.input_path(image)
    name = getattr(image, "name", path.name)
    with _told(name), pixels.opened(path, name) as picture:
        format_ = str(picture.format)
        turned = pixels.orientation(picture) if format_ != "GIF" else 1  # at most in XMP, and nobody follows it
    if format_ not in segments.FORMATS:
        raise InvalidArguments(
            f"image: {name} is {format_}, and metadata can be taken out of JPEG, PNG, WebP and GIF files: convert it "
            "first, with convert.image"
        )
    if orientation == "apply" and turned != 1:
        context.note("pixels", "encoded again")
        return context.write_file(name, Output(output, overwrite), lambda part: _turn(path, name, part, keep_icc))
    with _told(name):
        data = segments.strip(path.read_bytes(), format_, icc=keep_icc, orientation=turned)
    context.note("pixels", "copied")
    return context.write_file(name, Output(output, overwrite), lambda part: _put(part, data))


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Name the file that turns out to be damaged in the block."""
    try:
        yield
    except segments.Damaged as error:
        raise InputError(f"{name} is damaged: {error}. Get the file again") from error
    except InputError:
        raise
    except DECODING as error:
        raise InputError(f"{name} can't be read: it is damaged ({error}). Get the file again") from error


def _turn(path: Path, name: str, part: Path, keep_icc: bool) -> None:
    """Write the file anew, upright, with nothing beside its pixels but the profile."""
    from PIL import JpegImagePlugin

    with values.load(path, name) as picture:
        if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
            raise InvalidArguments(f"image: {name} is an animation, which isn't turned: take orientation='keep'")
        options: dict[str, Any] = {}
        if isinstance(picture, JpegImagePlugin.JpegImageFile):  # MPO, too
            sampling = JpegImagePlugin.get_sampling(picture)
            # Halved in one direction only, the colours would have to be halved in the other one.
            options = {"qtables": picture.quantization, "subsampling": sampling if sampling in (0, 2) else 0}
        elif picture.format == "WEBP":
            options = {"lossless": True, "exact": True} if b"VP8L" in path.read_bytes()[:64] else {"quality": 95}
        upright = pixels.upright(picture)
        format_ = "JPEG" if picture.format == "MPO" else picture.format
    kept = ("transparency", "dpi", *(("icc_profile",) if keep_icc else ()))
    upright.info = {each: value for each, value in upright.info.items() if each in kept}
    options |= {each: upright.info[each] for each in ("icc_profile", "dpi") if each in upright.info}
    upright.save(part, format_, **options)


def _put(part: Path, data: bytes) -> None:
    part.write_bytes(data)


@operation("image.optimize")
def optimize(
    image: FileRef | Image,
    max_bytes: int,
    *,
    format: FileFormat | None = None,  # noqa: A002 - as Pillow names it
    min_quality: int = 50,
    background: Color = "white",
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> Path:
    """Make a file of at most so many bytes, of the best quality and the largest size that fit.

    Parameters
    ----------
    image
        A file, or an image in memory. Of an animation, its first frame.
    max_bytes
        How long the file may be.
    format
        The file's format. If None, the image's own, and for one of another format WebP where it is transparent, JPEG
        otherwise.
    min_quality
        Of JPEG, WebP and AVIF, 1 to 95: the quality isn't lowered beyond it; the picture is shrunk instead. PNG, which
        is without loss, is shrunk only.
    background
        What is laid below transparent pixels in a JPEG.
    output
        Where to write it; None for a file of the image's name with the format as its extension.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pathlib.Path
        The file, complete, and of at most `max_bytes`. The pixels stand upright, as the EXIF orientation says; colours
        are converted to sRGB by the ICC profile; neither EXIF nor profile is written. The quality is the highest up to
        95, the size the largest to a hundredth, that a binary search finds. The task's notes tell them under `quality`
        and `size`.

    Raises
    ------
    InputError
        If the file isn't an image of a known format, or is damaged.
    InvalidArguments
        If not even a tiny picture fits, an option is out of its range, or `output` is there already and is not to be
        replaced.

    Examples
    --------
    >>> from PIL import Image
    >>> path = optimize(Image.effect_noise((640, 480), 60), 20_000, format="jpeg")
    >>> path.name, path.stat().st_size <= 20_000
    ('image.jpeg', True)
    """
    from PIL.Image import Image as PillowImage

    if format is not None and format not in fitting.FORMATS:
        raise InvalidArguments(f"format: takes one of {', '.join(fitting.FORMATS)}, got {format!r}")
    if max_bytes < 1:
        raise InvalidArguments(f"max_bytes: takes a number of bytes above 0, got {max_bytes}")
    if not 1 <= min_quality <= fitting.BEST:
        raise InvalidArguments(f"min_quality: takes 1 to {fitting.BEST}, got {min_quality}")
    paper = pixels.color(background, "RGB", "background")
    if isinstance(image, PillowImage):
        picture, own, stem = profiles.in_srgb(image), image.format, Path(getattr(image, "filename", "") or "image").stem
    else:
        path = context.input_path(image)
        name = getattr(image, "name", path.name)
        with values.load(path, name) as loaded:
            picture, own, stem = profiles.in_srgb(loaded), loaded.format, Path(name).stem or "image"
    chosen = format or _like(own, picture)
    fit = fitting.fit(fitting.ready(picture, chosen, paper), chosen, max_bytes, min_quality)
    context.note("size", f"{fit.size[0]} × {fit.size[1]}")
    if fit.quality is not None:
        context.note("quality", str(fit.quality))
    return context.write_file(f"{stem}.{chosen}", Output(output, overwrite), lambda part: _put(part, fit.data))


def _like(own: str | None, image: Image) -> FileFormat:
    """Return the format that an image is written in when nobody chooses: its own, if it can be made to fit."""
    for each in fitting.FORMATS:
        if own == each.upper():
            return each
    return "webp" if pixels.has_alpha(image) else "jpeg"
