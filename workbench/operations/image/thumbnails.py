"""The image operation that most are asked for: small pictures of large files, which aren't decoded whole for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels
from workbench.operations.pixels import Resample
from workbench.operations.registry import operation
from workbench.values.refs import FileRef

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling


@operation("image.thumbnail")
def thumbnail(image: FileRef | Image, size: tuple[int, int] = (256, 256), *, resample: Resample = "lanczos") -> Image:
    """Shrink an image to fit inside `size`, keeping its aspect ratio.

    Parameters
    ----------
    image
        A file, or an image in memory. A JPEG file is decoded at a half, a quarter or an eighth of its size where that
        is enough (Pillow's draft mode), which is faster by far. It is turned upright, as its EXIF orientation says. Of
        an animation, its first frame. Palettes become RGB(A), bilevel images grey.
    size
        Width and height in pixels. A smaller image stays as it is.
    resample
        The filter, as in Pillow.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.thumbnail` makes it.

    Raises
    ------
    InvalidArguments
        If a side isn't a positive whole number.
    InputError
        If the file isn't an image of a known format, or is damaged.

    Examples
    --------
    >>> from PIL import Image
    >>> thumbnail(Image.new("RGB", (640, 480)), (100, 100)).size
    (100, 75)
    """
    from PIL.Image import Image as PillowImage

    wanted = pixels.check_size(size)
    chosen = pixels.resampling(resample)
    if not isinstance(image, PillowImage):
        return _thumbnail_of_file(image, wanted, chosen)
    return _shrunk(pixels.resamplable(image.copy()), wanted, chosen)


def _thumbnail_of_file(source: FileRef, size: tuple[int, int], resample: Resampling) -> Image:
    from PIL.JpegImagePlugin import JpegImageFile

    path = context.input_path(source)
    name = getattr(source, "name", path.name)
    with pixels.opened(path, name) as picture:
        try:
            # Others know their orientation and their mode only once they are decoded, and can't be at a smaller size.
            ready = picture if isinstance(picture, JpegImageFile) else pixels.resamplable(picture.copy())
            return _shrunk(ready, size, resample)
        except InvalidArguments:
            raise
        except _DAMAGED as error:
            raise InputError(f"{name} can't be read as {picture.format}: {error}. Get the file again") from error


_DAMAGED = (OSError, ValueError, SyntaxError, TypeError, EOFError, OverflowError, KeyError, IndexError)


def _shrunk(image: Image, size: tuple[int, int], resample: Resampling) -> Image:
    """Shrink an image in place, then turn it upright. Pillow opens what isn't decoded yet in draft mode."""
    pixels.check_not_empty(image)
    box = size[::-1] if pixels.orientation(image) > 4 else size  # which lie on their side
    # Pillow can't reduce 16-bit greys in two steps, as it does with the others.
    image.thumbnail(box, resample, reducing_gap=None if image.mode.startswith("I;") else 2.0)
    return pixels.upright(image)
