from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.unit.image_samples import GREY, MODES, ORIENTATION, SRGB, SWAPPED, chelsea, images, same, sample
from workbench.core.errors import InvalidArguments
from workbench.operations import context
from workbench.operations.image import modes

TARGETS = modes.Mode.__args__  # type: ignore[attr-defined]
OPAQUE = ("1", "L", "RGB", "CMYK", "YCbCr", "HSV", "P")
PLAIN = ("1", "L", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "P")


# --- convert: the same as Pillow ----------------------------------------------------------------------


@pytest.mark.parametrize("target", PLAIN)
@pytest.mark.parametrize("mode", OPAQUE)
def test_an_opaque_image_is_converted_as_pillow_does(mode: str, target: modes.Mode):
    image = sample(mode)

    assert same(modes.convert(image, target), image.convert(target))


@pytest.mark.parametrize("target", ["LA", "RGBA", "P", "PA"])
def test_an_image_with_alpha_is_converted_with_it_as_pillow_does(target: modes.Mode):
    image = sample("RGBA")

    assert same(modes.convert(image, target, colors=99), image.convert(target, colors=99))


@pytest.mark.parametrize("dither", ["none", "floydsteinberg"])
def test_colours_are_dithered_or_not(dither: modes.Dithering):
    picture = chelsea()
    way = Image.Dither[dither.upper()]

    assert same(modes.convert(picture, "1", dither=dither), picture.convert("1", dither=way))
    assert same(modes.convert(picture, "P", dither=dither), picture.convert("P", dither=way))


@given(image=images(("L", "RGB")), colors=st.integers(2, 256))
def test_an_adaptive_palette_is_pillows(image: Image.Image, colors: int):
    expected = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=colors)

    assert same(modes.convert(image, "P", palette="adaptive", colors=colors), expected)


# --- convert: alpha, numbers, profiles ----------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_every_other(mode: str, target: modes.Mode):
    image = sample(mode)
    before = image.tobytes()

    made = modes.convert(image, target)

    assert (made.mode, made.size) == (target, image.size)
    assert image.tobytes() == before
    assert "transparency" not in made.info


@pytest.mark.parametrize("target", ["1", "L", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "P"])
def test_what_is_transparent_shows_the_background(mode: str, target: modes.Mode):
    image = Image.new("RGBA", (4, 4)).convert(mode)

    white = modes.convert(image, target)
    black = modes.convert(image, target, background="black")

    assert same(white, modes.convert(Image.new("RGB", (4, 4), "white"), target))
    assert same(black, modes.convert(Image.new("RGB", (4, 4), "black"), target))


@pytest.mark.parametrize("target", ["LA", "RGBA", "PA", "P"])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "P", "L", "RGB"])
def test_modes_with_alpha_keep_what_is_transparent(mode: str, target: modes.Mode):
    image = sample(mode)
    if mode in ("P", "L", "RGB"):
        image.info["transparency"] = image.getpixel((5, 5))
    alpha = image.convert("RGBA").getchannel("A")

    made = modes.convert(image, target).convert("RGBA").getchannel("A")

    if target == mode or target != "P":
        assert same(made, alpha)
    else:  # of few colours, alpha is among what is approached
        assert np.abs(np.asarray(made, dtype=int) - np.asarray(alpha, dtype=int)).mean() < 12


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_a_palette_of_the_colours_that_suit_it(mode: str):
    made = modes.convert(sample(mode), "P", palette="adaptive", colors=5)

    assert made.mode == "P"
    assert mode == "P" or len(made.getcolors()) <= 5


def test_one_grey_of_sixteen_bits_that_stands_for_nothing_becomes_alpha():
    deep = Image.fromarray(np.array([[0, 40_000, 40_001]], dtype="uint16"))
    deep.info["transparency"] = 40_000

    assert list(modes.convert(deep, "LA").tobytes()) == [0, 255, 156, 0, 156, 255]
    assert list(modes.convert(deep, "L").tobytes()) == [0, 255, 156]


def test_sixteen_bits_are_scaled_to_eight_and_back():
    deep = Image.fromarray(np.array([[0, 255, 256, 32768, 65535]], dtype="uint16"))

    eight = modes.convert(deep, "L")
    back = modes.convert(eight, "I;16")

    assert list(eight.tobytes()) == [0, 0, 1, 128, 255]
    assert np.asarray(back).tolist() == [[0, 0, 257, 128 * 257, 65535]]
    assert same(modes.convert(back, "L"), eight)


@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=9))
def test_numbers_stay_the_same_among_the_modes_of_numbers(values: list[int]):
    deep = Image.fromarray(np.array([values], dtype="uint16"))

    for mode in ("I", "F"):
        wide = modes.convert(deep, mode)  # type: ignore[arg-type]
        assert np.asarray(wide).tolist() == [values]
        assert np.asarray(modes.convert(wide, "I;16")).tolist() == [values]


@pytest.mark.parametrize("values", [[-1, 5], [0, 65_536]])
def test_numbers_that_do_not_fit_sixteen_bits_are_refused(values: list[int]):
    image = Image.fromarray(np.array([values], dtype="int32"))

    with pytest.raises(InvalidArguments, match=f"go from {values[0]} to {values[1]}, and I;16 holds 0 to 65535"):
        modes.convert(image, "I;16")
    assert list(modes.convert(image, "L").tobytes()) == [0, 255]


@pytest.mark.parametrize(
    ("mode", "target", "stays"),
    [
        ("RGB", "RGBA", True),
        ("RGBA", "RGB", True),
        ("P", "RGB", True),
        ("RGB", "P", True),
        ("RGB", "RGB", True),
        ("RGB", "L", False),
        ("RGB", "CMYK", False),
        ("RGBA", "LA", False),
        ("RGB", "I;16", False),
        ("RGB", "LAB", False),
    ],
)
def test_a_profile_stays_only_where_it_describes_the_pixels(mode: str, target: modes.Mode, stays: bool):
    image = sample(mode)
    image.info["icc_profile"] = SRGB

    made = modes.convert(image, target)

    assert (made.info.get("icc_profile") == SRGB) is stays
    plain = modes.convert(sample(mode), target)
    apart = np.abs(
        np.asarray(made.convert("I" if target == "I;16" else target), dtype=int) - np.asarray(plain, dtype=int)
    )
    assert apart.max() <= (4 * 257 if target == "I;16" else 4)


def test_colours_are_converted_from_their_profile_before_they_change_their_space(tmp_path: Path):
    picture = chelsea()
    picture.info["icc_profile"] = SWAPPED
    red, green, blue = chelsea().split()
    right = Image.merge("RGB", (blue, green, red))
    current = context.Attempt()
    with context.attempt(tmp_path, current=current):
        made = {mode: modes.convert(picture, mode) for mode in ("L", "CMYK", "LAB", "HSV")}

    for mode in ("L", "CMYK"):
        assert "icc_profile" not in made[mode].info
        expected = np.asarray(right.convert(mode), dtype=int)
        assert np.abs(np.asarray(made[mode], dtype=int) - expected).max() <= 3
    assert made["HSV"].info["icc_profile"] == SWAPPED
    assert current.notes["icc_profile"].startswith("colours converted from Sw")


@pytest.mark.parametrize(
    ("profile", "reason"),
    [(b"rubbish", "doesn't describe these pixels"), (SRGB, "it is sRGB's"), (GREY, "doesn't describe")],
)
def test_a_profile_that_says_nothing_new_is_left_out_and_noted(tmp_path: Path, profile: bytes, reason: str):
    image = chelsea()
    image.info["icc_profile"] = profile
    current = context.Attempt()

    with context.attempt(tmp_path, current=current):
        made = modes.convert(image, "CMYK")

    assert same(made, chelsea().convert("CMYK"))
    assert "icc_profile" not in made.info
    assert current.notes["icc_profile"].startswith("left out")
    assert reason in current.notes["icc_profile"]


def test_an_image_of_the_mode_already_is_turned_and_otherwise_stays():
    image = chelsea()
    image.getexif()[ORIENTATION] = 3

    assert same(modes.convert(image, "RGB"), chelsea().rotate(180))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"mode": "RGBX"}, "mode: takes one of 1, L"),
        ({"mode": "L", "dither": "ordered"}, "dither: takes one of none, floydsteinberg"),
        ({"mode": "P", "palette": "best"}, "palette: takes one of web, adaptive"),
        ({"mode": "P", "colors": 1}, "colors"),
        ({"mode": "L", "background": "no"}, "background"),
    ],
)
def test_a_conversion_that_makes_no_sense_is_refused(arguments: dict[str, object], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        modes.convert(chelsea(), **arguments)  # type: ignore[arg-type]


# --- quantize -----------------------------------------------------------------------------------------


@given(
    image=images(("L", "RGB", "RGBA")),
    colors=st.integers(1, 256),
    kmeans=st.integers(0, 4),
    method=st.sampled_from(["mediancut", "maxcoverage", "fastoctree", None]),
)
def test_a_quantized_image_is_what_pillow_makes(image: Image.Image, colors: int, kmeans: int, method: str | None):
    if image.mode == "RGBA" and method != "fastoctree":
        method = None
    way = None if method is None else Image.Quantize[method.upper()]

    made = modes.quantize(image, colors, method=method, kmeans=kmeans)  # type: ignore[arg-type]

    assert same(made, image.quantize(colors, way, kmeans))
    assert len(made.getcolors()) <= colors


@pytest.mark.parametrize("dither", ["none", "floydsteinberg"])
def test_an_image_takes_the_colours_of_a_given_palette(dither: modes.Dithering):
    palette = chelsea().quantize(7)

    made = modes.quantize(sample("RGB"), palette=palette, dither=dither)

    assert same(made, sample("RGB").quantize(palette=palette, dither=Image.Dither[dither.upper()]))
    assert same(modes.quantize(sample("L"), palette=palette), sample("L").quantize(palette=palette))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_quantized_or_refused_with_a_cure(mode: str):
    image = sample(mode)
    image.info["icc_profile"] = SRGB
    if mode in ("CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16B", "I", "F"):
        with pytest.raises(InvalidArguments, match="convert it first"):
            modes.quantize(image, 8)
        return

    made = modes.quantize(image, 8)

    assert made.mode == "P"
    assert ("icc_profile" in made.info) is (mode in ("P", "PA", "RGB", "RGBA"))  # it isn't of greys
    assert len(made.getcolors()) <= 8


def test_the_profile_of_greys_does_not_end_up_on_a_palette_of_colours():
    image = sample("L")
    image.info["icc_profile"] = GREY

    assert "icc_profile" not in modes.quantize(image, 8).info


@pytest.mark.parametrize(
    ("mode", "arguments", "reason"),
    [
        ("RGB", {"colors": 0}, "colors"),
        ("RGB", {"colors": 257}, "colors"),
        ("RGB", {"kmeans": -1}, "kmeans"),
        ("RGB", {"method": "best"}, "method: takes one of mediancut"),
        ("RGBA", {"method": "mediancut"}, "can't do with alpha: take 'fastoctree'"),
        ("RGBA", {"palette": sample("P")}, "a given palette has no alpha"),
        ("RGB", {"palette": sample("RGB")}, "palette: takes an image of mode P, got one of RGB"),
    ],
)
def test_a_palette_that_makes_no_sense_is_refused(mode: str, arguments: dict[str, object], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        modes.quantize(sample(mode), **arguments)  # type: ignore[arg-type]


def test_a_method_that_pillow_is_built_without_is_refused_with_another():
    from PIL import features

    if features.check_feature("libimagequant"):
        assert modes.quantize(chelsea(), 8, method="libimagequant").mode == "P"
    else:
        with pytest.raises(InvalidArguments, match="without libimagequant"):
            modes.quantize(chelsea(), 8, method="libimagequant")
