"""Animations and documents into each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.operations.convert import image, pages
from workbench.values.refs import FileRef

ANIMATED = ("gif", "webp", "png", "avif")
WITH_FRAMES = (*ANIMATED, "tiff")
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
DURATIONS = [100, 200, 300]


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path):
    with context.attempt(tmp_path / "scratch"):
        yield


def ref(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


def animation(path: Path, **options: object) -> FileRef:
    """Three frames, red, green and blue."""
    frames = [Image.new("RGB", (32, 16), colour) for colour in COLOURS]
    timing = {} if path.suffix == ".tiff" else {"duration": DURATIONS}
    frames[0].save(path, save_all=True, append_images=frames[1:], **{**timing, **options})  # type: ignore[arg-type]
    return ref(path)


def frames_of(path: Path) -> list[Image.Image]:
    found = []
    with Image.open(path) as made:
        for number in range(getattr(made, "n_frames", 1)):
            made.seek(number)
            made.load()
            found.append(made.copy())
            if made.format == "TIFF" and 34_675 not in made.tag_v2:  # type: ignore[attr-defined]
                found[-1].info.pop("icc_profile", None)  # Pillow still tells the page's before
    return found


def brightest(picture: Image.Image) -> int:
    pixel = picture.convert("RGB").getpixel((4, 4))
    assert isinstance(pixel, tuple)
    return max(range(3), key=lambda band: pixel[band])


@pytest.mark.parametrize("to", WITH_FRAMES)
@pytest.mark.parametrize("source", WITH_FRAMES)
def test_frames_keep_their_order_and_durations_from_every_format_into_every_other(tmp_path: Path, source: str, to: str):
    made = frames_of(image(animation(tmp_path / f"a.{source}"), to))  # type: ignore[arg-type]

    assert [brightest(frame) for frame in made] == [0, 1, 2]
    assert {frame.size for frame in made} == {(32, 16)}
    if to != "tiff":
        assert [round(frame.info["duration"]) for frame in made] == ([100] * 3 if source == "tiff" else DURATIONS)


@pytest.mark.parametrize("source", WITH_FRAMES)
def test_frames_become_the_pages_of_a_pdf(tmp_path: Path, source: str):
    document = image(animation(tmp_path / f"a.{source}"), "pdf").read_bytes()

    assert len(re.findall(rb"/Type /Page\b", document)) == 3


def loop_of(path: Path) -> object:
    with Image.open(path) as made:
        return made.info.get("loop")


@pytest.mark.parametrize(
    ("source", "written", "to", "read"),
    [
        ("gif", None, "gif", None),
        ("gif", None, "webp", 1),  # a GIF that says nothing plays once
        ("gif", None, "png", 1),
        ("gif", 0, "webp", 0),
        ("gif", 4, "png", 5),  # it is repeated 4 times
        ("gif", 4, "gif", 4),
        ("webp", 0, "gif", 0),
        ("webp", 1, "gif", None),
        ("png", 3, "gif", 2),
        ("png", 3, "webp", 3),
    ],
)
def test_an_animation_plays_as_often_as_its_source(
    tmp_path: Path, source: str, written: int | None, to: str, read: int | None
):
    options = {} if written is None else {"loop": written}

    made = image(animation(tmp_path / f"a.{source}", **options), to)  # type: ignore[arg-type]

    assert loop_of(made) == read


def test_durations_and_loops_can_be_chosen(tmp_path: Path):
    made = image(animation(tmp_path / "a.tiff"), "gif", duration=40, loop=3)

    assert [frame.info["duration"] for frame in frames_of(made)] == [40] * 3
    assert loop_of(made) == 2


def test_how_often_it_plays_is_noted_where_it_is_lost(tmp_path: Path):
    attempt = context.Attempt()
    with context.attempt(tmp_path / "other", None, attempt):
        image(animation(tmp_path / "a.gif"), "avif")

    assert attempt.notes == {"loop": "left out: Pillow writes none into avif, so it plays for ever instead of 1 ×"}


@pytest.mark.parametrize("to", ["jpeg", "bmp", "ico", "jp2"])
def test_the_first_frame_is_taken_and_the_rest_noted_where_the_format_has_one(tmp_path: Path, to: str):
    attempt = context.Attempt()
    with context.attempt(tmp_path / "other", None, attempt):
        made = image(animation(tmp_path / "a.webp"), to)  # type: ignore[arg-type]
        assert brightest(frames_of(made)[0]) == 0

    assert attempt.notes["frames"] == f"the first one was taken: {to} holds no more"


@pytest.mark.parametrize("to", ["gif", "webp", "png", "avif", "tiff"])
def test_transparent_frames_stay_transparent(tmp_path: Path, to: str):
    frames = [Image.new("RGBA", (32, 16), "red") for _ in range(2)]
    for number, frame in enumerate(frames):  # a hole, left or right: WebP cuts clear edges off
        frame.paste((0, 0, 0, 0), (number * 16 + 4, 4, number * 16 + 12, 12))
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=50)

    made = [frame.convert("RGBA") for frame in frames_of(image(ref(tmp_path / "a.png"), to))]  # type: ignore[arg-type]

    assert [[frame.getpixel((x, 8))[3] for x in (8, 24)] for frame in made] == [[0, 255], [255, 0]]  # type: ignore[index]


def test_if_a_frame_is_flattened_for_a_gif_all_are(tmp_path: Path):
    frames = [Image.new("RGBA", (16, 16)), Image.new("RGBA", (16, 16), (0, 0, 255, 128))]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=50)

    made = [frame.convert("RGBA") for frame in frames_of(image(ref(tmp_path / "a.png"), "gif", background="lime"))]

    assert [frame.getpixel((3, 3))[3] for frame in made] == [255, 255]  # type: ignore[index]
    assert made[0].getpixel((3, 3))[:3] == (0, 255, 0)  # type: ignore[index]


def test_the_image_before_an_animation_is_no_frame_of_it(tmp_path: Path):
    shots = [Image.new("RGB", (16, 16), colour) for colour in ("white", *COLOURS)]
    shots[0].save(tmp_path / "a.png", save_all=True, append_images=shots[1:], duration=50, default_image=True)

    assert [brightest(frame) for frame in frames_of(image(ref(tmp_path / "a.png"), "webp"))] == [0, 1, 2]


def pages_of_two_kinds(path: Path) -> FileRef:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    first, second = Image.new("RGB", (40, 20), "red"), Image.new("1", (10, 30), 1)
    first.encoderinfo = {"icc_profile": profile}  # type: ignore[attr-defined]
    first.save(path, save_all=True, append_images=[second], dpi=(300, 300))
    return ref(path)


def test_of_the_pages_of_a_tiff_the_first_has_the_exif(tmp_path: Path):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    frames = [Image.new("RGB", (33, 17), colour) for colour in COLOURS]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True, exif=exif)

    path = image(ref(tmp_path / "a.webp"), "tiff")

    assert [brightest(frame) for frame in frames_of(path)] == [0, 1, 2]
    with Image.open(path) as made:
        assert made.getexif().get_ifd(0x8825) == {1: "N"}


def test_pages_of_different_kinds_stay_as_they_are_in_a_tiff(tmp_path: Path):
    made = frames_of(image(pages_of_two_kinds(tmp_path / "a.tif"), "tiff"))

    assert [(page.mode, page.size) for page in made] == [("RGB", (40, 20)), ("1", (10, 30))]
    assert [bool(page.info.get("icc_profile")) for page in made] == [True, False]
    assert [round(float(part)) for part in made[0].info["dpi"]] == [300, 300]


def test_a_page_without_a_profile_does_not_take_its_predecessors(tmp_path: Path):
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), (200, 100, 50))
    first.encoderinfo = {"icc_profile": grey}  # type: ignore[attr-defined]
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])

    made = frames_of(image(ref(tmp_path / "a.tif"), "tiff"))

    assert "icc_profile" not in made[1].info
    assert made[1].getpixel((0, 0)) == (200, 100, 50)


def test_pages_of_a_pdf_are_as_large_as_their_resolution_says(tmp_path: Path):
    document = image(pages_of_two_kinds(tmp_path / "a.tif"), "pdf").read_bytes()

    boxes = [tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[ (.*?) \]", document)]
    assert boxes == [pytest.approx((0, 0, 9.6, 4.8)), pytest.approx((0, 0, 2.4, 7.2))]


def test_pages_that_differ_in_size_are_no_animation(tmp_path: Path):
    with pytest.raises(InvalidArguments, match=r"differ in size \(10 × 30 to 40 × 20\).*choose tiff or pdf"):
        image(pages_of_two_kinds(tmp_path / "a.tif"), "webp")


def test_an_animation_in_memory_stays_where_it_is(tmp_path: Path):
    animation(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as picture:
        picture.seek(1)

        made = image(picture, "png")

        assert (picture.tell(), brightest(picture)) == (1, 1)
    assert [brightest(frame) for frame in frames_of(made)] == [0, 1, 2]


@pytest.mark.parametrize("source", ["webp", "png", "avif", "tiff"])
def test_an_animation_that_is_cut_short_is_refused(tmp_path: Path, source: str):
    path = Path(animation(tmp_path / f"a.{source}").uri)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])

    with pytest.raises(InputError, match=rf"a\.{source}"):
        image(ref(path), "gif")


def test_pages_keep_grey_and_colours_and_profiles_in_a_tiff():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colour = Image.new("RGB", (8, 8), "red")
    colour.info["icc_profile"] = profile

    made = frames_of(pages([Image.new("L", (8, 8)), colour, Image.new("RGBA", (8, 8))], "tiff", background="blue"))

    assert [page.mode for page in made] == ["L", "RGB", "RGB"]
    assert [page.info.get("icc_profile") for page in made] == [None, profile, None]
    assert made[2].getpixel((0, 0)) == (0, 0, 255)
    assert "encoderinfo" not in vars(colour)


def test_a_document_is_titled_by_its_first_image_and_not_by_a_temporary_file(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "report.png")
    with Image.open(tmp_path / "report.png") as first:
        made = pages([first, Image.new("1", (8, 8))], quality=30)

    assert made.name == "report.pdf"
    assert "report".encode("utf-16-be") in made.read_bytes() or b"(report)" in made.read_bytes()


def test_documents_of_other_kinds_are_refused():
    with pytest.raises(InvalidArguments, match="to: takes pdf or tiff, got 'gif'"):
        pages([Image.new("L", (8, 8))], "gif")  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="quality: tiff has no such option"):
        pages([Image.new("L", (8, 8))], "tiff", quality=50)
