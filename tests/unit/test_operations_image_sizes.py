from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.unit.image_samples import MODES, ORIENTATION, SRGB, chelsea, images, photograph, same, sample
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import pixels
from workbench.operations.image import sizes, thumbnails
from workbench.values.refs import FileRef

Filter = Image.Resampling
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


# --- thumbnails of files ------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.jpg"
    chelsea().resize((1801, 1199)).save(path, icc_profile=SRGB)
    return path


def referred(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


@pytest.mark.parametrize("size", [(50, 50), (200, 100), (333, 444), (900, 900), (1801, 1199), (5000, 5000)])
def test_a_thumbnail_of_a_jpeg_file_is_what_pillow_makes_of_the_file(large: Path, size: tuple[int, int]):
    with Image.open(large) as expected:
        expected.thumbnail(size, Filter.LANCZOS)
        expected.load()

        made = thumbnails.thumbnail(referred(large), size)

    assert same(made, expected)
    assert made.info["icc_profile"] == SRGB


def test_a_jpeg_file_is_decoded_no_larger_than_needed(large: Path, monkeypatch: pytest.MonkeyPatch):
    decoded: list[tuple[int, int]] = []
    monkeypatch.setattr(pixels, "upright", lambda image: (decoded.append(tuple(image.decoderconfig)), image)[1])

    for side in (50, 200, 400, 1000):
        thumbnails.thumbnail(referred(large), (side, side))

    assert [scale for scale, _ in decoded] == [8, 2, 1, 1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_thumbnail_of_a_jpeg_file_stands_upright_and_fits(tmp_path: Path, orientation: int):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    chelsea().resize((1600, 1000)).save(path, exif=exif)
    with Image.open(path) as expected:
        expected.thumbnail((60, 90) if orientation > 4 else (90, 60), Filter.LANCZOS)
        expected = ImageOps.exif_transpose(expected)

    made = thumbnails.thumbnail(referred(path), (90, 60))

    assert same(made, expected)
    assert made.width <= 90
    assert made.height <= 60
    assert made.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "gif", "bmp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_thumbnail_of_another_file_is_that_of_its_image(tmp_path: Path, suffix: str, orientation: int):
    path = tmp_path / f"picture.{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    chelsea().save(path, exif=exif)
    with Image.open(path) as picture:
        picture.load()

    assert same(thumbnails.thumbnail(referred(path), (90, 50)), thumbnails.thumbnail(picture, (90, 50)))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpeg_files_keep_their_mode(tmp_path: Path, mode: str):
    path = tmp_path / "a.jpg"
    chelsea().convert(mode).save(path)

    assert thumbnails.thumbnail(referred(path), (64, 64)).mode == mode


def test_a_jpeg_file_that_is_cut_short_is_named(large: Path):
    large.write_bytes(large.read_bytes()[:5000])

    with pytest.raises(InputError, match=r"large\.jpg can't be read as JPEG: .*Get the file again"):
        thumbnails.thumbnail(referred(large), (50, 50))


def test_a_file_that_is_no_image_is_named(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no image")

    with pytest.raises(InputError, match=r"a\.jpg is not an image"):
        thumbnails.thumbnail(referred(path), (50, 50))


# --- the same as Pillow -------------------------------------------------------------------------------


@given(image=images(), size=SIZES)
def test_contained_covering_and_fitted_images_are_what_pillow_makes(image: Image.Image, size: tuple[int, int]):
    assert same(sizes.cover(image, size), ImageOps.cover(image, size))
    assert same(sizes.fit(image, size), ImageOps.fit(image, size))
    expected = ImageOps.contain(image, size)
    if 0 not in expected.size:
        assert same(sizes.contain(image, size), expected)


@given(image=images(("L", "RGB")), size=SIZES, across=st.floats(0, 1), down=st.floats(0, 1))
def test_padded_and_fitted_images_lie_where_pillow_puts_them(
    image: Image.Image, size: tuple[int, int], across: float, down: float
):
    where = (across, down)
    assert same(
        sizes.fit(image, size, bleed=0.1, centering=where), ImageOps.fit(image, size, bleed=0.1, centering=where)
    )
    if 0 not in ImageOps.contain(image, size).size:
        expected = ImageOps.pad(image, size, color="red", centering=where)
        assert same(sizes.pad(image, size, color="red", centering=where), expected)


@given(image=images(side=60), size=SIZES)
def test_every_size_comes_out_as_asked(image: Image.Image, size: tuple[int, int]):
    width, height = size
    inside = sizes.contain(image, size)
    outside = sizes.cover(image, size)

    assert sizes.resize(image, size).size == sizes.fit(image, size).size == sizes.pad(image, size).size == size
    assert inside.width == width or inside.height == height
    assert 1 <= inside.width <= width
    assert 1 <= inside.height <= height
    assert outside.width >= width
    assert outside.height >= height


def test_an_image_far_too_wide_is_contained_as_a_line():
    line = Image.new("L", (4000, 2), 9)

    assert sizes.contain(line, (100, 100)).size == (100, 1)
    assert sizes.contain(line.rotate(90, expand=True), (100, 100)).size == (1, 100)
    assert sizes.pad(line, (100, 100)).getextrema() == (0, 9)


def test_a_part_of_an_image_is_resized_as_pillow_does():
    picture, box = chelsea(), (10.5, 20, 300.25, 200)

    made = sizes.resize(picture, (40, 30), box=box, reducing_gap=2)

    assert same(made, picture.resize((40, 30), Filter.BICUBIC, box, 2))


# --- modes and metadata -------------------------------------------------------------------------------

MADE_OF = {"1": "L", "P": "RGB", "PA": "RGBA", "I;16B": "I;16"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "change",
    [
        lambda image: thumbnails.thumbnail(image, (20, 20)),
        lambda image: sizes.resize(image, (20, 20), reducing_gap=2),
        lambda image: sizes.contain(image, (20, 20)),
        lambda image: sizes.cover(image, (20, 20)),
        lambda image: sizes.fit(image, (20, 20)),
        lambda image: sizes.pad(image, (20, 20)),
        lambda image: sizes.pad(image, (20, 20), color="white"),
    ],
)
def test_every_mode_changes_its_size_and_keeps_its_profile(mode: str, change):  # type: ignore[no-untyped-def]
    image = sample(mode)
    image.info["icc_profile"] = b"a profile"
    before = image.tobytes()

    made = change(image)

    assert made.mode == MADE_OF.get(mode, mode)
    assert made.info["icc_profile"] == b"a profile"
    assert 20 in made.size
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("mode", "black", "white"),
    [
        ("L", 0, 255),
        ("RGB", (0, 0, 0), (255, 255, 255)),
        ("LA", (0, 0), (255, 255)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),
        ("CMYK", None, (0, 0, 0, 0)),
        ("YCbCr", (0, 128, 128), (255, 128, 128)),
        ("I;16", 0, 65535),
        ("F", 0, 255),
    ],
)
def test_what_an_image_does_not_fill_is_black_or_of_the_colour_asked_for(mode: str, black: object, white: object):
    image = sample(mode)

    assert sizes.pad(image, (48, 96), color="white").getpixel((0, 0)) == white
    empty = sizes.pad(image, (48, 96)).crop((0, 0, 1, 1))
    assert black is None or empty.getpixel((0, 0)) == black
    if mode == "CMYK":
        assert empty.convert("RGB").getpixel((0, 0)) == (0, 0, 0)


# --- refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda image: sizes.fit(image, (5, 5), bleed=0.5), "bleed"),
        (lambda image: sizes.fit(image, (5, 5), centering=(0, 1.5)), "centering"),
        (lambda image: sizes.pad(image, (5, 5), centering=(-1, 0)), "centering"),
        (lambda image: sizes.pad(image, (5, 5), color="nothing"), "color: 'nothing' is not a colour"),
        (lambda image: sizes.contain(image, (0, 5)), "above 0"),
        (lambda image: sizes.contain(image, (5, 5), method="cubic"), "method: takes one of nearest"),
        (lambda image: sizes.resize(image, (5, 5), box=(0, 0, 500, 5)), "451 × 300"),
        (lambda image: sizes.resize(image, (5, 5), reducing_gap=0.5), "reducing_gap"),
        (lambda image: sizes.cover(image.crop((0, 0, 400, 1)), (10_000, 10_000)), "the covering image: .*megapixels"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(call, reason: str):  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidArguments, match=reason):
        call(chelsea())


def test_the_photographs_of_a_folder_become_thumbnails_without_being_opened_before():
    for name in ("rocket.jpg", "astronaut.png", "camera.png", "horse.png", "logo.png"):
        made = thumbnails.thumbnail(FileRef(str(photograph(name)), name), (64, 64))
        assert max(made.size) == 64
