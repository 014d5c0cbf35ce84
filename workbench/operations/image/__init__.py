"""The image family: pictures in, pictures out."""

from workbench.operations.image import (
    animation,
    colour,
    compose,
    files,
    filters,
    geometry,
    inspection,
    modes,
    near,
    sizes,
    thumbnails,
)

__all__ = [
    "animation",
    "colour",
    "compose",
    "files",
    "filters",
    "geometry",
    "inspection",
    "modes",
    "near",
    "sizes",
    "thumbnails",
]
