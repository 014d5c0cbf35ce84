"""Watermarks: text or a picture, sized and placed on another picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import pixels, profiles

if TYPE_CHECKING:
    from PIL.Image import Image

Place = Literal[
    "top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right", "tile"
]
LONGEST_TEXT = 500


def watermark(
    image: Image,
    *,
    text: str | None,
    mark: Image | None,
    position: Place | tuple[int, int],
    opacity: float,
    size: float,
    margin: int,
    color: pixels.Color,
) -> Image:
    """Lay a mark over an image: see `image.watermark`."""
    if (text is None) == (mark is None):
        raise InvalidArguments("text, mark: takes one of them, a line of text or an image")
    if not 0 <= opacity <= 1:
        raise InvalidArguments(f"opacity: takes 0 (not to be seen) to 1, got {opacity!r}")
    if not 0 < size <= 1:
        raise InvalidArguments(f"size: takes a share of the image's width, above 0 and up to 1, got {size!r}")
    if margin < 0:
        raise InvalidArguments(f"margin: takes pixels from 0, got {margin!r}")
    ground = profiles.paintable(image).copy()
    room = max(1, round(ground.width * size)), ground.height
    drawn = _written(text, room, color) if text is not None else _shrunk(mark, room)
    drawn.putalpha(drawn.getchannel("A").point(lambda value: round(value * opacity)))
    for corner in _corners(ground.size, drawn.size, position, margin):
        _lay(ground, drawn, corner)
    return ground


def _written(text: str, room: tuple[int, int], color: pixels.Color) -> Image:
    """Return the text in Pillow's own font, as large as the room allows."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside the class
    from PIL import ImageDraw, ImageFont

    text = " ".join(text.split())
    if not text or len(text) > LONGEST_TEXT:
        raise InvalidArguments(f"text: takes a line of 1 to {LONGEST_TEXT} characters, got {len(text)}")
    if strange := _not_in_font(text):
        raise InvalidArguments(
            f"text: Pillow's own font has no letters for {strange!r}: draw the text with another font, and pass that "
            "image as mark"
        )
    ink = pixels.color(color, "RGBA", "color")

    def box(eighths: int) -> tuple[int, int, int, int]:
        left, top, right, bottom = ImageFont.load_default(eighths / 8).getbbox(text)
        return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)

    low, high = 8, max(9, 8 * min(2000, 2 * room[0], 2 * room[1]))  # eighths of a point; the first fits, or has to
    while high - low > 1:
        middle = (low + high) // 2
        left, top, right, bottom = box(middle)
        if right - left <= room[0] and bottom - top <= room[1]:
            low = middle
        else:
            high = middle
    left, top, right, bottom = box(low)
    mask = pillow.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=ink[3], font=ImageFont.load_default(low / 8))
    mask = mask.crop(mask.getbbox())  # without the room that letters have around them
    drawn = pillow.new("RGBA", mask.size, ink[:3])
    drawn.putalpha(mask)
    return drawn


def _not_in_font(text: str) -> str:
    """Return the characters that would come out as boxes."""
    from PIL import ImageFont

    font = ImageFont.load_default(16)

    def drawn(letter: str) -> tuple[tuple[int, int], bytes]:
        mask = font.getmask(letter)
        return mask.size, bytes(mask)

    box = drawn("\U0010fffd")  # a character that no font has
    return "".join(letter for letter in dict.fromkeys(text) if not letter.isspace() and drawn(letter) == box)


def _shrunk(mark: Any, room: tuple[int, int]) -> Image:
    from PIL.Image import Resampling

    drawn = profiles.in_srgb(mark).convert("RGBA")
    factor = min(room[0] / drawn.width, room[1] / drawn.height)
    size = max(1, round(drawn.width * factor)), max(1, round(drawn.height * factor))
    return drawn if size == drawn.size else drawn.resize(size, Resampling.LANCZOS)


def _corners(
    ground: tuple[int, int], mark: tuple[int, int], position: Place | tuple[int, int], margin: int
) -> list[tuple[int, int]]:
    """Return where the mark's upper left corner comes to lie; in many places for a tiling."""
    if not isinstance(position, str):
        left, top = position
        if not (-mark[0] < left < ground[0] and -mark[1] < top < ground[1]):
            raise InvalidArguments(
                f"position: at {(left, top)} the mark, {mark[0]} × {mark[1]}, lies outside the image, "
                f"which is {ground[0]} × {ground[1]}"
            )
        return [(left, top)]
    if position == "tile":
        across, down = mark[0] + margin, mark[1] + margin
        first = min(margin, ground[0] - mark[0]), min(margin, ground[1] - mark[1])
        return [(x, y) for y in range(first[1], ground[1], down) for x in range(first[0], ground[0], across)]
    words = position.split()
    if not words or not {"top", "bottom", "left", "right", "center"}.issuperset(words):
        raise InvalidArguments(
            "position: takes 'center', 'tile', 'top left' and the like, or the mark's left and upper edge in pixels, "
            f"got {position!r}"
        )
    return [
        (
            _along(ground[0], mark[0], margin, "left" in words, "right" in words),
            _along(ground[1], mark[1], margin, "top" in words, "bottom" in words),
        )
    ]


def _along(ground: int, mark: int, margin: int, first: bool, last: bool) -> int:
    room = ground - mark
    if first:
        return min(margin, room)
    return max(0, room - margin) if last else room // 2


def _lay(ground: Image, mark: Image, corner: tuple[int, int]) -> None:
    """Paint the mark onto the ground, in place; what reaches beyond it is cut off."""
    left, top = max(0, -corner[0]), max(0, -corner[1])
    part = mark.crop((left, top, mark.width, mark.height)) if left or top else mark
    at = max(0, corner[0]), max(0, corner[1])
    part = part.crop((0, 0, min(part.width, ground.width - at[0]), min(part.height, ground.height - at[1])))
    if 0 in part.size:
        return
    if ground.mode == "RGBA":
        ground.alpha_composite(part, at)
    elif ground.mode == "LA":
        region = (*at, at[0] + part.width, at[1] + part.height)
        below = ground.crop(region).convert("RGBA")
        below.alpha_composite(part)
        ground.paste(below.convert("LA"), at)
    else:
        ground.paste(part.convert(ground.mode), at, part.getchannel("A"))
