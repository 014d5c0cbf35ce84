"""The convert family: tables and pictures from one file format into another."""

from workbench.operations.convert.assembly import concat, partition, split
from workbench.operations.convert.folder import batch
from workbench.operations.convert.image import image, pages
from workbench.operations.convert.table import table

__all__ = ["batch", "concat", "image", "pages", "partition", "split", "table"]
