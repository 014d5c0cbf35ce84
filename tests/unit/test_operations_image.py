import errno
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from workbench.core.errors import InputError, InputNotFound, InvalidArguments, StoreError
from workbench.operations import context, pixels
from workbench.operations.image import colour, compose, geometry, inspection, sizes, thumbnails
from workbench.values.refs import FileRef

ORIENTATION = 0x0112


def photograph(name: str) -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


def loaded(name: str) -> Image.Image:
    with Image.open(photograph(name)) as picture:
        picture.load()
        return picture


@pytest.fixture(scope="module")
def chelsea() -> Image.Image:
    return loaded("chelsea.png")


@pytest.fixture
def sideways(tmp_path: Path) -> Path:
    """A photograph whose camera was held upright: stored on its side, orientation 6."""
    path = tmp_path / "sideways.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Maker"
    exif[0x0110] = "Model 1"
    exif[0x0132] = "2013:01:02 03:04:05"
    loaded("rocket.jpg").save(path, exif=exif, dpi=(300, 300))
    return path


def same(left: Image.Image, right: Image.Image) -> bool:
    return (left.mode, left.size) == (right.mode, right.size) and ImageChops.difference(left, right).getbbox() is None


# --- thumbnail, resize ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["astronaut.png", "camera.png", "rocket.jpg", "logo.png"])
def test_a_thumbnail_is_what_pillow_makes(name: str):
    original = loaded(name)
    expected = original.copy()
    expected.thumbnail((100, 80), Image.Resampling.LANCZOS)

    made = thumbnails.thumbnail(original, (100, 80))

    assert same(made, expected)
    assert max(made.width - 100, made.height - 80) <= 0


def test_a_thumbnail_leaves_the_original_alone_and_never_enlarges(chelsea: Image.Image):
    before = chelsea.tobytes()

    assert thumbnails.thumbnail(chelsea, (5000, 5000)).size == chelsea.size
    thumbnails.thumbnail(chelsea, (10, 10))
    assert chelsea.tobytes() == before


def test_a_thumbnail_of_a_photograph_taken_upright_stands_upright(sideways: Path):
    with Image.open(sideways) as stored:
        made = thumbnails.thumbnail(stored, (64, 64))

    assert stored.width > stored.height
    assert made.width < made.height
    assert ORIENTATION not in made.getexif()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_is_undone(chelsea: Image.Image, orientation: int):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    stored = chelsea.copy()
    stored.getexif()[ORIENTATION] = orientation

    made = sizes.resize(stored, (40, 50), resample="nearest")

    assert same(made, chelsea.transpose(undo).resize((40, 50), Image.Resampling.NEAREST))


def test_an_orientation_that_makes_no_sense_turns_nothing(chelsea: Image.Image):
    stored = chelsea.copy()
    stored.getexif()[ORIENTATION] = 99

    assert thumbnails.thumbnail(stored, (1000, 1000)).size == chelsea.size
    assert inspection.info(stored)["orientation"] == 1


def test_an_exif_block_of_rubbish_turns_nothing(chelsea: Image.Image):
    stored = chelsea.copy()
    stored.info["exif"] = b"Exif\0\0rubbish"

    assert thumbnails.thumbnail(stored, (64, 64)).width == 64
    assert inspection.info(stored)["camera"] is None


@pytest.mark.parametrize("resample", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_a_resized_image_is_what_pillow_makes_with_every_filter(chelsea: Image.Image, resample: pixels.Resample):
    expected = chelsea.resize((123, 45), Image.Resampling[resample.upper()])

    assert same(sizes.resize(chelsea, (123, 45), resample=resample), expected)


def test_palettes_are_resized_in_their_colours(chelsea: Image.Image):
    palette = chelsea.quantize(64)

    made = sizes.resize(palette, (30, 20))

    assert same(made, palette.convert("RGB").resize((30, 20), Image.Resampling.BICUBIC))


def test_a_transparent_palette_keeps_its_transparency():
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.info["transparency"] = 0

    made = sizes.resize(palette, (4, 4))

    assert made.mode == "RGBA"
    assert made.getchannel("A").getextrema() == (0, 0)


def test_bilevel_images_are_resized_to_greys():
    made = sizes.resize(Image.fromarray(np.eye(8, dtype=bool)), (4, 4), resample="box")

    assert made.mode == "L"
    assert made.getpixel((0, 0)) == 128


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "I", "F", "I;16", "YCbCr", "HSV", "LAB"])
def test_other_modes_stay_as_they_are(mode: str):
    assert thumbnails.thumbnail(Image.new(mode, (64, 32)), (16, 16)).mode == mode


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((0, 5), "above 0"),
        ((5, -1), "above 0"),
        ((2.5, 5), "whole"),
        ((True, 5), "whole"),
        (5, "a width and a height"),
        ((1, 2, 3), "a width and a height"),
        ((100_000, 100_000), "10,000 megapixels"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused_with_the_reason(chelsea: Image.Image, size: object, reason: str):
    for function in (sizes.resize, thumbnails.thumbnail):
        with pytest.raises(InvalidArguments, match=reason):
            function(chelsea, size)  # type: ignore[operator]


def test_an_image_without_pixels_is_refused():
    with pytest.raises(InvalidArguments, match="no pixels"):
        thumbnails.thumbnail(Image.new("RGB", (0, 5)), (10, 10))


def test_an_unknown_filter_is_refused_with_those_there_are(chelsea: Image.Image):
    with pytest.raises(InvalidArguments, match="lanczos"):
        sizes.resize(chelsea, (5, 5), resample="cubic")  # type: ignore[arg-type]


# --- rotate, crop, flip, grayscale ------------------------------------------------------------------


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("angle", [30, -45.5, 90, 180, 720])
def test_a_rotated_image_is_what_pillow_makes(chelsea: Image.Image, angle: float, expand: bool):
    expected = chelsea.rotate(angle, Image.Resampling.BICUBIC, expand)

    assert same(geometry.rotate(chelsea, angle, expand=expand), expected)


def test_quarter_turns_lose_nothing(chelsea: Image.Image):
    turned = chelsea
    for _ in range(4):
        turned = geometry.rotate(turned, 90, expand=True)

    assert same(turned, chelsea)


def test_the_corners_of_a_turned_image_have_the_fill_colour(chelsea: Image.Image):
    assert geometry.rotate(chelsea, 45, expand=True, fillcolor="#ff0000").getpixel((0, 0)) == (255, 0, 0)
    assert geometry.rotate(chelsea.convert("L"), 45, expand=True, fillcolor=7).getpixel((0, 0)) == 7


@pytest.mark.parametrize("fillcolor", ["no colour", "#12", (1, 2, 999), (1, 2)])
def test_a_fill_colour_that_is_none_is_refused(chelsea: Image.Image, fillcolor: pixels.Color):
    with pytest.raises(InvalidArguments, match="fillcolor"):
        geometry.rotate(chelsea, 45, fillcolor=fillcolor)


@pytest.mark.parametrize("angle", [float("nan"), float("inf")])
def test_an_angle_that_is_none_is_refused(chelsea: Image.Image, angle: float):
    with pytest.raises(InvalidArguments, match="angle"):
        geometry.rotate(chelsea, angle)


def test_a_filter_that_cannot_turn_is_refused(chelsea: Image.Image):
    with pytest.raises(InvalidArguments, match="bicubic"):
        geometry.rotate(chelsea, 3, resample="lanczos")  # type: ignore[arg-type]


def test_a_crop_is_what_pillow_cuts(chelsea: Image.Image):
    assert same(geometry.crop(chelsea, (10, 20, 110, 70)), chelsea.crop((10, 20, 110, 70)))


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (20, 10, 10, 20), (-1, 0, 5, 5), (0, 0, 100_000, 5)])
def test_a_box_beyond_the_image_is_refused(chelsea: Image.Image, box: tuple[int, int, int, int]):
    with pytest.raises(InvalidArguments, match=f"{chelsea.width} × {chelsea.height}"):
        geometry.crop(chelsea, box)


def test_flipping_twice_gives_the_image_back(chelsea: Image.Image):
    for direction in ("horizontal", "vertical"):
        once = geometry.flip(chelsea, direction)  # type: ignore[arg-type]
        assert not same(once, chelsea)
        assert same(geometry.flip(once, direction), chelsea)  # type: ignore[arg-type]


def test_a_grey_image_has_pillows_luma_and_keeps_its_alpha(chelsea: Image.Image):
    assert same(colour.grayscale(chelsea), chelsea.convert("L"))
    assert colour.grayscale(loaded("logo.png")).mode == "LA"


# --- info -------------------------------------------------------------------------------------------


def test_the_info_of_a_file_tells_what_it_is(sideways: Path):
    told = inspection.info(FileRef(str(sideways), "sideways.jpg"))

    assert told == {
        "format": "JPEG",
        "mode": "RGB",
        "width": 640,
        "height": 427,
        "frames": 1,
        "bytes": sideways.stat().st_size,
        "orientation": 6,
        "dpi": [300.0, 300.0],
        "alpha": False,
        "icc_profile": None,
        "taken_at": "2013:01:02 03:04:05",
        "camera": "Maker Model 1",
    }


def test_the_info_of_an_animation_counts_its_frames():
    told = inspection.info(FileRef(str(photograph("no_time_for_that_tiny.gif")), "a.gif"))

    assert told["format"] == "GIF"
    assert told["frames"] > 1


def test_the_info_of_an_image_in_memory_knows_no_file():
    told = inspection.info(Image.new("RGBA", (3, 4)))

    assert (told["format"], told["bytes"], told["width"], told["height"], told["alpha"]) == (None, None, 3, 4, True)


def test_a_file_that_is_no_image_is_named(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"no image")

    with pytest.raises(InputError, match=r"holiday\.png is not an image"):
        inspection.info(FileRef(str(path), "holiday.png"))
    with pytest.raises(InputNotFound, match="missing"):
        inspection.info(FileRef(str(tmp_path / "missing.png"), "missing.png"))


# --- contact sheet ----------------------------------------------------------------------------------


def test_a_contact_sheet_holds_each_image_in_its_cell():
    names = ["red", "lime", "blue", "yellow", "cyan"]
    images = [Image.new("RGB", (200, 100), name) for name in names]

    sheet = compose.contact_sheet(images, columns=2, size=(40, 40), margin=10, background="black")

    assert (sheet.mode, sheet.size) == ("RGB", (110, 160))
    centres = [(30, 30), (80, 30), (30, 80), (80, 80), (30, 130)]
    assert [sheet.getpixel(centre) for centre in centres] == [
        Image.new("RGB", (1, 1), n).getpixel((0, 0)) for n in names
    ]
    assert sheet.getpixel((30, 15)) == (0, 0, 0)  # a wide image is centred in its cell
    assert sheet.getpixel((80, 130)) == (0, 0, 0)  # the last cell is empty


def test_a_contact_sheet_of_photographs_in_every_mode_has_room_for_all():
    photographs = [loaded(name) for name in ("astronaut.png", "camera.png", "logo.png", "horse.png", "rocket.jpg")]
    odd = [Image.new(mode, (50, 50)) for mode in ("1", "P", "PA", "CMYK", "I", "F", "I;16", "LAB", "HSV", "LA")]

    sheet = compose.contact_sheet(photographs + odd, columns=4)

    assert sheet.size == (8 + 4 * 168, 8 + 4 * 168)


def test_transparent_images_show_the_sheets_background():
    sheet = compose.contact_sheet([Image.new("RGBA", (10, 10))], size=(10, 10), margin=0, background="#102030")

    assert sheet.getcolors() == [(100, (0x10, 0x20, 0x30))]


def test_deep_greys_keep_their_order_on_a_sheet():
    deep = Image.fromarray(np.array([[0, 32768], [32768, 65535]], dtype="uint16"))
    floats = Image.fromarray(np.array([[-1.0, np.nan], [0.0, 1.0]], dtype="float32"))

    sheet = compose.contact_sheet([deep, floats], size=(2, 2), margin=0)

    assert np.asarray(sheet)[:, :, 0].tolist() == [[0, 128, 0, 0], [128, 255, 127, 255]]


@pytest.mark.parametrize(("background", "ink"), [("white", 0), ("black", 255)])
def test_labels_are_written_below_in_ink_that_can_be_seen(background: str, ink: int):
    sheet = compose.contact_sheet(
        [Image.new("RGB", (60, 60), "grey")], size=(60, 60), background=background, labels=["mm"]
    )
    strip = np.asarray(sheet.convert("L"))[68:84]

    assert sheet.size == (76, 92)
    assert abs(int(strip.min() if ink == 0 else strip.max()) - ink) < 60


def test_a_long_label_stays_within_its_cell():
    sheet = compose.contact_sheet([Image.new("RGB", (60, 60))], size=(60, 60), margin=8, labels=["a long label " * 20])
    strip = np.asarray(sheet.convert("L"))[68:84]

    assert strip[:, :8].min() == 255
    assert strip[:, 68:].min() == 255


def test_a_sideways_photograph_stands_upright_on_a_sheet(sideways: Path):
    with Image.open(sideways) as stored:
        sheet = compose.contact_sheet([stored], size=(90, 90), margin=0, background="white")

    assert sheet.getpixel((2, 45)) == (255, 255, 255)
    assert sheet.getpixel((45, 2)) != (255, 255, 255)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"images": []}, "empty"),
        ({"columns": 0}, "columns"),
        ({"margin": -1}, "margin"),
        ({"labels": ["a", "b"]}, "labels"),
        ({"size": (20_000, 20_000)}, "megapixels"),
        ({"background": "nothing"}, "colour"),
    ],
)
def test_a_sheet_that_makes_no_sense_is_refused(arguments: dict[str, object], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        compose.contact_sheet(**{"images": [Image.new("L", (5, 5))], **arguments})  # type: ignore[arg-type]


# --- around them ------------------------------------------------------------------------------------


def test_importing_the_operations_loads_no_heavy_library():
    program = (
        "import sys, workbench.operations.image, workbench.operations.data, workbench.operations.convert;"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_reference_is_resolved_by_the_attempt_it_runs_in(tmp_path: Path):
    ref = FileRef("store:blake3/aa/bb", "camera.png")

    with context.attempt(tmp_path / "scratch", lambda ref: photograph(ref.name)):
        assert inspection.info(ref)["width"] == 512


def test_an_output_is_complete_or_absent(tmp_path: Path):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        context.write_file("out.txt", context.Output(str(target)), broken)
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert target.read_text() == "old"

    def whole(path: Path) -> None:
        path.write_text("new")

    assert context.write_file("out.txt", context.Output(str(target)), whole) == target
    assert target.read_text() == "new"


def test_an_output_in_no_directory_is_refused(tmp_path: Path):
    with pytest.raises(InvalidArguments, match="make it first"):
        context.write_file("a", context.Output(str(tmp_path / "no" / "a")), Path.touch)
    with pytest.raises(InvalidArguments, match="is a directory"):
        context.write_file("a", context.Output(str(tmp_path)), Path.touch)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_the_stores_where_the_attempts_file_lies_there_and_the_users_where_the_output_does(
    tmp_path: Path, number: int
):
    def full(_: Path) -> None:
        raise OSError(number, os.strerror(number))

    with context.attempt(tmp_path / "scratch"):
        with pytest.raises(StoreError, match=f"scratch, which lies where the store does: .*{os.strerror(number)}"):
            context.write_file("a.txt", context.Output(), full)
        with pytest.raises(OSError, match=os.strerror(number)) as failed:
            context.write_file("a.txt", context.Output(str(tmp_path / "a.txt")), full)
    assert not isinstance(failed.value, StoreError)


def test_a_file_without_an_output_goes_to_the_attempts_scratch(tmp_path: Path):
    with context.attempt(tmp_path / "scratch"):
        assert context.write_file("a.txt", context.Output(), Path.touch) == tmp_path / "scratch" / "a.txt"
