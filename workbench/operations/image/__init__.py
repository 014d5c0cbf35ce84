"""The image family: pictures in, pictures out."""

from workbench.operations.image import colour, compose, filters, geometry, inspection, modes, sizes, thumbnails

__all__ = ["colour", "compose", "filters", "geometry", "inspection", "modes", "sizes", "thumbnails"]
