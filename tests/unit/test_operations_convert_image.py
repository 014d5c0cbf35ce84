import io
import tempfile
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms

from workbench import samples
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.operations.convert import image
from workbench.values.refs import FileRef

FORMATS = ("png", "jpeg", "webp", "avif", "tiff", "gif", "bmp", "ico", "jp2")
PROFILED = ("png", "jpeg", "webp", "avif", "tiff")
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

    assert (made.format, made.size) == ("JPEG2000" if to == "jp2" else to.upper(), (20, 10))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_goes_into_a_pdf(mode: str):
    for quality in (None, 50):
        assert image(Image.new(mode, (20, 10)), "pdf", quality=quality).read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("to", ["png", "tiff", "bmp", "jp2"])
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


@pytest.mark.parametrize("to", ["png", "webp", "avif", "tiff", "gif", "ico", "jp2"])
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

    assert made.size == ((8, 16) if to == "ico" else (20, 40))  # the largest of the usual sizes
    assert made.getexif().get(ORIENTATION, 1) == 1
    assert made.getexif().get(0x010F) == ("Maker" if to in PROFILED else None)
    if to in ("png", "jpeg", "tiff", "bmp"):
        assert [round(float(part)) for part in made.info["dpi"]] == [300, 300]


def test_a_tiff_becomes_a_tiff_with_its_exif(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.tif", exif=exif, compression="tiff_lzw")

    made = opened(image(ref(tmp_path / "a.tif"), "tiff"))

    assert made.getexif()[0x010F] == "Maker"
    assert made.getpixel((0, 0)) == (255, 0, 0)


def photographed() -> Image.Exif:
    """What a camera tells: the exposure and the place in directories of their own."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x9C9B] = "Title".encode("utf-16-le")
    exposure, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    exposure |= {0x9003: "2024:01:01 00:00:00", 0x829A: 0.004, 0x927C: b"a maker's own", 0xA005: {1: "R98"}}
    place |= {0: b"\2\3\0\0", 1: "N", 2: (52.0, 30.0, 15.5), 3: "E", 4: (13.0, 24.0, 0.25)}
    return exif


def told_by(picture: Image.Image) -> tuple[object, ...]:
    exif = picture.getexif()
    exposure = {tag: value for tag, value in exif.get_ifd(0x8769).items() if tag != 0xA005}
    return exif[0x010F], exif[0x9C9B], exposure, exif.get_ifd(0x8825), exif.get_ifd(0xA005)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("source", ["jpeg", "png", "webp", "avif", "tiff"])
def test_a_photograph_becomes_a_tiff_with_its_exposure_and_place(tmp_path: Path, source: str, orientation: int):
    exif = photographed()
    exif[ORIENTATION] = orientation
    Image.new("RGB", (41, 20), "red").save(tmp_path / f"a.{source}", exif=exif, dpi=(300, 300))

    path = image(ref(tmp_path / f"a.{source}"), "tiff")

    with Image.open(path) as made, Image.open(tmp_path / f"a.{source}") as before:
        assert told_by(made) == told_by(before)
        assert made.getexif().get(ORIENTATION, 1) == 1
        assert made.size == ((20, 41) if orientation == 6 else (41, 20))
        assert made.info["compression"] == "tiff_adobe_deflate"
        assert made.convert("RGB").getpixel((3, 3))[0] > 250  # type: ignore[index]
    again = image(ref(path), "jpeg")
    with Image.open(path) as before, Image.open(again) as made:
        assert told_by(made) == told_by(before)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_mode_of_a_tiff_goes_with_exif(tmp_path: Path, mode: str):
    Image.new(mode, (41, 20)).save(tmp_path / "a.tif", exif=photographed())

    with Image.open(image(ref(tmp_path / "a.tif"), "tiff")) as made, Image.open(tmp_path / "a.tif") as before:
        made.load()
        assert made.mode == mode
        assert told_by(made) == told_by(before)


def test_tags_that_say_how_another_tiff_lay_stay_out_of_a_tiff(tmp_path: Path):
    exif = photographed()
    exif[330] = 8  # where more directories are
    exif[532] = (0, 255, 128, 255, 128, 255)  # how YCbCr is meant
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.jpg", exif=exif)

    with Image.open(image(ref(tmp_path / "a.jpg"), "tiff")) as made:
        assert not {330, 532} & set(made.getexif())
        assert made.getexif().get_ifd(0x8825)[1] == "N"


def test_damaged_exif_is_left_out_of_a_tiff_and_noted(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0nothing of the kind")

    assert notes_of(ref(tmp_path / "a.jpg"), "tiff")["exif"].startswith("left out: there is no tag")


@pytest.mark.parametrize("to", FORMATS)
def test_a_colour_profile_is_kept_where_it_can_be(to: str):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (16, 16), (200, 100, 50))
    picture.info["icc_profile"] = profile

    made = opened(image(picture, to))  # type: ignore[arg-type]

    assert made.info.get("icc_profile") == (profile if to in PROFILED else None)
    assert max(abs(a - b) for a, b in zip(made.convert("RGB").getpixel((8, 8)), (200, 100, 50), strict=True)) <= 4  # type: ignore[arg-type]


def test_colours_are_converted_from_a_profile_that_a_format_cannot_hold_and_that_is_noted(tmp_path: Path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")  # red is blue there
    profile = swapped.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
    Image.new("RGBA", (4, 4), (200, 100, 50, 255)).save(tmp_path / "a.png", icc_profile=profile)

    told = notes_of(ref(tmp_path / "a.png"), "bmp")["icc_profile"]
    assert told == "colours converted from BGRs built-in to sRGB: bmp holds no profile"
    made = opened(image(ref(tmp_path / "a.png"), "bmp"))
    assert max(abs(a - b) for a, b in zip(made.getpixel((2, 2)), (50, 100, 200), strict=True)) <= 2  # type: ignore[arg-type]


def test_a_profile_of_another_colour_model_is_not_attached():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("CMYK", (16, 16))
    picture.info["icc_profile"] = profile  # a profile that doesn't fit its image

    assert "icc_profile" not in opened(image(picture, "png")).info


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
        ({"to": "png", "quality": 50}, "png has no such option; it is for jpeg, webp, avif, jp2, pdf"),
        ({"to": "webp", "quality": 50, "lossless": True}, "leave out one of quality and lossless"),
        ({"to": "avif", "lossless": True}, "lossless: avif has no such option"),
        ({"to": "avif", "speed": 11}, "speed: takes 0 to 10, got 11"),
        ({"to": "webp", "speed": 3}, "speed: webp has no such option; it is for avif"),
        ({"to": "webp", "method": 7}, "method: takes 0 to 6"),
        ({"to": "png", "progressive": True}, "progressive: png has no such option; it is for jpeg"),
        ({"to": "ico", "sizes": [(512, 512)]}, "sizes: takes widths and heights from 1 to 256"),
        ({"to": "ico", "sizes": [(16, 16)]}, "16 × 16 is larger than the image, which is 8 × 8"),
        ({"to": "gif", "duration": 0}, "duration: takes 1 to 65,535, got 0"),
        ({"to": "avif", "loop": 1}, "loop: avif has no such option; it is for gif, webp, png"),
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


def compared(path: Path, format_: str, **options: object) -> bytes:
    """What plain Pillow makes of a file, with the same options."""
    file = io.BytesIO()
    with Image.open(path) as picture:
        picture.save(file, format_, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    ("to", "options", "same"),
    [
        ("jpeg", {"quality": 40, "progressive": True, "optimize": True}, {}),
        ("jpeg", {}, {"quality": 85}),
        ("png", {"optimize": True}, {}),
        ("webp", {"lossless": True, "method": 2}, {}),
        ("webp", {"quality": 30}, {}),
        ("avif", {"quality": 40, "speed": 9}, {}),
        ("jp2", {}, {}),
        ("jp2", {"quality": 40}, {"quality_mode": "dB", "quality_layers": [40], "irreversible": True}),
        ("bmp", {}, {}),
        ("tiff", {}, {"compression": "tiff_adobe_deflate"}),
        ("gif", {"optimize": True}, {}),
        ("ico", {"sizes": [(32, 32), (48, 48)]}, {}),
    ],
)
def test_a_file_is_byte_for_byte_what_pillow_writes(
    tmp_path: Path, to: str, options: dict[str, object], same: dict[str, object]
):
    source = tmp_path / "a.ppm"  # which holds nothing but pixels
    Image.effect_noise((96, 64), 60).convert("RGB").save(source)

    made = image(ref(source), to, **options).read_bytes()  # type: ignore[arg-type]

    assert made == compared(source, "JPEG2000" if to == "jp2" else to, **(same or options))


def test_an_icon_holds_the_usual_sizes_or_those_asked_for():
    picture = Image.new("RGBA", (300, 300), "red")

    assert opened(image(picture, "ico")).info["sizes"] == {(side, side) for side in (16, 24, 32, 48, 64, 128, 256)}
    assert opened(image(picture, "ico", sizes=[(16, 16), (40, 40)])).info["sizes"] == {(16, 16), (40, 40)}


def test_an_icon_is_resampled_in_colour_though_its_source_has_a_palette():
    stripes = Image.new("RGB", (64, 64), "white")
    stripes.paste("black", (0, 0, 32, 64))

    small = opened(image(stripes.convert("P"), "ico", sizes=[(21, 21)])).convert("RGB")

    assert len(set(small.crop((0, 10, 21, 11)).get_flattened_data())) > 2


@pytest.mark.parametrize("source", ["png", "jpeg", "webp", "avif", "tiff", "gif", "bmp", "dib", "ico", "jp2", "ppm"])
def test_every_format_of_the_list_is_read(tmp_path: Path, source: str):
    path = tmp_path / f"a.{source}"
    Image.new("RGB", (32, 32), "teal").save(path)

    made = opened(image(ref(path), "png")).convert("RGB")

    assert made.size == (32, 32)
    assert max(abs(a - b) for a, b in zip(made.getpixel((9, 9)), (0, 128, 128), strict=True)) <= 4  # type: ignore[arg-type]


def test_of_an_mpo_the_first_picture_is_taken(tmp_path: Path):
    Image.new("RGB", (32, 16), "red").save(
        tmp_path / "a.mpo", save_all=True, append_images=[Image.new("RGB", (16, 8), "blue")]
    )

    made = Image.open(image(ref(tmp_path / "a.mpo"), "tiff"))

    assert (made.size, made.n_frames) == ((32, 16), 1)  # type: ignore[attr-defined]
    made.close()


def test_a_palette_with_transparency_stays_transparent_in_a_tiff(tmp_path: Path):
    clear = Image.new("P", (8, 8))
    clear.info["transparency"] = 0
    clear.save(tmp_path / "a.png", transparency=0)

    assert opened(image(ref(tmp_path / "a.png"), "tiff")).convert("RGBA").getextrema()[3] == (0, 0)  # type: ignore[index]


def notes_of(*args: object, **kwargs: object) -> dict[str, str]:
    attempt = context.Attempt()
    with context.attempt(Path(tempfile.mkdtemp()), None, attempt):
        image(*args, **kwargs)  # type: ignore[arg-type]
    return attempt.notes


def test_what_a_format_cannot_hold_is_noted(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGBA", (8, 8)).save(tmp_path / "a.png", exif=exif, dpi=(300, 300), icc_profile=profile)

    assert notes_of(ref(tmp_path / "a.png"), "png") == {}
    assert notes_of(ref(tmp_path / "a.png"), "bmp", background="red") == {
        "alpha": "bmp holds no transparent pixels: they were laid on #ff0000",
        "exif": "left out: bmp holds none",
        "icc_profile": "left out, as it is sRGB's",
    }
    assert notes_of(ref(tmp_path / "a.png"), "jp2")["dpi"] == "left out: jp2 holds none"


def test_exif_too_long_for_a_jpeg_is_left_out_and_noted(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)

    assert "are more than JPEG's 65,533" in notes_of(ref(tmp_path / "a.webp"), "jpeg")["exif"]


def test_a_comment_too_long_for_a_jpeg_is_left_out_and_noted(tmp_path: Path):
    Image.new("P", (8, 8)).save(tmp_path / "a.gif", comment=b"x" * 70_000)

    assert notes_of(ref(tmp_path / "a.gif"), "jpeg") == {"comment": "left out: it is longer than JPEG's 65,533 bytes"}


def test_xmp_is_left_out_and_noted(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", xmp=b"<x:xmpmeta/>")

    assert notes_of(ref(tmp_path / "a.jpg"), "webp")["xmp"].startswith("left out")


def test_exif_travels_byte_for_byte_where_nothing_in_it_changes(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)

    made = opened(image(ref(tmp_path / "a.jpg"), "png"))

    before, after = (picture.info["exif"].removeprefix(b"Exif\0\0") for picture in (opened(tmp_path / "a.jpg"), made))
    assert before == after
