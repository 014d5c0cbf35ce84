import contextlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageSequence, PngImagePlugin

from tests.unit.photographs import ORIENTATION, furthest, loaded, photograph, same
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.operations.image import files, inspection, segments
from workbench.values.refs import FileRef

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SECRET = b"taken at home"


@pytest.fixture(scope="module")
def chelsea() -> Image.Image:
    image = loaded("chelsea.png")
    image.info.clear()
    return image


def exif(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    block[0x010E] = SECRET.decode()
    return block


def telling(image: Image.Image, path: Path, orientation: int = 1) -> Path:
    """Save an image with everything beside the pixels that its format holds."""
    options: dict[str, Any] = {"icc_profile": SRGB}
    if path.suffix == ".gif":
        options |= {"comment": SECRET}
    else:
        options |= {
            "exif": exif(orientation),
            "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>",
        }
    if path.suffix == ".jpg":
        options |= {"comment": SECRET, "dpi": (300, 300), "quality": 90}
    if path.suffix == ".png":
        told = PngImagePlugin.PngInfo()
        told.add_text("Comment", SECRET.decode())
        told.add_text("Zipped", SECRET.decode(), zip=True)
        told.add_itxt("XML:com.adobe.xmp", SECRET.decode())
        options |= {"pnginfo": told, "dpi": (300, 300)}
    if path.suffix == ".webp":
        options |= {"quality": 80}
    image.save(path, **options)
    return path


# --- strip_metadata ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_what_a_file_tells_is_gone_and_its_pixels_and_profile_stay(tmp_path: Path, chelsea: Image.Image, name: str):
    path = telling(chelsea, tmp_path / name)
    assert SECRET in path.read_bytes()

    made = files.strip_metadata(FileRef(str(path), name), output=str(tmp_path / "stripped"))

    assert SECRET not in made.read_bytes()
    with Image.open(made) as stripped, Image.open(path) as original:
        assert same(stripped, original)
        assert dict(stripped.getexif()) == {}
        assert not {"exif", "xmp", "comment", "Comment", "Zipped", "XML:com.adobe.xmp"} & set(stripped.info)
        assert stripped.info.get("icc_profile") == original.info.get("icc_profile")
        assert stripped.info.get("dpi") == original.info.get("dpi")
    assert inspection.verify(made)["ok"]
    assert inspection.verify(made)["warnings"] == []


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_the_profile_goes_where_it_is_not_wanted(tmp_path: Path, chelsea: Image.Image, name: str):
    path = telling(chelsea, tmp_path / name)

    with Image.open(files.strip_metadata(path, keep_icc=False)) as stripped, Image.open(path) as original:
        assert "icc_profile" not in stripped.info
        assert same(stripped, original)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("turned", [3, 6])
def test_an_orientation_that_is_kept_is_all_that_exif_tells(
    tmp_path: Path, chelsea: Image.Image, name: str, turned: int
):
    path = telling(chelsea, tmp_path / name, turned)

    made = files.strip_metadata(path)

    assert SECRET not in made.read_bytes()
    with Image.open(made) as stripped, Image.open(path) as original:
        assert dict(stripped.getexif()) == {ORIENTATION: turned}
        assert same(stripped, original)


@pytest.mark.parametrize(("name", "loss"), [("a.jpg", 30), ("a.png", 0), ("a.webp", 60)])
def test_an_orientation_that_is_applied_turns_the_pixels(tmp_path: Path, chelsea: Image.Image, name: str, loss: int):
    path = telling(chelsea, tmp_path / name, 6)

    made = files.strip_metadata(path, orientation="apply")

    assert SECRET not in made.read_bytes()
    with Image.open(made) as stripped, Image.open(path) as original:
        assert dict(stripped.getexif()) == {}
        assert furthest(stripped.convert("RGB"), original.convert("RGB").transpose(Image.Transpose.ROTATE_270)) <= loss
        assert stripped.info["icc_profile"] == SRGB


def test_a_file_whose_orientation_is_upright_is_copied_when_it_is_to_be_applied(tmp_path: Path, chelsea: Image.Image):
    path = telling(chelsea, tmp_path / "a.jpg", 1)
    current = context.Attempt()

    with context.attempt(tmp_path / "scratch", current=current):
        made = files.strip_metadata(path, orientation="apply")

        assert current.notes == {"pixels": "copied"}
        with Image.open(made) as stripped, Image.open(path) as original:
            assert same(stripped, original)


def test_a_lossless_webp_is_turned_without_loss(tmp_path: Path, chelsea: Image.Image):
    path = tmp_path / "a.webp"
    chelsea.save(path, lossless=True, exif=exif(8))

    with Image.open(files.strip_metadata(path, orientation="apply")) as stripped:
        assert same(stripped, chelsea.transpose(Image.Transpose.ROTATE_90))


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_is_copied(tmp_path: Path, chelsea: Image.Image, options: dict[str, Any], mode: str):
    path = tmp_path / "a.jpg"
    chelsea.convert(mode).save(path, exif=exif(), comment=SECRET, **options)

    with Image.open(files.strip_metadata(path)) as stripped, Image.open(path) as original:
        assert same(stripped, original)


def test_the_picture_of_a_jpeg_is_copied_byte_for_byte(tmp_path: Path, chelsea: Image.Image):
    path = telling(chelsea, tmp_path / "a.jpg")

    made = files.strip_metadata(path).read_bytes()

    scan = path.read_bytes().rindex(b"\xff\xda")
    assert made.endswith(path.read_bytes()[scan:])


def test_the_thumbnail_in_a_jfif_segment_is_gone(tmp_path: Path, chelsea: Image.Image):
    path = tmp_path / "a.jpg"
    chelsea.save(path)
    data = path.read_bytes()
    assert data[2:4] == b"\xff\xe0"
    path.write_bytes(data[:4] + struct.pack(">H", 16 + 3) + data[6:18] + b"\1\1" + b"RGB" + data[20:])

    made = files.strip_metadata(path)

    assert made.read_bytes() == data


def test_further_pictures_in_a_jpeg_are_gone(tmp_path: Path, chelsea: Image.Image):
    path = tmp_path / "a.mpo"
    chelsea.save(path, save_all=True, append_images=[Image.new("RGB", (64, 64), "red")], exif=exif())

    with Image.open(files.strip_metadata(path)) as stripped, Image.open(path) as original:
        assert (stripped.format, getattr(stripped, "n_frames", 1)) == ("JPEG", 1)
        assert same(stripped, original)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif"])
def test_an_animation_keeps_all_its_frames_and_times(tmp_path: Path, name: str):
    path = tmp_path / name
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "lime", "blue")]
    told: dict[str, Any] = {"comment": SECRET} if name == "a.gif" else {"exif": exif()}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 500, 60], loop=3, **told)

    made = files.strip_metadata(path)

    assert SECRET not in made.read_bytes()
    with Image.open(made) as stripped, Image.open(path) as original:
        assert stripped.info["loop"] == original.info["loop"] == 3
        for one, other in zip(ImageSequence.Iterator(stripped), ImageSequence.Iterator(original), strict=True):
            assert same(one.convert("RGB"), other.convert("RGB"))
            assert one.info["duration"] == other.info["duration"]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_parts_that_nobody_knows_are_gone(tmp_path: Path, chelsea: Image.Image, name: str):
    path = tmp_path / name
    chelsea.save(path)
    data = path.read_bytes()
    if name == "a.png":  # right after the header; in capitals, as if no decoder could do without
        hidden = data[:33] + struct.pack(">I4s", len(SECRET), b"SECR") + SECRET + b"\0" * 4 + data[33:]
    elif name == "a.jpg":
        hidden = data[:2] + struct.pack(">HH", 0xFFF3, len(SECRET) + 2) + SECRET + data[2:]
    else:
        hidden = data + struct.pack("<4sI", b"SECR", len(SECRET)) + SECRET + b"\0"
        hidden = hidden[:4] + struct.pack("<I", len(hidden) - 8) + hidden[8:]
    hidden += SECRET

    format_ = {"a.png": "PNG", "a.jpg": "JPEG", "a.webp": "WEBP"}[name]
    assert segments.strip(hidden, format_, icc=True, orientation=1) == (
        segments.strip(data, format_, icc=True, orientation=1)
    )


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.data())
def test_bytes_of_any_kind_are_stripped_or_damaged(kind: str, data: st.DataObject):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((9, 9)).save(buffer, kind)
    whole = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        whole[place] = data.draw(st.integers(0, 255))

    with contextlib.suppress(segments.Damaged):
        stripped = segments.strip(bytes(whole), kind, icc=True, orientation=1)
        assert segments.strip(stripped, kind, icc=True, orientation=1) == stripped


def test_transparency_stays(tmp_path: Path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    path = tmp_path / "a.png"
    image.save(path, transparency=1, exif=exif())

    with Image.open(files.strip_metadata(path)) as stripped:
        assert stripped.convert("RGBA").getpixel((0, 0)) == (0, 255, 0, 0)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_nothing_is_written_of_a_file_that_is_cut_short(tmp_path: Path, chelsea: Image.Image, name: str, share: float):
    path = telling(chelsea, tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(InputError):
        files.strip_metadata(path, output=str(tmp_path / "stripped"))
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_other_formats_are_refused_with_the_way_out(tmp_path: Path, chelsea: Image.Image):
    chelsea.save(tmp_path / "a.tiff")

    with pytest.raises(InvalidArguments, match=r"TIFF.*convert\.image"):
        files.strip_metadata(tmp_path / "a.tiff")
    with pytest.raises(InvalidArguments, match="orientation"):
        files.strip_metadata(tmp_path / "a.tiff", orientation="drop")  # type: ignore[arg-type]


# --- optimize ---------------------------------------------------------------------------------------


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("to", ["jpeg", "webp", "avif", "png"])
@pytest.mark.parametrize("most", [60_000, 15_000, 2_000])
def test_an_optimized_file_fits_and_decodes(chelsea: Image.Image, to: Any, most: int):
    path = files.optimize(chelsea, most, format=to)

    made = opened(path)
    assert path.stat().st_size <= most
    assert made.format == to.upper()
    assert made.width / made.height == pytest.approx(chelsea.width / chelsea.height, rel=0.05)


@pytest.mark.parametrize("to", ["jpeg", "webp"])
def test_the_quality_is_the_highest_that_fits(tmp_path: Path, chelsea: Image.Image, to: Any):
    current = context.Attempt()
    with context.attempt(tmp_path, current=current):
        path = files.optimize(chelsea, 20_000, format=to)

        made = opened(path)
    quality = int(current.notes["quality"])
    better = tmp_path / "better"
    options: dict[str, Any] = {"optimize": True, "progressive": True} if to == "jpeg" else {}
    chelsea.save(better, to, quality=quality + 1, **options)
    assert made.size == chelsea.size
    assert better.stat().st_size > 20_000
    chelsea.save(better, to, quality=quality, **options)
    assert path.read_bytes() == better.read_bytes()


def test_the_picture_is_shrunk_only_when_the_quality_does_not_do(chelsea: Image.Image):
    assert opened(files.optimize(chelsea, 20_000, format="jpeg")).size == chelsea.size

    small = opened(files.optimize(chelsea, 6_000, format="jpeg", min_quality=60))
    smaller = opened(files.optimize(chelsea, 6_000, format="jpeg", min_quality=90))
    assert chelsea.width > small.width > smaller.width


def test_a_png_is_shrunk_to_the_largest_size_that_fits(tmp_path: Path, chelsea: Image.Image):
    made = opened(files.optimize(chelsea, 50_000, format="png"))

    larger = chelsea.resize(
        (made.width + 5, round((made.width + 5) * made.height / made.width)), Image.Resampling.LANCZOS
    )
    larger.save(tmp_path / "larger.png", optimize=True)
    assert (tmp_path / "larger.png").stat().st_size > 50_000


def test_an_image_that_fits_at_once_keeps_its_size(chelsea: Image.Image):
    assert opened(files.optimize(chelsea, 10_000_000, format="png")).tobytes() == chelsea.tobytes()


@pytest.mark.parametrize(("name", "to"), [("a.jpg", "jpeg"), ("a.png", "png"), ("a.webp", "webp"), ("a.bmp", "jpeg")])
def test_the_format_is_kept_or_chosen(tmp_path: Path, chelsea: Image.Image, name: str, to: str):
    path = tmp_path / name
    chelsea.save(path)

    made = files.optimize(FileRef(str(path), name), 30_000)

    assert made.name == f"a.{to}"
    assert opened(made).format == to.upper()


def test_transparent_images_stay_transparent_unless_a_jpeg_is_wanted():
    image = Image.new("RGBA", (64, 64))

    assert opened(files.optimize(image, 5000)).convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]
    laid = opened(files.optimize(image, 5000, format="jpeg", background="red"))
    assert furthest(laid, Image.new("RGB", (64, 64), "red")) <= 2


def test_an_optimized_file_stands_upright_in_srgb_and_tells_nothing(tmp_path: Path, chelsea: Image.Image):
    path = telling(chelsea, tmp_path / "a.png", 6)

    made = files.optimize(path, 10_000_000)

    assert SECRET not in made.read_bytes()
    assert "icc_profile" not in opened(made).info
    assert same(opened(made), chelsea.transpose(Image.Transpose.ROTATE_270))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LAB", "HSV"])
def test_every_mode_can_be_optimized(mode: str):
    for to in ("jpeg", "webp", "png"):
        assert opened(files.optimize(Image.new(mode, (8, 8)), 5000, format=to)).size == (8, 8)  # type: ignore[arg-type]


def test_what_cannot_fit_leaves_no_file(tmp_path: Path, chelsea: Image.Image):
    with pytest.raises(InvalidArguments, match=r"max_bytes: takes at least \d+"):
        files.optimize(chelsea, 10, format="jpeg", output=str(tmp_path / "out.jpg"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"format": "gif"}, "avif"),
        ({"min_quality": 0}, "min_quality"),
        ({"min_quality": 96}, "min_quality"),
        ({"background": "nothing"}, "colour"),
        ({"image": Image.new("L", (0, 0))}, "no pixels"),
        ({"image": Image.new("L", (70_000, 1)), "format": "jpeg"}, "65,500"),
    ],
)
def test_what_makes_no_sense_is_not_optimized(chelsea: Image.Image, arguments: dict[str, Any], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        files.optimize(**{"image": chelsea, "max_bytes": 1000, **arguments})


def test_a_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(photograph("rocket.jpg").read_bytes()[:20_000])

    with pytest.raises(InputError, match=r"holiday\.jpg"):
        files.optimize(FileRef(str(path), "holiday.jpg"), 1000)


def test_noise_is_shrunk_as_far_as_it_takes():
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (600, 800, 3), dtype="uint8"))

    path = files.optimize(noise, 5000, format="jpeg")

    assert path.stat().st_size <= 5000
    assert path.stat().st_size > 4000
