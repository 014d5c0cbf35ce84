"""Hashes of what images look like, the distances between them, and who lies near whom.

The hashes are those of Python's ImageHash, so that they can be compared with what other programs stored; bits differ
only where rounding decides there, about frequencies that an image doesn't have. The average
and the perceptual hash follow N. Krawetz, "Looks Like It" (hackerfactor.com, 2011), the difference hash his "Kind of
Like That" (2013); the perceptual one is described by C. Zauner, "Implementation and Benchmarking of Perceptual Image
Hash Functions" (2010), section 3.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels, profiles

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Method = Literal["average", "difference", "perceptual"]
_METHODS = ("average", "difference", "perceptual")
_FINER = 4  # times the hash's side: how large the image is before its low frequencies are taken
_ENOUGH = 512  # pixels a side


def check(method: str, hash_size: int) -> None:
    """Raise `InvalidArguments` unless there is such a hash."""
    if method not in _METHODS:
        raise InvalidArguments(f"method: takes one of {', '.join(_METHODS)}, got {method!r}")
    if not 2 <= hash_size <= 32:
        raise InvalidArguments(f"hash_size: takes 2 to 32, got {hash_size}")


def bits(image: Image, method: Method, hash_size: int) -> np.ndarray:
    """Return the hash's bits, row by row."""
    import numpy as np

    if method == "average":
        values = _small(image, (hash_size, hash_size))
        above = values > values.mean()
    elif method == "difference":
        values = _small(image, (hash_size + 1, hash_size))
        above = values[:, 1:] > values[:, :-1]
    else:
        side = hash_size * _FINER
        cosines = _cosines(side)[:hash_size]
        values = cosines @ _small(image, (side, side)).astype("float64") @ cosines.T
        values[np.abs(values) < 1e-6] = 0  # what rounding leaves of frequencies that the image doesn't have
        above = values > np.median(values)
    return np.asarray(above).ravel()


def _small(image: Image, size: tuple[int, int]) -> np.ndarray:
    """Return the image's greys, shrunk; what is transparent lies on white."""
    import numpy as np
    from PIL.Image import Resampling

    factor = min(image.size) // _ENOUGH
    if factor > 1 and image.info.get("icc_profile") and image.mode in ("L", "RGB", "CMYK"):
        image = image.reduce(factor)  # converting the colours of all its pixels takes longer than all the rest
    grey = pixels.flattened(profiles.in_srgb(image), (255, 255, 255, 255)).convert("L")
    return np.asarray(grey.resize(size, Resampling.LANCZOS))


def _cosines(side: int) -> np.ndarray:
    """Return the matrix of the discrete cosine transform of type II, unscaled."""
    import numpy as np

    steps = np.arange(side)
    return np.asarray(2 * np.cos(np.pi * np.outer(steps, 2 * steps + 1) / (2 * side)))


def text(found: np.ndarray) -> str:
    """Write bits as hexadecimal digits, four to a digit, zeros in front."""
    number = int("".join("1" if bit else "0" for bit in found), 2)
    return f"{number:0{-(-len(found) // 4)}x}"


def near(hashes: np.ndarray, max_distance: int) -> list[list[tuple[int, int]]]:
    """Group the hashes that lie near each other, or are joined by others that do.

    Parameters
    ----------
    hashes
        Of shape (images, bits), bool.
    max_distance
        How many bits of two neighbours may differ.

    Returns
    -------
    list
        Of each group of two or more its members, and how many bits each differs from the first in. Every member is
        held against those that have no group yet, once: in the worst case each against each, yet nothing more than
        one row of distances is ever kept.
    """
    import numpy as np

    packed = np.packbits(hashes, axis=1)
    packed = np.pad(packed, ((0, 0), (0, packed.shape[1] % 2))).view("uint16")
    ones = np.array([number.bit_count() for number in range(1 << 16)], dtype="uint8")

    def distances(one: int, others: np.ndarray) -> np.ndarray:
        return np.asarray(ones[packed[others] ^ packed[one]].sum(axis=1, dtype="int64"))

    groups = []
    left = np.arange(len(packed))
    while len(left):
        first, left = int(left[0]), left[1:]
        members, unseen = [first], [first]
        while unseen and len(left):
            close = distances(unseen.pop(), left) <= max_distance
            joined = left[close].tolist()
            members += joined
            unseen += joined
            left = left[~close]
        if len(members) > 1:
            members.sort()
            groups.append(list(zip(members, distances(first, np.array(members)).tolist(), strict=True)))
    return groups


def difference(image: Image, other: Image, threshold: int) -> dict[str, Any]:
    """Measure in what two images of one size and mode differ: see `image.diff`."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL import ImageChops

    apart = ImageChops.difference(image, other) if image.mode != "RGBA" else _apart(image, other)
    values = np.asarray(apart)
    values = values.reshape(*values.shape[:2], -1)
    most = values.max(axis=2)
    changed = most > threshold
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    square = float(np.mean([np.square(values[..., band], dtype="float64").mean() for band in range(values.shape[2])]))
    picture = apart if image.mode != "RGBA" else pillow.fromarray(np.maximum(values[..., :3], values[..., 3:]))
    picture.info = {}
    return {
        "changed": float(changed.mean()),
        "rms": square**0.5,
        "max": int(most.max()),
        "psnr": 20 * float(np.log10(255 / square**0.5)) if square else None,
        "box": [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1] if len(rows) else None,
        "picture": picture,
    }


def _apart(image: Image, other: Image) -> Image:
    """Return the difference of two images with alpha: of their alphas, and of their colours where they can be seen."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL import ImageChops

    both = [pillow.merge("RGBA", (*each.convert("RGBa").split()[:3], each.getchannel("A"))) for each in (image, other)]
    return ImageChops.difference(*both)
