"""Image operations that compute each pixel from those around it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations import tones
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from PIL.Image import Image

Filter = Literal[
    "blur",
    "contour",
    "detail",
    "edge_enhance",
    "edge_enhance_more",
    "emboss",
    "find_edges",
    "sharpen",
    "smooth",
    "smooth_more",
    "gaussian_blur",
    "box_blur",
    "unsharp_mask",
    "median_filter",
    "min_filter",
    "max_filter",
    "mode_filter",
    "rank_filter",
    "kernel",
]


class _Kind(NamedTuple):
    """How Pillow spells a filter, what it takes, and the modes it knows."""

    name: str
    parameters: tuple[str, ...] = ()
    modes: tuple[str, ...] = (*tones.EIGHT_BITS, "CMYK", "I;16", "I")


_BLURRED = (*tones.EIGHT_BITS, "CMYK")
_RANKED = (*tones.EIGHT_BITS, "CMYK", "I", "F")

_BUILT_IN = "blur contour detail edge_enhance edge_enhance_more emboss find_edges sharpen smooth smooth_more"
_FILTERS: dict[str, _Kind] = {
    **{name: _Kind(name.upper()) for name in _BUILT_IN.split()},
    "gaussian_blur": _Kind("GaussianBlur", ("radius",), _BLURRED),
    "box_blur": _Kind("BoxBlur", ("radius",), _BLURRED),
    "unsharp_mask": _Kind("UnsharpMask", ("radius", "percent", "threshold"), _BLURRED),
    "median_filter": _Kind("MedianFilter", ("size",), _RANKED),
    "min_filter": _Kind("MinFilter", ("size",), _RANKED),
    "max_filter": _Kind("MaxFilter", ("size",), _RANKED),
    "mode_filter": _Kind("ModeFilter", ("size",), _BLURRED),
    "rank_filter": _Kind("RankFilter", ("size", "rank"), _RANKED),
    "kernel": _Kind("Kernel", ("kernel", "scale", "offset")),
}
_WIDEST = 101  # pixels of a window; ranks are found anew for each pixel, which takes the square of it


@operation("image.filter")
def filter(  # noqa: A001 - as Pillow calls it; nothing here needs the builtin
    image: Image,
    filter: Filter,  # noqa: A002 - as above
    *,
    radius: float | tuple[float, float] | None = None,
    percent: int | None = None,
    threshold: int | None = None,
    size: int | None = None,
    rank: int | None = None,
    kernel: list[float] | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> Image:
    """Blur, sharpen or otherwise filter an image.

    Parameters
    ----------
    image
        It is turned upright first, as its EXIF orientation says. Alpha stays as it is. Palettes become RGB(A), bilevel
        images grey. CMYK can be filtered, 32-bit greys too but by blurs and masks, 16-bit greys by kernels alone.
    filter
        One of `PIL.ImageFilter`'s, in lower case with underscores: `gaussian_blur` for `GaussianBlur`.
    radius
        Pixels, for `gaussian_blur` and `box_blur` (2 if None; also one each for x and y) and `unsharp_mask` (2).
    percent
        How strongly `unsharp_mask` sharpens; 150 if None.
    threshold
        The smallest difference, 0 to 255, that `unsharp_mask` sharpens; 3 if None.
    size
        Pixels a side of the window of `median_filter`, `min_filter`, `max_filter`, `mode_filter` and `rank_filter`: an
        odd number, 3 if None.
    rank
        Which value of the window, sorted from dark to bright, `rank_filter` takes: from 0 to size² - 1.
    kernel
        The 9 or 25 weights of `kernel`, row by row.
    scale
        What the weighted sum of `kernel` is divided by; the sum of its weights if None.
    offset
        What is added to it then; 0 if None.

    Returns
    -------
    PIL.Image.Image
        As `PIL.Image.Image.filter` makes it.

    Raises
    ------
    InvalidArguments
        If the filter can't do with this mode, or doesn't take a parameter, or not such a value.

    Examples
    --------
    >>> from PIL import Image
    >>> step = Image.new("L", (4, 1)).crop((-4, 0, 4, 1)).point(lambda tone: tone)
    >>> step.paste(255, (4, 0, 8, 1))
    >>> list(filter(step, "box_blur", radius=1).tobytes())
    [0, 0, 0, 85, 170, 255, 255, 255]
    """
    from PIL import ImageFilter

    if filter not in _FILTERS:
        raise InvalidArguments(f"filter: takes one of {', '.join(_FILTERS)}, got {filter!r}")
    kind = _FILTERS[filter]
    given = {
        "radius": radius,
        "percent": percent,
        "threshold": threshold,
        "size": size,
        "rank": rank,
        "kernel": kernel,
        "scale": scale,
        "offset": offset,
    }
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in kind.parameters:
            takes = f"takes {', '.join(kind.parameters)}" if kind.parameters else "takes none of these"
            raise InvalidArguments(f"{name}: it isn't for the filter {filter!r}, which {takes}")
    ready = tones.toned(image, f"the filter {filter!r}", kind.modes)
    made = getattr(ImageFilter, kind.name)(**_checked(filter, kind, options))
    return tones.changed(ready, lambda colours, _: colours.filter(made))


def _checked(filter: str, kind: _Kind, options: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - as above
    """Return what Pillow's filter is made with."""
    for side in _sides(options.get("radius", 2)):
        if not 0 <= side <= 10_000:
            raise InvalidArguments(f"radius: takes pixels from 0 to 10,000, got {options['radius']!r}")
    if filter == "box_blur":
        options.setdefault("radius", 2)
    if filter == "unsharp_mask" and isinstance(options.get("radius"), tuple):
        raise InvalidArguments(f"radius: unsharp_mask takes one number, got {options['radius']!r}")
    if not 0 <= options.get("percent", 0) <= 10_000:
        raise InvalidArguments(f"percent: takes 0 to 10,000, got {options['percent']}")
    if not 0 <= options.get("threshold", 0) <= 255:
        raise InvalidArguments(f"threshold: takes a difference from 0 to 255, got {options['threshold']}")
    size = options.get("size", 3)
    if not (1 <= size <= _WIDEST and size % 2):
        raise InvalidArguments(f"size: takes an odd number of pixels from 1 to {_WIDEST}, got {size}")
    if filter == "rank_filter":
        options["size"] = size
        if not 0 <= options.get("rank", -1) < size * size:
            raise InvalidArguments(f"rank: takes 0 to {size * size - 1}, got {options.get('rank')}")
    return _kernel(options) if filter == "kernel" else options


def _sides(radius: float | tuple[float, float]) -> tuple[float, ...]:
    return radius if isinstance(radius, tuple) else (radius,)


def _kernel(options: dict[str, Any]) -> dict[str, Any]:
    weights = options.get("kernel", [])
    if len(weights) not in (9, 25):
        raise InvalidArguments(f"kernel: takes 9 weights (3 × 3) or 25 (5 × 5), got {len(weights)}")
    scale, offset = options.get("scale"), options.get("offset", 0)
    if not all(math.isfinite(number) for number in (*weights, scale or 0, offset)):
        raise InvalidArguments("kernel: weights, scale and offset must be finite numbers")
    if (sum(weights) if scale is None else scale) == 0:
        raise InvalidArguments("scale: the weighted sum can't be divided by 0: where the weights add up to 0, pass 1")
    side = math.isqrt(len(weights))
    return {"size": (side, side), "kernel": weights, "scale": scale, "offset": offset}
