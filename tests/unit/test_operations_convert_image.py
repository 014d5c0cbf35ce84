from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms

from workbench import samples
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.operations.convert import image
from workbench.values.refs import FileRef

FORMATS = ("png", "jpeg", "webp", "tiff", "gif", "bmp")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path):
    with context.attempt(tmp_path / "scratch"):
        yield


def ref(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_goes_into_every_format(mode: str, to: str):
    made = opened(image(Image.new(mode, (20, 10)), to))  # type: ignore[arg-type]

    assert (made.format, made.size) == (to.upper(), (20, 10))


@pytest.mark.parametrize("to", ["png", "tiff", "bmp"])
def test_formats_without_loss_keep_every_pixel_of_a_photograph(to: str):
    astronaut = samples.photographs()[0]

    made = image(ref(astronaut), to)  # type: ignore[arg-type]

    assert made.name == f"astronaut.{to}"
    assert ImageChops.difference(opened(made), opened(astronaut)).getbbox() is None


def test_a_higher_quality_makes_a_larger_and_closer_file():
    astronaut = samples.photographs()[0]

    sizes = [image(ref(astronaut), "jpeg", quality=quality).stat().st_size for quality in (20, 85, 98)]

    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("to", "left"), [("jpeg", (0, 0, 254)), ("bmp", (0, 0, 255))])
def test_transparency_that_the_format_cannot_hold_is_laid_on_the_background(to: str, left: tuple[int, ...]):
    half = Image.new("RGBA", (32, 16))
    half.paste((255, 0, 0, 255), (16, 0, 32, 16))

    made = opened(image(half, to, background="blue"))  # type: ignore[arg-type]

    assert made.mode == "RGB"
    assert made.getpixel((2, 2)) == left


@pytest.mark.parametrize("to", ["png", "webp", "tiff", "gif"])
def test_transparency_that_the_format_can_hold_is_kept(to: str):
    made = opened(image(Image.new("RGBA", (16, 16)), to)).convert("RGBA")  # type: ignore[arg-type]

    assert made.getchannel("A").getextrema() == (0, 0)


def test_what_is_partly_transparent_is_flattened_for_gif():
    made = opened(image(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "gif", background="white")).convert("RGBA")

    assert made.getpixel((3, 3))[3] == 255  # type: ignore[index]
    assert 120 < made.getpixel((3, 3))[0] < 135  # type: ignore[index]


@pytest.mark.parametrize("to", FORMATS)
def test_the_orientation_is_carried_out_and_the_rest_of_exif_kept_where_it_can_be(tmp_path: Path, to: str):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Maker"
    Image.new("RGB", (40, 20), "red").save(tmp_path / "side.jpg", exif=exif, dpi=(300, 300))

    made = opened(image(ref(tmp_path / "side.jpg"), to))  # type: ignore[arg-type]

    assert made.size == (20, 40)
    assert made.getexif().get(ORIENTATION, 1) == 1
    assert made.getexif().get(0x010F) == (None if to in ("gif", "bmp") else "Maker")
    if to not in ("gif", "webp"):
        assert [round(float(part)) for part in made.info["dpi"]] == [300, 300]


def test_a_tiff_becomes_a_tiff_with_its_exif(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.tif", exif=exif, compression="tiff_lzw")

    made = opened(image(ref(tmp_path / "a.tif"), "tiff"))

    assert made.getexif()[0x010F] == "Maker"
    assert made.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("to", FORMATS)
def test_a_colour_profile_is_kept_where_it_can_be(to: str):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (16, 16), (200, 100, 50))
    picture.info["icc_profile"] = profile

    made = opened(image(picture, to))  # type: ignore[arg-type]

    assert made.info.get("icc_profile") == (None if to in ("gif", "bmp") else profile)
    assert max(abs(a - b) for a, b in zip(made.convert("RGB").getpixel((8, 8)), (200, 100, 50), strict=True)) <= 4  # type: ignore[arg-type]


def test_a_profile_of_another_colour_model_is_not_attached():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("CMYK", (16, 16))
    picture.info["icc_profile"] = profile  # a profile that doesn't fit its image

    assert "icc_profile" not in opened(image(picture, "png")).info


@pytest.mark.parametrize("to", ["gif", "webp", "png", "tiff"])
def test_an_animation_keeps_its_frames_where_the_format_has_any(tmp_path: Path, to: str):
    frames = [Image.new("RGB", (16, 16), name) for name in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=0)

    made = Image.open(image(ref(tmp_path / "a.gif"), to))  # type: ignore[arg-type]

    assert getattr(made, "n_frames", 1) == 3
    colours = []
    for number in range(3):
        made.seek(number)
        colours.append(made.convert("RGB").getpixel((8, 8)))
    made.close()
    assert [max(range(3), key=lambda band: colour[band]) for colour in colours] == [0, 1, 2]  # type: ignore[index]


def test_of_an_animation_the_first_frame_is_kept_where_the_format_has_none(tmp_path: Path):
    frames = [Image.new("RGB", (16, 16), name) for name in ("red", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])

    assert opened(image(ref(tmp_path / "a.gif"), "bmp")).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_the_image_that_is_converted_stays_as_it_is():
    picture = Image.new("P", (8, 8))
    before = picture.mode, dict(picture.info), picture.tobytes()

    image(picture, "jpeg")

    assert (picture.mode, dict(picture.info), picture.tobytes()) == before


def test_an_output_is_written_where_it_is_asked_for(tmp_path: Path):
    output = tmp_path / "a picture.webp"

    assert image(Image.new("RGB", (8, 8)), "webp", output=str(output)) == output
    assert opened(output).format == "WEBP"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"to": "png", "quality": 50}, "without loss"),
        ({"to": "jpeg", "quality": 0}, "1 to 100"),
        ({"to": "jpeg", "quality": 101}, "1 to 100"),
        ({"to": "jpeg", "background": "nothing"}, "colour"),
        ({"to": "svg"}, "one of png"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: dict[str, object], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        image(Image.new("RGB", (8, 8)), **arguments)  # type: ignore[arg-type]


def test_an_image_too_large_for_the_format_is_refused_with_others_that_hold_it():
    with pytest.raises(InvalidArguments, match=r"webp holds at most 16,383 pixels a side.*png or tiff"):
        image(Image.new("L", (16_384, 1)), "webp")


def test_a_damaged_file_is_named_and_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "cut.png").write_bytes(samples.photographs()[0].read_bytes()[:10_000])
    output = tmp_path / "out" / "a.jpeg"
    output.parent.mkdir()

    with pytest.raises(InputError, match=r"cut\.png can't be read as PNG"):
        image(ref(tmp_path / "cut.png"), "jpeg", output=str(output))
    (tmp_path / "no.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"no\.png is not an image"):
        image(ref(tmp_path / "no.png"), "jpeg")
    assert list(output.parent.iterdir()) == []
