"""What colours an image has: counted, and summed up in a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels, profiles

if TYPE_CHECKING:
    from PIL.Image import Image

_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_SAMPLE = 1_000_000  # pixels that are looked at for a palette


def histogram(image: Image, mask: Image | None) -> dict[str, Any]:
    """Count an image's pixels: see `image.histogram`."""
    upright = pixels.upright(pixels.check_not_empty(image))
    chosen = _chosen(mask, upright) if mask is not None else None
    if upright.mode in _DEEP:
        return _deep_histogram(upright, chosen)
    if upright.mode in ("P", "PA") or "transparency" in upright.info:
        upright = pixels.displayable(upright)
    counts = upright.histogram(chosen)
    bands = upright.getbands()
    return {
        "mode": upright.mode,
        "pixels": sum(counts[:256]),
        "range": [0, 255],
        "bands": {band: counts[index * 256 : (index + 1) * 256] for index, band in enumerate(bands)},
    }


def _chosen(mask: Image, image: Image) -> Image:
    mask = pixels.displayable(pixels.upright(mask)).convert("L")
    if mask.size != image.size:
        raise InvalidArguments(
            f"mask: it is {mask.width} × {mask.height}, and the image {image.width} × {image.height}: bring both to "
            "one size first, with image.resize"
        )
    return mask.point(lambda value: 255 if value else 0).convert("1")


def _deep_histogram(image: Image, mask: Image | None) -> dict[str, Any]:
    import numpy as np

    values = np.asarray(image).astype("float64")
    values = values[np.asarray(mask)] if mask is not None else values.ravel()
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    counts, _ = np.histogram(values, bins=256, range=(low, high))
    return {"mode": image.mode, "pixels": values.size, "range": [low, high], "bands": {image.mode[0]: counts.tolist()}}


def palette(image: Image, colors: int) -> list[dict[str, Any]]:
    """Sum an image's colours up: see `image.palette`."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL.Image import Quantize

    if not 1 <= colors <= 256:
        raise InvalidArguments(f"colors: takes 1 to 256, got {colors}")
    ready = profiles.in_srgb(image)
    visible = ready.convert("RGBA" if pixels.has_alpha(ready) else "RGB")
    if (step := (visible.width * visible.height / _SAMPLE) ** 0.5) > 1:
        # Some of its pixels, rather than their means, which would be colours that it doesn't have.
        size = max(1, round(visible.width / step)), max(1, round(visible.height / step))
        visible = visible.resize(size, pillow.Resampling.NEAREST)
    flat = np.asarray(visible).reshape(-1, len(visible.getbands()))
    if flat.shape[1] == 4:
        flat = flat[flat[:, 3] >= 128, :3]
    if not len(flat):
        return []
    numbers, counts = np.unique(flat.astype("uint32") @ np.array([65_536, 256, 1], "uint32"), return_counts=True)
    exact = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1)
    if len(exact) > colors:
        row = pillow.fromarray(np.ascontiguousarray(flat)[np.newaxis])
        few = row.quantize(colors, method=Quantize.MEDIANCUT)
        index, counts = np.unique(np.asarray(few), return_counts=True)
        exact = np.array(few.getpalette()).reshape(-1, 3)[index]
    order = np.argsort(-counts, kind="stable")
    return [
        {"color": "#" + bytes(exact[each].tolist()).hex(), "share": float(counts[each] / counts.sum())}
        for each in order
    ]
