"""Image operations that tell how alike images are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, profiles
from workbench.operations.image import likeness
from workbench.operations.image.compose import check_same_size
from workbench.operations.image.likeness import Method
from workbench.operations.registry import operation
from workbench.values import images as values
from workbench.values.refs import FileRef

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MOST_IMAGES = 10_000


@operation("image.hash")
def hash(image: Image, method: Method = "perceptual", *, hash_size: int = 8) -> str:  # noqa: A001 - the operation's name
    """Hash what an image looks like: images that look alike have hashes that differ in few bits.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says; colours are converted to sRGB by its ICC profile, and
        what is transparent is laid on white.
    method
        `average` compares greys with their mean, `difference` each with its left neighbour, `perceptual` the strengths
        of low frequencies with their median: the slowest, and the one that is least misled.
    hash_size
        The hash's side, 2 to 32: it has the square of it in bits.

    Returns
    -------
    str
        Hexadecimal digits, 16 of them for a `hash_size` of 8. Of an opaque image without orientation and profile they
        are those of Python's ImageHash.

    Raises
    ------
    InvalidArguments
        If there is no such hash, or the image has no pixels.

    Examples
    --------
    >>> from PIL import Image
    >>> hash(Image.linear_gradient("L"), "average")
    '00000000ffffffff'
    """
    likeness.check(method, hash_size)
    return likeness.text(likeness.bits(image, method, hash_size))


@operation("image.near_duplicates")
def near_duplicates(
    images: list[FileRef | Image], *, method: Method = "perceptual", hash_size: int = 8, max_distance: int | None = None
) -> dict[str, Any]:
    """Find images that look nearly the same, such as copies in other sizes, formats and qualities.

    Parameters
    ----------
    images
        Files, or images in memory; up to 10,000. Files are read one after the other, so that only one is in memory.
    method
        Of the hash, as in `image.hash`.
    hash_size
        As in `image.hash`.
    max_distance
        How many bits of two neighbours' hashes may differ. If None, a tenth of the hash's bits: 6 of 64.

    Returns
    -------
    dict
        `groups`: lists of two or more images, each a dict of `index` (in `images`), `name` (the file's; None of an
        image in memory that came from none) and `distance` (bits that differ from the group's first). Groups are the
        largest in which each lies near another, so that the ends of a long one may differ by more. `hashes`, one an
        image; None for those that can't be read, which are listed in `unreadable` with `index`, `name` and `reason`.

    Raises
    ------
    InvalidArguments
        If there are more than 10,000 images, or there is no such hash.

    Notes
    -----
    Reading takes time in proportion to the images. Holding the hashes against each other takes, in the worst case,
    their number squared: two seconds of computing for 10,000 hashes of 64 bits. Memory stays in proportion. Images with
    hardly any detail, such as plain colours and gradients, have hashes near each other's, whichever colours they have.

    Examples
    --------
    >>> from PIL import Image
    >>> left = Image.linear_gradient("L")
    >>> found = near_duplicates([left, Image.radial_gradient("L"), left.resize((100, 100))])
    >>> [[each["index"] for each in group] for group in found["groups"]]
    [[0, 2]]
    """
    import numpy as np

    likeness.check(method, hash_size)
    length = hash_size * hash_size
    if len(images) > MOST_IMAGES:
        raise InvalidArguments(f"images: takes up to {MOST_IMAGES:,}, got {len(images):,}: look at them in parts")
    furthest = length // 10 if max_distance is None else max_distance
    if not 0 <= furthest < length:
        raise InvalidArguments(f"max_distance: takes 0 to {length - 1} of the hash's {length} bits, got {furthest}")
    known: list[int] = []
    rows: list[np.ndarray] = []
    hashes: list[str | None] = []
    unreadable: list[dict[str, Any]] = []
    names = [_name(image) for image in images]
    for index, image in enumerate(images):
        try:
            row = _bits(image, method, hash_size)
        except (InputError, InvalidArguments) as error:  # damaged, or without a pixel: the others still count
            hashes.append(None)
            unreadable.append({"index": index, "name": names[index], "reason": str(error)})
        else:
            known.append(index)
            rows.append(row)
            hashes.append(likeness.text(row))
        context.progress((index + 1) / len(images), names[index] or "")
    groups = likeness.near(np.array(rows, dtype="bool").reshape(-1, length), furthest)
    return {
        "groups": [
            [{"index": known[row], "name": names[known[row]], "distance": distance} for row, distance in group]
            for group in groups
        ],
        "hashes": hashes,
        "unreadable": unreadable,
    }


def _name(image: FileRef | Image) -> str | None:
    name = getattr(image, "name", None) or getattr(image, "filename", None)
    return str(name) if name else None


def _bits(image: FileRef | Image, method: Method, hash_size: int) -> np.ndarray:
    from PIL.Image import Image as PillowImage

    if isinstance(image, PillowImage):
        return likeness.bits(image, method, hash_size)
    path = context.input_path(image)
    with values.load(path, getattr(image, "name", path.name)) as loaded:
        return likeness.bits(loaded, method, hash_size)


@operation("image.diff")
def diff(image: Image, other: Image, *, threshold: int = 0) -> dict[str, Any]:
    """Measure in what two images differ, and picture it.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says; so is the other.
    other
        An image of the same size. Both are brought to one mode (grey, RGB or RGBA, 8 bits), and where their ICC
        profiles differ, to sRGB.
    threshold
        How much a channel may differ before its pixel counts as changed, 0 to 254; above the noise of a lossy format,
        say.

    Returns
    -------
    dict
        `changed` (the share of pixels with a channel that differs by more than `threshold`, 0 to 1), `rms` (the root of
        the mean square of all channels' differences, 0 to 255), `max` (the largest of them), `psnr` (decibels; None
        where nothing differs), `box` (left, upper, right and lower edge of what changed, or None) and `picture`: an
        image of the differences, black where there are none, as `PIL.ImageChops.difference` makes it. Colours under
        transparent pixels don't count; differences in transparency are pictured as white.

    Raises
    ------
    InvalidArguments
        If the sizes differ, or the threshold is out of its range.

    Examples
    --------
    >>> from PIL import Image
    >>> before = Image.new("L", (10, 10), 100)
    >>> after = before.copy()
    >>> after.paste(110, (0, 0, 5, 2))
    >>> told = diff(before, after)
    >>> told["changed"], told["max"], told["box"]
    (0.1, 10, [0, 0, 5, 2])
    """
    if not 0 <= threshold <= 254:
        raise InvalidArguments(f"threshold: takes 0 to 254, got {threshold}")
    first, second = profiles.alike(image, other)
    check_same_size(first, second)
    return likeness.difference(first, second, threshold)
