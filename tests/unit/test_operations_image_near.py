from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
from PIL import Image, ImageChops, ImageStat

from tests.unit.photographs import ORIENTATION, loaded, same
from workbench.core.errors import InvalidArguments
from workbench.operations.image import likeness, near
from workbench.values.refs import FileRef

PHOTOGRAPHS = ["chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg", "camera.png", "page.png"]
METHODS = ["average", "difference", "perceptual"]


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return [loaded(name) for name in PHOTOGRAPHS]


@pytest.fixture(scope="module")
def chelsea() -> Image.Image:
    return loaded("chelsea.png")


def bits_apart(left: str, right: str) -> int:
    return (int(left, 16) ^ int(right, 16)).bit_count()


# --- hash -------------------------------------------------------------------------------------------


def as_imagehash_does(image: Image.Image, method: str, side: int) -> str:
    """Hash an image as the documentation of Python's ImageHash describes it."""
    size = {"average": (side, side), "difference": (side + 1, side), "perceptual": (4 * side, 4 * side)}[method]
    values = np.asarray(image.convert("L").resize(size, Image.Resampling.LANCZOS), dtype="float64")
    if method == "average":
        bits = values > values.mean()
    elif method == "difference":
        bits = np.diff(values) > 0
    else:
        low = scipy.fft.dctn(values)[:side, :side]
        bits = low > np.median(low)
    return np.packbits(bits).tobytes().hex()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [8, 16])
def test_hashes_are_those_of_imagehash(name: str, method: Any, side: int):
    image = loaded(name)
    image.info.pop("icc_profile", None)  # which ImageHash doesn't follow

    assert near.hash(image, method, hash_size=side) == as_imagehash_does(image, method, side)


@pytest.mark.parametrize("method", METHODS)
def test_other_sizes_and_qualities_are_near_and_other_pictures_are_far(
    photographs: list[Image.Image], method: Any, tmp_path: Path
):
    hashes = [near.hash(photo, method) for photo in photographs]
    for photo, original in zip(photographs, hashes, strict=True):
        photo.convert("RGB").resize((200, 200)).save(tmp_path / "small.jpg", quality=60)
        with Image.open(tmp_path / "small.jpg") as small:
            assert bits_apart(near.hash(small, method), original) <= 6
    apart = [bits_apart(one, other) for index, one in enumerate(hashes) for other in hashes[:index]]
    assert min(apart) > 10


def test_a_photograph_on_its_side_has_the_hash_of_the_upright_one(chelsea: Image.Image):
    stored = chelsea.transpose(Image.Transpose.ROTATE_90)
    stored.getexif()[ORIENTATION] = 6

    assert near.hash(stored) == near.hash(chelsea)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LAB", "HSV"])
def test_every_mode_and_a_single_pixel_have_a_hash(mode: str):
    for method in METHODS:
        assert len(near.hash(Image.new(mode, (1, 1)), method)) == 16  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "arguments", "reason"),
    [
        (Image.new("L", (5, 5)), {"method": "wavelet"}, "perceptual"),
        (Image.new("L", (5, 5)), {"hash_size": 1}, "hash_size"),
        (Image.new("L", (5, 5)), {"hash_size": 33}, "hash_size"),
        (Image.new("L", (0, 5)), {}, "no pixels"),
    ],
)
def test_a_hash_that_makes_no_sense_is_refused(image: Image.Image, arguments: dict[str, Any], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        near.hash(image, **arguments)


# --- near_duplicates --------------------------------------------------------------------------------


def test_copies_in_other_sizes_and_formats_are_found(photographs: list[Image.Image], tmp_path: Path):
    files = []
    for number, photo in enumerate(photographs):
        files.append(tmp_path / f"{number}.png")
        photo.save(files[-1])
    for number in (1, 3):
        files.append(tmp_path / f"copy of {number}.jpg")
        photographs[number].convert("RGB").resize((300, 300)).save(files[-1], quality=50)
    (tmp_path / "damaged.png").write_bytes(b"no image")
    files.insert(0, tmp_path / "damaged.png")

    found = near.near_duplicates([FileRef(str(path), path.name) for path in files])

    groups = [[(each["index"], each["name"]) for each in group] for group in found["groups"]]
    assert groups == [[(2, "1.png"), (7, "copy of 1.jpg")], [(4, "3.png"), (8, "copy of 3.jpg")]]
    assert [each["index"] for each in found["unreadable"]] == [0]
    assert "damaged.png" in found["unreadable"][0]["reason"]
    assert found["hashes"][1:] == [near.hash(Image.open(path)) for path in files[1:]]
    distance = bits_apart(found["hashes"][2], found["hashes"][7])
    assert [each["distance"] for each in found["groups"][0]] == [0, distance]


def test_no_images_have_no_duplicates():
    assert near.near_duplicates([]) == {"groups": [], "hashes": [], "unreadable": []}


def test_images_without_a_pixel_are_unreadable_and_the_others_count(chelsea: Image.Image):
    found = near.near_duplicates([chelsea, Image.new("L", (0, 0)), chelsea])

    assert [[each["index"] for each in group] for group in found["groups"]] == [[0, 2]]
    assert [each["index"] for each in found["unreadable"]] == [1]


@pytest.mark.parametrize("bits", [9, 64, 256])
def test_groups_are_the_connected_ones_among_all_pairs(bits: int):
    generator = np.random.default_rng(7)
    hashes = generator.integers(0, 2, (12, bits)).astype(bool)
    hashes = np.concatenate([hashes, hashes, hashes])
    hashes ^= generator.random(hashes.shape) < 0.03
    limit = bits // 10

    groups = likeness.near(hashes, limit)

    joined = np.eye(len(hashes), dtype=bool)
    close = (hashes[:, None] ^ hashes).sum(axis=2) <= limit
    for _ in range(len(hashes)):
        joined = joined @ close
    expected = {tuple(np.flatnonzero(row).tolist()) for row in joined if row.sum() > 1}
    assert {tuple(member for member, _ in group) for group in groups} == expected
    for group in groups:
        assert all(distance == (hashes[group[0][0]] ^ hashes[member]).sum() for member, distance in group)


def test_thousands_of_hashes_that_are_all_alike_or_all_different_are_grouped():
    alike = np.zeros((5000, 64), dtype=bool)
    different = np.random.default_rng(7).integers(0, 2, (5000, 64)).astype(bool)

    assert [len(group) for group in likeness.near(alike, 6)] == [5000]
    assert likeness.near(different, 6) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"images": [Image.new("L", (1, 1))] * 10_001}, "10,000"),
        ({"max_distance": 64}, "max_distance"),
        ({"max_distance": -1}, "max_distance"),
        ({"method": "wavelet"}, "perceptual"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(arguments: dict[str, Any], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        near.near_duplicates(**{"images": [], **arguments})


# --- diff -------------------------------------------------------------------------------------------


def test_equal_images_differ_in_nothing(chelsea: Image.Image):
    told = near.diff(chelsea, chelsea.copy())

    picture = told.pop("picture")
    assert told == {"changed": 0.0, "rms": 0.0, "max": 0, "psnr": None, "box": None}
    assert same(picture, Image.new("RGB", chelsea.size))


def test_the_differences_are_what_pillow_measures(chelsea: Image.Image):
    other = chelsea.copy()
    other.paste(chelsea.transpose(Image.Transpose.ROTATE_180).crop((0, 0, 50, 40)), (100, 60))
    expected = ImageChops.difference(chelsea, other)

    told = near.diff(chelsea, other)

    assert same(told["picture"], expected)
    assert tuple(told["box"]) == expected.getbbox()
    assert told["rms"] == pytest.approx(np.sqrt(np.mean(np.square(ImageStat.Stat(expected).rms))))
    assert told["psnr"] == pytest.approx(20 * np.log10(255 / told["rms"]))
    assert told["max"] == max(high for _, high in expected.getextrema())  # type: ignore[misc]
    assert told["changed"] == np.asarray(expected).any(axis=2).mean()


def test_differences_up_to_the_threshold_count_for_nothing(chelsea: Image.Image):
    other = chelsea.point(lambda value: min(value + 3, 255))

    assert near.diff(chelsea, other, threshold=3)["changed"] == 0
    assert near.diff(chelsea, other, threshold=3)["box"] is None
    assert near.diff(chelsea, other, threshold=2)["changed"] == 1


def test_transparency_counts_and_colours_below_it_do_not():
    clear, other = Image.new("RGBA", (2, 1), (255, 0, 0, 0)), Image.new("RGBA", (2, 1), (0, 255, 0, 0))
    assert near.diff(clear, other)["changed"] == 0

    other.putpixel((1, 0), (0, 0, 0, 255))
    told = near.diff(clear, other)
    assert (told["changed"], told["box"], told["picture"].getpixel((1, 0))) == (0.5, [1, 0, 2, 1], (255, 255, 255))


def test_images_of_different_modes_are_compared_in_one(chelsea: Image.Image):
    assert near.diff(chelsea.convert("L"), chelsea.convert("L").convert("RGB"))["changed"] == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LAB", "HSV"])
def test_every_mode_can_be_compared(mode: str):
    assert near.diff(Image.new(mode, (4, 4)), Image.new(mode, (4, 4)))["changed"] == 0


def test_a_comparison_that_makes_no_sense_is_refused(chelsea: Image.Image):
    with pytest.raises(InvalidArguments, match="10 × 10"):
        near.diff(chelsea, Image.new("L", (10, 10)))
    with pytest.raises(InvalidArguments, match="threshold"):
        near.diff(chelsea, chelsea, threshold=255)
