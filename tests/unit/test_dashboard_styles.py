"""Operations can be told apart by how they are drawn, with any kind of colour vision."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from workbench.dashboard.styles import COLOURS, STYLES, style

APART = 0.15
"""In OKLab, where black and white are 1 apart; a difference that can just be seen is about 0.02."""
VISION = {  # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
    "full": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> np.ndarray:
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> np.ndarray:
    return LAB @ np.cbrt(CONES @ np.clip(VISION[vision] @ linear(colour), 0, 1))


def contrast(one: str, other: str) -> float:
    low, high = sorted(0.05 + float(np.dot((0.2126, 0.7152, 0.0722), linear(each))) for each in (one, other))
    return high / low


@pytest.mark.parametrize("vision", VISION)
def test_no_two_colours_look_alike(vision: str) -> None:
    nearest = min(
        (float(np.linalg.norm(seen(one, vision) - seen(other, vision))), one, other)
        for one, other in combinations(COLOURS, 2)
    )
    assert nearest[0] > APART, nearest


@pytest.mark.parametrize("card", ["#ffffff", "#1a212b"])
def test_every_colour_is_seen_on_either_theme(card: str) -> None:
    assert min(contrast(colour, card) for colour in COLOURS) > 1.65


def test_twenty_four_operations_look_different() -> None:
    assert len({style(number) for number in range(24)}) == len(STYLES) == 24
    assert style(24) == style(0)
