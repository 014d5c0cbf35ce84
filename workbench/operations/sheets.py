"""The contact sheet: many small images and their labels on one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels, profiles

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_FONT_SIZE = 12
_LINE = 16  # pixels a label takes up


class _Grid(NamedTuple):
    columns: int
    rows: int
    size: tuple[int, int]
    margin: int
    line: int

    @property
    def sheet(self) -> tuple[int, int]:
        width, height = self.size
        return (
            self.margin + self.columns * (width + self.margin),
            self.margin + self.rows * (height + self.line + self.margin),
        )

    def corner(self, index: int) -> tuple[int, int]:
        row, column = divmod(index, self.columns)
        width, height = self.size
        return (
            self.margin + column * (width + self.margin),
            self.margin + row * (height + self.line + self.margin),
        )


def contact_sheet(
    images: list[Image],
    *,
    columns: int,
    size: tuple[int, int],
    margin: int,
    background: pixels.Color,
    labels: list[str] | None,
) -> Image:
    """Lay images out on one sheet: see `image.contact_sheet`."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL.ImageDraw import Draw

    grid = _grid(images, columns, size, margin, labels)
    colour = pixels.color(background, "RGB", "background")
    sheet = pillow.new("RGB", pixels.check_size(grid.sheet, "the sheet"), colour)
    draw = Draw(sheet)
    ink = "black" if _luma(colour) > 127 else "white"
    for index, image in enumerate(images):
        left, top = grid.corner(index)
        small = _small(image, grid.size)
        place = left + (grid.size[0] - small.width) // 2, top + (grid.size[1] - small.height) // 2
        sheet.paste(small, place, small.getchannel("A") if pixels.has_alpha(small) else None)
        if labels is not None:
            _write(draw, labels[index], (left, top + grid.size[1]), grid.size[0], ink)
    return sheet


def _grid(images: list[Image], columns: int, size: tuple[int, int], margin: int, labels: list[str] | None) -> _Grid:
    if not images:
        raise InvalidArguments("images: the list is empty, and a sheet needs at least one image")
    if columns < 1:
        raise InvalidArguments(f"columns: takes a whole number from 1, got {columns!r}")
    if margin < 0:
        raise InvalidArguments(f"margin: takes pixels from 0, got {margin!r}")
    if labels is not None and len(labels) != len(images):
        raise InvalidArguments(f"labels: takes one for each of the {len(images)} images, got {len(labels)}")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    return _Grid(columns, rows, pixels.check_size(size), margin, _LINE if labels is not None else 0)


def _small(image: Image, size: tuple[int, int]) -> Image:
    """Return what stands in a cell: L, LA, RGB or RGBA, its colours sRGB's."""
    from PIL.Image import Resampling

    small = profiles.paintable(image)
    small.thumbnail(size, Resampling.LANCZOS)
    small = profiles.in_srgb(small)  # once it is small, as that takes time for each pixel
    return small.convert("RGBA") if pixels.has_alpha(small) else small


def _write(draw: ImageDraw, text: str, corner: tuple[int, int], width: int, ink: str) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    text = " ".join(text.split())
    if draw.textlength(text, font=font) > width:
        while text and draw.textlength(f"{text}…", font=font) > width:
            text = text[:-1]
        text = f"{text}…"
    left = corner[0] + (width - draw.textlength(text, font=font)) / 2
    draw.text((left, corner[1] + 1), text, fill=ink, font=font)


def _luma(colour: tuple[int, ...]) -> float:
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue
