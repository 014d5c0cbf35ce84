import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.unit.image_samples import MODES, ORIENTATION, chelsea, images, same, sample
from workbench.core.errors import InvalidArguments
from workbench.operations.image import geometry

# --- border -------------------------------------------------------------------------------------------


@given(image=images(), widths=st.tuples(*[st.integers(0, 9)] * 4))
def test_a_border_is_what_pillow_makes(image: Image.Image, widths: tuple[int, int, int, int]):
    fill = (1, 2, 3, 4)[: len(image.getbands())] if len(image.getbands()) > 1 else 7

    assert same(geometry.border(image, widths, fill=fill), ImageOps.expand(image, widths, fill))


def test_a_border_has_one_two_or_four_widths():
    image = Image.new("L", (10, 10))

    assert geometry.border(image, 3).size == (16, 16)
    assert geometry.border(image, (1, 2)).size == (12, 14)
    assert geometry.border(image, (1, 2, 3, 4)).size == (14, 16)


@pytest.mark.parametrize("mode", MODES)
def test_a_border_of_every_mode_is_white_if_asked_to_and_the_profile_stays(mode: str):
    image = sample(mode)
    image.info["icc_profile"] = b"a profile"

    made = geometry.border(image, 2, fill="white")

    assert made.info["icc_profile"] == b"a profile"
    corner = made.crop((0, 0, 1, 1))
    deepest = {"I;16": 65535, "I": 255, "F": 255.0}
    if made.mode in deepest:
        assert corner.getpixel((0, 0)) == deepest[made.mode]
    else:
        assert min(corner.convert("RGB").getpixel((0, 0))) >= 254  # type: ignore[type-var, arg-type]


@pytest.mark.parametrize(("fill", "expected"), [(7, (7, 7, 7)), ("#010203", (1, 2, 3)), ((9, 8, 7), (9, 8, 7))])
def test_a_number_is_a_grey(fill: object, expected: tuple[int, int, int]):
    picture = chelsea()

    assert geometry.border(picture, 1, fill=fill).getpixel((0, 0)) == expected  # type: ignore[arg-type]
    opaque = geometry.border(picture.convert("RGBA"), 1, fill=fill)  # type: ignore[arg-type]
    assert opaque.getpixel((0, 0)) == (*expected, 255)


# --- trim ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_trimming_takes_a_border_off_again(mode: str):
    image = sample(mode)
    ready = geometry.border(image, 0)  # in the mode that borders have

    made = geometry.trim(geometry.border(image, (3, 4, 5, 6), fill="red"))

    assert same(made, ready)
    assert same(geometry.trim(geometry.border(image, (3, 4, 5, 6), fill="red"), "red"), ready)


@given(
    image=images(("L", "LA", "RGB", "RGBA", "CMYK")),
    color=st.integers(0, 255),
    tolerance=st.integers(0, 255),
)
def test_a_trimmed_image_is_the_least_that_holds_all_that_differs(image: Image.Image, color: int, tolerance: int):
    border = (color,) * len(image.getbands())
    made = geometry.trim(image, border if len(border) > 1 else color, tolerance=tolerance)

    mode = {"LA": "La", "RGBA": "RGBa"}.get(image.mode, image.mode)
    blank = Image.new(image.mode, (1, 1), border if len(border) > 1 else color).convert(mode)
    values = np.asarray(image.convert(mode), dtype=int).reshape(image.height, image.width, -1)
    apart = np.abs(values - np.asarray(blank, dtype=int).reshape(1, 1, -1)).max(axis=2) > tolerance
    rows, columns = np.flatnonzero(apart.any(axis=1)), np.flatnonzero(apart.any(axis=0))
    if rows.size:
        assert same(made, image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
    else:
        assert same(made, image)


def test_a_tolerance_takes_off_what_is_nearly_of_the_colour():
    page = Image.new("L", (40, 40), 250)
    page.paste(240, (5, 5, 35, 35))
    page.paste(0, (10, 10, 30, 30))

    assert geometry.trim(page, "white").size == (40, 40)
    assert geometry.trim(page).size == (30, 30)
    assert geometry.trim(page, tolerance=10).size == (20, 20)


def test_what_cannot_be_seen_is_one_border_whatever_its_colour():
    image = Image.effect_noise((20, 20), 90).convert("RGBA")
    image.putalpha(0)
    image.paste("red", (5, 6, 12, 14))

    assert geometry.trim(image).size == (7, 8)


def test_an_image_that_is_all_border_stays():
    for mode in MODES:
        assert geometry.trim(Image.new(mode, (9, 7))).size == (9, 7)


def test_numbers_of_any_size_are_trimmed_and_what_is_none_is_border():
    values = np.full((10, 12), np.nan, dtype="float32")
    values[2:5, 3:9] = -1e30

    assert geometry.trim(Image.fromarray(values), 0).size == (6, 3)
    wide = np.full((10, 12), 1000, dtype="uint16")
    wide[4, 4] = 60_000
    assert geometry.trim(Image.fromarray(wide)).size == (1, 1)
    assert geometry.trim(Image.fromarray(wide), 1010, tolerance=10).size == (1, 1)


def test_a_palette_is_trimmed_and_stays_one():
    image = Image.new("P", (20, 20), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(0, (5, 5, 9, 9))

    made = geometry.trim(image)

    assert (made.mode, made.size) == ("P", (4, 4))


# --- turning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright_as_pillow_does(orientation: int):
    stored = chelsea()
    stored.getexif()[ORIENTATION] = orientation

    made = geometry.auto_orient(stored)

    assert same(made, ImageOps.exif_transpose(stored))
    assert made.getexif().get(ORIENTATION, 1) == 1
    assert stored.getexif()[ORIENTATION] == orientation


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_turns_and_flips_and_keeps_its_profile(mode: str):
    image = sample(mode)
    image.info["icc_profile"] = b"a profile"

    for made in (
        geometry.rotate(image, 30),
        geometry.rotate(image, 30, expand=True, fillcolor="white"),
        geometry.flip(image),
        geometry.crop(image, (1, 2, 30, 20)),
        geometry.auto_orient(image),
    ):
        assert made.info["icc_profile"] == b"a profile"
    assert same(geometry.flip(geometry.flip(image)), image)


def test_an_image_turns_about_a_point_and_moves_as_pillow_does():
    picture = chelsea()

    made = geometry.rotate(picture, 30, center=(10, 20.5), translate=(5, -7), fillcolor="red")

    expected = picture.rotate(30, Image.Resampling.BICUBIC, center=(10, 20.5), translate=(5, -7), fillcolor="red")
    assert same(made, expected)


def test_corners_are_black_where_no_colour_is_given():
    for mode in ("YCbCr", "CMYK", "RGB", "L"):
        assert geometry.rotate(sample(mode), 45).convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    assert geometry.rotate(sample("RGBA"), 45).getpixel((0, 0)) == (0, 0, 0, 0)


# --- refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda image: geometry.border(image, -1), "image.crop takes some off"),
        (lambda image: geometry.border(image, (1, -1)), "border: takes pixels from 0"),
        (lambda image: geometry.border(image, (1, 2, 3)), "one, two or four"),
        (lambda image: geometry.border(image, 20_000), "the image with its border: .*megapixels"),
        (lambda image: geometry.border(image, fill="no"), "fill: 'no' is not a colour"),
        (lambda image: geometry.border(image.convert("I"), fill=2**31), "fill: .* mode I.* from -2147483648"),
        (lambda image: geometry.trim(image, tolerance=-1), "tolerance"),
        (lambda image: geometry.trim(image, (1, 2)), "color"),
        (lambda image: geometry.trim(image.crop((0, 0, 0, 0))), "no pixels"),
        (lambda image: geometry.rotate(image, 1, center=(float("nan"), 0)), "center"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(call, reason: str):  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidArguments, match=reason):
        call(chelsea())
