import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from tests.unit.image_samples import GREY, MODES, ORIENTATION, SRGB, SWAPPED, chelsea, images, same, sample
from workbench.core.errors import InvalidArguments
from workbench.operations.image import colour

PLAIN = ("L", "RGB")
HANDLED = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}
OPERATIONS = {
    "image.adjust": lambda image: colour.adjust(image, brightness=1.5, sharpness=2),
    "image.autocontrast": lambda image: colour.autocontrast(image, 1),
    "image.equalize": colour.equalize,
    "image.posterize": lambda image: colour.posterize(image, 3),
    "image.invert": colour.invert,
}
NATIVE = {("image.posterize", "P"): "P", ("image.invert", "P"): "P", ("image.invert", "1"): "1"}

# --- the same as Pillow -------------------------------------------------------------------------------


@given(image=images(PLAIN), low=st.floats(0, 40), high=st.floats(0, 40), preserve=st.booleans())
def test_an_image_with_its_tones_stretched_is_what_pillow_makes(
    image: Image.Image, low: float, high: float, preserve: bool
):
    made = colour.autocontrast(image, (low, high), ignore=[0, 255], preserve_tone=preserve)

    assert same(made, ImageOps.autocontrast(image, (low, high), [0, 255], preserve_tone=preserve))


@given(image=images(PLAIN), bits=st.integers(1, 8))
def test_an_image_equalized_posterized_and_inverted_is_what_pillow_makes(image: Image.Image, bits: int):
    assert same(colour.equalize(image), ImageOps.equalize(image))
    assert same(colour.posterize(image, bits), ImageOps.posterize(image, bits))
    assert same(colour.invert(image), ImageOps.invert(image))


@given(image=images(("L", "LA", "RGB", "RGBA")), factor=st.floats(0, 5, width=16))
def test_an_adjusted_image_is_what_pillow_makes(image: Image.Image, factor: float):
    assert same(colour.adjust(image, brightness=factor), ImageEnhance.Brightness(image).enhance(factor))
    assert same(colour.adjust(image, contrast=factor), ImageEnhance.Contrast(image).enhance(factor))
    assert same(colour.adjust(image, color=factor), ImageEnhance.Color(image).enhance(factor))
    assert same(colour.adjust(image, sharpness=factor), ImageEnhance.Sharpness(image).enhance(factor))


def test_brightness_is_changed_before_contrast():
    picture = chelsea()

    made = colour.adjust(picture, contrast=2, brightness=0.5)

    assert same(made, ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(0.5)).enhance(2))
    assert same(colour.adjust(picture), picture)


# --- modes and what stays -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_handled_or_refused_with_a_cure_that_works(mode: str, name: str):
    image = sample(mode)
    image.info["icc_profile"] = SRGB
    if mode in HANDLED:
        made = OPERATIONS[name](image)
        assert made.mode == NATIVE.get((name, mode), HANDLED[mode])
        assert made.size == image.size
        assert made.info["icc_profile"] == SRGB
        return

    cure = "L" if mode[0] in "IF" else "RGB"
    with pytest.raises(InvalidArguments, match=rf"{name} works on L, LA, RGB, RGBA: .*image\.convert to mode='{cure}'"):
        OPERATIONS[name](image)

    from workbench.operations.image import modes

    assert OPERATIONS[name](modes.convert(image, cure)).mode == cure  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_stays_as_it_is(mode: str, name: str):
    image = sample(mode)

    assert same(OPERATIONS[name](image).getchannel("A"), image.convert("RGBA").getchannel("A"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_colour_that_stands_for_nothing_becomes_alpha(name: str):
    image = chelsea()
    key = image.getpixel((7, 7))
    image.info["transparency"] = key

    made = OPERATIONS[name](image)

    assert made.mode == "RGBA"
    assert "transparency" not in made.info
    assert same(made.getchannel("A"), image.convert("RGBA").getchannel("A"))


@pytest.mark.parametrize("operation", [lambda image: colour.posterize(image, 2), colour.invert])
def test_a_transparent_palette_stays_one_and_transparent(operation):  # type: ignore[no-untyped-def]
    image = sample("P")
    image.info["transparency"] = 3

    made = operation(image)

    assert made.mode == "P"
    assert same(made.convert("RGBA").getchannel("A"), image.convert("RGBA").getchannel("A"))
    assert same(made.convert("RGB"), operation(image.convert("RGBA").convert("RGB")))


def test_pixels_that_cannot_be_seen_do_not_count():
    seen = Image.linear_gradient("L").point(lambda tone: 100 + tone // 8)
    image = Image.merge("LA", (seen, Image.new("L", seen.size, 255)))
    image.paste((0, 0), (0, 0, 256, 20))
    image.paste((255, 0), (0, 20, 256, 40))

    for operation in (colour.autocontrast, colour.equalize):
        made = operation(image).crop((0, 40, 256, 256)).getchannel("L")
        assert made.getextrema()[0] < 20 + 20  # type: ignore[operator, index]
        assert made.getextrema()[1] == 255  # type: ignore[index]


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_photograph_on_its_side_is_turned_and_the_original_left_alone(name: str):
    image = chelsea()
    image.getexif()[ORIENTATION] = 6
    before = image.tobytes()

    made = OPERATIONS[name](image)

    assert made.size == image.size[::-1]
    assert image.tobytes() == before


# --- grey ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_grey(mode: str):
    assert colour.grayscale(sample(mode)).mode == ("LA" if mode in ("LA", "PA", "RGBA") else "L")


def test_colours_with_a_profile_become_grey_by_way_of_srgb():
    plain, swapped, red = chelsea(), chelsea(), Image.new("RGBA", (1, 1), "red")
    plain.info["icc_profile"] = SRGB
    swapped.info["icc_profile"] = red.info["icc_profile"] = SWAPPED

    assert same(colour.grayscale(plain), chelsea().convert("L"))
    assert not same(colour.grayscale(swapped), chelsea().convert("L"))
    assert colour.grayscale(red).getpixel((0, 0)) == (29, 255)  # as of blue
    for image in (plain, swapped, red):
        assert "icc_profile" not in colour.grayscale(image).info


def test_greys_keep_the_profile_of_greys():
    image = chelsea().convert("L")
    image.info["icc_profile"] = GREY

    assert colour.grayscale(image).info["icc_profile"] == GREY


# --- refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda image: colour.adjust(image, brightness=-1), "brightness: takes a factor from 0"),
        (lambda image: colour.adjust(image, sharpness=float("nan")), "sharpness"),
        (lambda image: colour.autocontrast(image, (60, 40)), "cutoff"),
        (lambda image: colour.autocontrast(image, -1), "cutoff"),
        (lambda image: colour.autocontrast(image, ignore=256), "ignore"),
        (lambda image: colour.posterize(image, 0), "bits"),
        (lambda image: colour.posterize(image, 9), "bits"),
        (lambda image: colour.invert(image.crop((0, 0, 0, 9))), "no pixels"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(call, reason: str):  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidArguments, match=reason):
        call(chelsea())
