"""The image family: pictures in, pictures out."""

from workbench.operations.image import colour, compose, geometry, inspection, sizes

__all__ = ["colour", "compose", "geometry", "inspection", "sizes"]
