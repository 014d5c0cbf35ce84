import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageSequence

from tests.unit.photographs import ORIENTATION, furthest, loaded, photograph, same
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, pixels
from workbench.operations.image import animation, compose, inspection
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.refs import FileRef

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def display_p3() -> bytes:
    """Return the profile of sRGB with the primaries of Display P3, as they are under D50."""
    profile = SRGB.replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))
    primaries = {
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    (tags,) = struct.unpack_from(">I", profile, 128)
    for number in range(tags):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if tag in primaries:
            values = struct.pack(">3i", *(round(part * 65_536) for part in primaries[tag]))
            profile = profile[: offset + 8] + values + profile[offset + 20 :]
    return profile


@pytest.fixture(scope="module")
def chelsea() -> Image.Image:
    return loaded("chelsea.png")


def sideways(image: Image.Image) -> Image.Image:
    stored = image.copy()
    stored.getexif()[ORIENTATION] = 6
    return stored


# --- watermark --------------------------------------------------------------------------------------


def test_a_mark_is_what_pillow_pastes_through_its_alpha(chelsea: Image.Image):
    mark = Image.new("RGBA", (40, 20), (255, 0, 0, 255))

    made = compose.watermark(chelsea, mark=mark, position=(10, 20), opacity=0.5, size=40 / chelsea.width)

    expected = chelsea.copy()
    expected.paste(mark.convert("RGB"), (10, 20), Image.new("L", mark.size, 128))
    assert same(made, expected)


def test_a_watermark_leaves_the_image_alone(chelsea: Image.Image):
    before = chelsea.tobytes()

    compose.watermark(chelsea, text="mine", position="tile")

    assert chelsea.tobytes() == before


@pytest.mark.parametrize(
    ("position", "corner"),
    [
        ("top left", (5, 5)),
        ("top", (45, 5)),
        ("top right", (85, 5)),
        ("left", (5, 45)),
        ("center", (45, 45)),
        ("right", (85, 45)),
        ("bottom left", (5, 85)),
        ("bottom", (45, 85)),
        ("bottom right", (85, 85)),
    ],
)
def test_every_position_is_where_it_says(position: Any, corner: tuple[int, int]):
    made = compose.watermark(
        Image.new("L", (100, 100)), mark=Image.new("L", (10, 10), 255), position=position, opacity=1, size=0.1, margin=5
    )

    assert made.getbbox() == (*corner, corner[0] + 10, corner[1] + 10)


@pytest.mark.parametrize("position", ["top left", "bottom right", "tile", "center"])
def test_a_margin_that_is_too_wide_keeps_the_mark_within_the_image(position: Any):
    made = compose.watermark(
        Image.new("L", (20, 20)), mark=Image.new("L", (10, 10), 255), position=position, opacity=1, size=0.5, margin=99
    )

    assert made.histogram()[255] == 100


def test_tiles_cover_the_whole_image():
    made = compose.watermark(
        Image.new("L", (100, 50)), mark=Image.new("L", (10, 10), 255), position="tile", opacity=1, size=0.1, margin=10
    )

    assert made.histogram()[255] == 5 * 2 * 100
    assert made.getpixel((10, 10)) == made.getpixel((90, 30)) == 255


@pytest.mark.parametrize("text", ["© Jo", "a much longer line of text, which has to be written small", "l"])
def test_text_is_as_wide_as_asked_for_or_as_high_as_fits(text: str):
    made = compose.watermark(Image.new("L", (800, 200)), text=text, position="top left", opacity=1, size=0.5, margin=0)

    left, top, right, bottom = made.getbbox() or (0, 0, 0, 0)
    assert (left, top) == (0, 0)
    assert right <= 400
    assert bottom <= 200
    assert right > 360 or bottom > 120  # letters have room above and below them
    assert made.getextrema()[1] == 255


def test_text_has_its_colour_and_opacity():
    made = compose.watermark(Image.new("RGB", (200, 100)), text="MM", color="#ff8000", opacity=0.5, size=1, margin=0)

    assert made.getextrema() == ((0, 128), (0, 64), (0, 0))


@pytest.mark.parametrize("color", ["red", "#ff0000", "#ff0000ff", (255, 0, 0), (255, 0, 0, 255)])
def test_a_colour_may_be_said_in_many_ways(color: Any):
    made = compose.watermark(Image.new("RGB", (50, 50)), text="M", color=color, opacity=1, size=1)

    assert made.getextrema() == ((0, 255), (0, 0), (0, 0))


def test_opacity_nought_changes_nothing(chelsea: Image.Image):
    assert same(compose.watermark(chelsea, text="mine", opacity=0), chelsea)


def test_marks_on_transparent_images_are_composited_as_pillow_does():
    ground = Image.new("RGBA", (20, 20), (0, 0, 255, 100))
    mark = Image.new("RGBA", (20, 20), (255, 0, 0, 200))

    made = compose.watermark(ground, mark=mark, position=(0, 0), opacity=1, size=1)

    assert same(made, Image.alpha_composite(ground, mark))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LAB", "HSV"])
def test_every_mode_can_be_marked(mode: str):
    made = compose.watermark(Image.new(mode, (64, 64)), text="x", position="center", opacity=1, size=1)

    assert made.mode in ("L", "LA", "RGB", "RGBA")
    assert made.size == (64, 64)


def test_a_watermark_stands_upright_and_keeps_profile_and_dpi(chelsea: Image.Image):
    stored = sideways(chelsea)
    stored.info |= {"icc_profile": SRGB, "dpi": (300, 300)}

    made = compose.watermark(stored, text="mine", opacity=0)

    assert same(made, chelsea.transpose(Image.Transpose.ROTATE_270))
    assert ORIENTATION not in made.getexif()
    assert (made.info["icc_profile"], made.info["dpi"]) == (SRGB, (300, 300))


def test_a_profile_of_another_colour_model_is_not_kept():
    stored = Image.new("CMYK", (8, 8))
    stored.info["icc_profile"] = SRGB.replace(b"RGB ", b"CMYK", 1)

    assert "icc_profile" not in compose.watermark(stored, text="x").info


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "text, mark"),
        ({"text": "x", "mark": Image.new("L", (1, 1))}, "text, mark"),
        ({"text": " "}, "text"),
        ({"text": "x" * 501}, "501"),
        ({"text": "© 中文"}, "no letters for '中文'"),
        ({"text": "x", "opacity": 1.1}, "opacity"),
        ({"text": "x", "size": 0}, "size"),
        ({"text": "x", "margin": -1}, "margin"),
        ({"text": "x", "position": "nowhere"}, "position"),
        ({"text": "x", "position": (1000, 0)}, "outside the image"),
        ({"text": "x", "color": "nothing"}, "colour"),
        ({"mark": Image.new("L", (0, 1))}, "no pixels"),
    ],
)
def test_a_watermark_that_makes_no_sense_is_refused(chelsea: Image.Image, arguments: dict[str, Any], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        compose.watermark(chelsea, **arguments)


# --- blend ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0, 0.25, 0.5, 1])
def test_a_blend_is_what_pillow_makes(chelsea: Image.Image, alpha: float):
    other = chelsea.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    assert same(compose.blend(chelsea, other, alpha), Image.blend(chelsea, other, alpha))


def test_a_grey_and_a_coloured_image_blend_to_colours(chelsea: Image.Image):
    made = compose.blend(chelsea.convert("L"), chelsea)

    assert same(made, Image.blend(chelsea.convert("L").convert("RGB"), chelsea, 0.5))


def test_colours_that_cannot_be_seen_do_not_show_in_a_blend():
    made = compose.blend(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), Image.new("RGB", (1, 1), (255, 0, 0)))

    assert made.getpixel((0, 0)) == (255, 0, 0, 127)


def test_a_shared_profile_is_kept_and_different_ones_become_srgb(chelsea: Image.Image):
    one, other = chelsea.copy(), chelsea.copy()
    one.info["icc_profile"] = other.info["icc_profile"] = SRGB
    assert compose.blend(one, other).info["icc_profile"] == SRGB

    del other.info["icc_profile"]
    made = compose.blend(one, other)
    assert "icc_profile" not in made.info
    assert same(made, chelsea)


def test_images_of_different_sizes_are_not_blended(chelsea: Image.Image):
    with pytest.raises(InvalidArguments, match=r"10 × 10.*image\.resize"):
        compose.blend(chelsea, Image.new("RGB", (10, 10)))
    with pytest.raises(InvalidArguments, match="alpha"):
        compose.blend(chelsea, chelsea, 1.5)


# --- animate, split_frames --------------------------------------------------------------------------


@pytest.fixture
def frames(chelsea: Image.Image) -> list[Image.Image]:
    small = chelsea.resize((64, 48))
    return [small, small.transpose(Image.Transpose.ROTATE_180), small.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]


@pytest.mark.parametrize("to", ["gif", "webp", "png"])
def test_an_animation_shows_its_frames_as_long_as_asked_for(frames: list[Image.Image], to: Any):
    path = animation.animate(frames, to, duration=[40, 500, 60], loop=3)

    with Image.open(path) as made:
        assert (made.format, getattr(made, "n_frames", 1)) == (to.upper(), 3)
        assert made.info["loop"] == 3
        shown = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(made)]
    assert [duration for _, duration in shown] == [40, 500, 60]
    for (frame, _), original in zip(shown, frames, strict=True):
        assert furthest(frame, original) <= (0 if to != "gif" else 80)


@pytest.mark.parametrize("to", ["webp", "png"])
def test_an_animation_taken_apart_and_put_together_again_is_the_same(frames: list[Image.Image], to: Any):
    first = animation.animate(frames, to, duration=[40, 500, 60])

    apart = animation.split_frames(FileRef(str(first), first.name))
    again = animation.split_frames(animation.animate(apart, to))

    assert [frame.info["duration"] for frame in again] == [40, 500, 60]
    assert all(same(one, other) for one, other in zip(again, frames, strict=True))


@pytest.mark.parametrize("to", ["gif", "webp", "png"])
def test_transparent_frames_stay_transparent(to: Any):
    frames = [Image.new("RGBA", (32, 16)) for _ in range(2)]
    frames[0].paste((255, 0, 0, 255), (0, 0, 8, 8))
    frames[1].paste((0, 0, 255, 255), (8, 8, 20, 16))

    made = animation.split_frames(animation.animate(frames, to))

    assert all(same(one, other) for one, other in zip(made, frames, strict=True))


def test_partly_transparent_frames_of_a_gif_lie_on_the_background():
    frames = [Image.new("RGBA", (8, 8), (0, 0, shade, 128)) for shade in (0, 255)]

    made = animation.split_frames(animation.animate(frames, background="white"))

    assert [frame.convert("RGB").getpixel((0, 0)) for frame in made] == [(127, 127, 127), (127, 127, 255)]


def test_frames_stand_upright(frames: list[Image.Image]):
    made = animation.split_frames(animation.animate([sideways(frame) for frame in frames], "png"))

    assert same(made[0], frames[0].transpose(Image.Transpose.ROTATE_270))


def test_an_animation_keeps_the_profile_of_its_frames(frames: list[Image.Image]):
    for frame in frames:
        frame.info["icc_profile"] = SRGB

    made = animation.split_frames(animation.animate(frames, "png"))

    assert made[0].info["icc_profile"] == SRGB


def test_an_animation_replaces_its_output_only_when_it_is_complete(tmp_path: Path, frames: list[Image.Image]):
    target = tmp_path / "out.gif"
    assert animation.animate(frames, output=str(target)) == target

    with pytest.raises(InvalidArguments):
        animation.animate([], output=str(target))
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"images": []}, "at least one"),
        ({"images": [Image.new("L", (4, 4)), Image.new("L", (4, 5))]}, r"images\[1\] is 4 × 5"),
        ({"images": [Image.new("1", (20_000, 9000))] * 2}, "360 megapixels"),
        ({"format": "mp4"}, "webp"),
        ({"duration": [1, 2, 3]}, "one for each"),
        ({"duration": 0}, "milliseconds"),
        ({"duration": 5}, "10 to"),
        ({"loop": -1}, "loop"),
        ({"quality": 50}, "webp only"),
    ],
)
def test_an_animation_that_makes_no_sense_is_refused(arguments: dict[str, Any], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        animation.animate(**{"images": [Image.new("L", (4, 4))], **arguments})


def test_the_frames_of_a_gif_are_as_they_are_shown():
    path = photograph("no_time_for_that_tiny.gif")
    with Image.open(path) as original:
        shown = [frame.convert("RGB") for frame in ImageSequence.Iterator(original)]

    made = animation.split_frames(FileRef(str(path), "a.gif"), start=2, stop=9, step=3)

    assert [same(frame.convert("RGB"), shown[index]) for frame, index in zip(made, (2, 5, 8), strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize("to", ["png", "webp", "tiff"])
def test_frames_as_files_are_numbered_and_without_loss(frames: list[Image.Image], to: Any):
    files = animation.split_frames(animation.animate(frames, "png"), format=to)

    assert [path.name for path in files] == [f"image-000{number}.{to}" for number in range(3)]
    for path, original in zip(files, frames, strict=True):
        with Image.open(path) as made:
            assert same(made.convert("RGB"), original)


def test_the_pages_of_a_tiff_are_its_frames(tmp_path: Path):
    pages = [Image.new("L", (8, 8), 10), Image.new("RGB", (4, 6), "red"), Image.new("CMYK", (3, 3))]
    path = tmp_path / "pages.tiff"
    pages[0].save(path, save_all=True, append_images=pages[1:])

    made = animation.split_frames(path)

    assert all(same(one, other) for one, other in zip(made, pages, strict=True))


def test_a_later_page_that_is_too_large_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "pages.tiff"
    Image.new("L", (8, 8)).save(path, save_all=True, append_images=[Image.new("L", (400, 400))])
    monkeypatch.setattr(pixels, "MAX_PIXELS", 10_000)

    with pytest.raises(InvalidArguments, match="megapixels"):
        animation.split_frames(path)
    told = inspection.verify(path)
    assert (told["problem"], told["decoded"], told["frames"]) == ("too large", 1, 2)


def test_an_image_in_memory_has_one_frame(chelsea: Image.Image):
    (made,) = animation.split_frames(chelsea)

    assert same(made, chelsea)


def test_more_frames_than_the_limit_are_refused_with_their_number():
    path = photograph("no_time_for_that_tiny.gif")

    with pytest.raises(InvalidArguments, match="24 frames"):
        animation.split_frames(path, limit=5)
    assert len(animation.split_frames(path, limit=5, stop=5)) == 5


def test_a_file_that_is_cut_short_is_named(tmp_path: Path):
    path = tmp_path / "cut.gif"
    path.write_bytes(photograph("no_time_for_that_tiny.gif").read_bytes()[:-1000])

    with pytest.raises(InputError, match=r"cut\.gif"):
        animation.split_frames(path)


@pytest.mark.parametrize(
    "arguments", [{"limit": 0}, {"limit": 1001}, {"start": -1}, {"step": 0}, {"stop": -1}, {"format": "jpeg"}]
)
def test_a_choice_of_frames_that_makes_no_sense_is_refused(chelsea: Image.Image, arguments: dict[str, Any]):
    with pytest.raises(InvalidArguments, match=next(iter(arguments))):
        animation.split_frames(chelsea, **arguments)


def test_a_frame_keeps_its_duration_on_its_way_to_the_notebook(tmp_path: Path, frames: list[Image.Image]):
    files = Files(str(tmp_path))
    apart = animation.split_frames(animation.animate(frames, "png", duration=[40, 500, 60]))

    back = codecs.decode(codecs.encode(apart, files), files)

    assert [frame.info["duration"] for frame in back] == [40, 500, 60]


def test_colours_of_another_profile_are_converted_and_that_is_noted(tmp_path: Path):
    wide = Image.new("RGB", (2, 2), (200, 30, 30))
    swapped = SRGB.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")  # red is green there
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "gRBs".encode("utf-16-be"))
    wide.info["icc_profile"] = swapped
    current = context.Attempt()

    with context.attempt(tmp_path, current=current):
        made = compose.blend(wide, Image.new("RGB", (2, 2)), 0)

    source = ImageCms.ImageCmsProfile(io.BytesIO(swapped))
    expected = ImageCms.profileToProfile(wide, source, ImageCms.createProfile("sRGB"))
    assert expected is not None
    assert made.tobytes() == expected.tobytes() != wide.tobytes()
    assert "icc_profile" not in made.info
    assert "converted from gRBs" in current.notes["icc_profile"]


def test_a_profile_of_rubbish_changes_nothing_and_is_noted(tmp_path: Path, chelsea: Image.Image):
    damaged = chelsea.copy()
    damaged.info["icc_profile"] = b"rubbish"
    current = context.Attempt()

    with context.attempt(tmp_path, current=current):
        made = compose.watermark(damaged, text="x", opacity=0)

    assert same(made, chelsea)
    assert "left out" in current.notes["icc_profile"]


# --- contact sheet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_on_a_sheet_are_those_that_the_pictures_profile_means(tmp_path: Path, mode: str):
    profile = display_p3()
    flat = Image.new("RGB", (60, 40), (60, 200, 90))
    picture = flat.quantize(2) if mode == "P" else flat.convert(mode)
    picture.info["icc_profile"] = profile
    current = context.Attempt()

    with context.attempt(tmp_path, current=current):
        sheet = compose.contact_sheet([picture, flat], size=(30, 20), margin=0)

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(flat, source, ImageCms.createProfile("sRGB"))
    assert expected is not None
    assert sheet.getpixel((15, 10)) == expected.getpixel((0, 0)) != flat.getpixel((0, 0))
    assert sheet.getpixel((45, 10)) == flat.getpixel((0, 0))  # without a profile it is sRGB
    assert "icc_profile" not in sheet.info
    assert "converted from Wide" in current.notes["icc_profile"]


def test_a_sheet_leaves_the_pictures_alone(chelsea: Image.Image):
    picture = chelsea.copy()
    picture.info["icc_profile"] = display_p3()

    compose.contact_sheet([picture], size=(30, 20))

    assert same(picture, chelsea)
    assert picture.info["icc_profile"] == display_p3()
