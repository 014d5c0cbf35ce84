import math
import struct
import zlib
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from tests.unit.photographs import loaded, photograph
from workbench.core.errors import InputError, InputNotFound, InvalidArguments
from workbench.operations import convert
from workbench.operations.image import animation, inspection
from workbench.values import codecs, pages
from workbench.values.files import Files
from workbench.values.refs import FileRef


@pytest.fixture(scope="module")
def chelsea() -> Image.Image:
    return loaded("chelsea.png")


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


# --- verify -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.bmp", "a.jp2", "a.avif", "a.ico"])
def test_a_whole_file_of_every_format_is_said_to_be_whole(tmp_path: Path, chelsea: Image.Image, name: str):
    path = saved(chelsea.resize((64, 64)), tmp_path / name)

    told = inspection.verify(FileRef(str(path), name))

    assert (told["ok"], told["problem"], told["reason"], told["warnings"]) == (True, None, None, [])
    assert (told["width"], told["height"], told["frames"], told["decoded"]) == (64, 64, 1, 1)
    assert told["bytes"] == path.stat().st_size


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.jp2", "a.avif"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_reported_wherever_it_was_cut(
    tmp_path: Path, chelsea: Image.Image, name: str, share: float
):
    path = saved(chelsea, tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    told = inspection.verify(path)

    assert not told["ok"]
    assert told["problem"] in ("cut short", "damaged", "not an image")
    assert told["reason"]


def test_a_byte_that_has_changed_in_a_png_is_found_by_its_checksum(tmp_path: Path, chelsea: Image.Image):
    path = saved(chelsea, tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    told = inspection.verify(path)

    assert (told["ok"], told["problem"], told["format"]) == (False, "damaged", "PNG")


def test_an_animation_is_decoded_to_its_last_frame():
    told = inspection.verify(photograph("no_time_for_that_tiny.gif"))

    assert told["ok"]
    assert told["decoded"] == told["frames"] == 24


def test_a_file_that_is_no_image_is_a_report_too(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")

    told = inspection.verify(FileRef(str(path), "holiday.png"))

    assert (told["ok"], told["problem"], told["format"]) == (False, "not an image", None)
    assert "holiday.png" in told["reason"]


def test_an_image_that_is_too_large_is_not_decoded(tmp_path: Path):
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (head, b"IDAT")
    ]
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))

    told = inspection.verify(path)

    assert (told["ok"], told["problem"], told["decoded"]) == (False, "too large", 0)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(InputNotFound):
        inspection.verify(tmp_path / "missing.png")


# --- exif -------------------------------------------------------------------------------------------


@pytest.fixture
def travelled(tmp_path: Path, chelsea: Image.Image) -> Path:
    """A photograph whose camera knew the place, south and west, and below the sea."""
    exif = Image.Exif()
    exif[Base.Make] = "Maker\0"
    exif[Base.Orientation] = 6
    exif[Base.XPAuthor] = "Jörg".encode("utf-16-le") + b"\0\0"
    photo = exif.get_ifd(IFD.Exif)
    photo[Base.ExposureTime] = 0.004
    photo[Base.DateTimeOriginal] = "2013:01:02 03:04:05"
    photo[Base.UserComment] = b"ASCII\0\0\0a comment"
    photo[Base.MakerNote] = bytes(range(256)) * 20
    photo[Base.ExifVersion] = b"0232"
    gps = exif.get_ifd(IFD.GPSInfo)
    gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = "S", (33.0, 51.0, 31.5)
    gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = "W", (151.0, 12.0, 36.0)
    gps[GPS.GPSAltitudeRef], gps[GPS.GPSAltitude] = b"\x01", 12.5
    gps[GPS.GPSDateStamp], gps[GPS.GPSTimeStamp] = "2013:01:02", (3.0, 4.0, 5.0)
    return saved(chelsea, tmp_path / "travelled.jpg", exif=exif)


def test_exif_is_told_by_names_and_in_numbers(travelled: Path):
    told = inspection.exif(FileRef(str(travelled), "travelled.jpg"))

    assert (told["Make"], told["Orientation"], told["XPAuthor"]) == ("Maker", 6, "Jörg")
    assert told["ExposureTime"] == pytest.approx(1 / 250)
    assert (told["DateTimeOriginal"], told["UserComment"]) == ("2013:01:02 03:04:05", "a comment")
    assert (told["MakerNote"], told["ExifVersion"]) == ("<5120 bytes>", "0232")
    assert "ExifOffset" not in told


def test_the_place_is_decoded(travelled: Path):
    place = inspection.exif(travelled)["GPSInfo"]

    assert place["latitude"] == pytest.approx(-(33 + 51 / 60 + 31.5 / 3600))
    assert place["longitude"] == pytest.approx(-(151 + 12 / 60 + 36 / 3600))
    assert (place["altitude"], place["time"]) == (-12.5, "2013-01-02T03:04:05+00:00")
    assert place["GPSLatitude"] == [33.0, 51.0, 31.5]


def test_what_exif_tells_can_travel(travelled: Path, tmp_path: Path):
    told = inspection.exif(travelled, max_bytes=10_000)

    assert told["MakerNote"] == bytes(range(256)) * 20
    files = Files(str(tmp_path))
    assert codecs.decode(codecs.encode(told, files), files) == told


def test_fractions_that_are_no_numbers_are_none(tmp_path: Path, chelsea: Image.Image):
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.ExposureTime] = math.nan
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (999.0, 0.0, 0.0)
    path = saved(chelsea, tmp_path / "a.jpg", exif=exif)

    told = inspection.exif(path)

    assert told["ExposureTime"] is None
    assert "latitude" not in told["GPSInfo"]


@pytest.mark.parametrize("block", [b"Exif\0\0rubbish", b"Exif\0\0MM\0*\xff\xff\xff\xff", b""])
def test_a_block_of_rubbish_tells_nothing(block: bytes):
    stored = Image.new("L", (5, 5))
    stored.info["exif"] = block

    assert inspection.exif(stored) == {}


def test_exif_of_what_is_no_image_is_an_error(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"no image")

    with pytest.raises(InputError):
        inspection.exif(path)
    with pytest.raises(InvalidArguments, match="max_bytes"):
        inspection.exif(path, max_bytes=-1)


# --- histogram --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_a_histogram_is_pillows_band_by_band(chelsea: Image.Image, mode: str):
    image = chelsea.convert(mode) if mode != "LAB" else Image.new("LAB", (5, 5))

    told = inspection.histogram(image)

    assert list(chain(*told["bands"].values())) == image.histogram()
    assert tuple(told["bands"]) == image.getbands()
    assert told["pixels"] == image.width * image.height


def test_a_palette_is_counted_by_its_colours(chelsea: Image.Image):
    few = chelsea.quantize(16)

    assert list(chain(*inspection.histogram(few)["bands"].values())) == few.convert("RGB").histogram()


def test_only_what_the_mask_shows_is_counted(chelsea: Image.Image):
    mask = Image.new("L", chelsea.size)
    mask.paste(200, (10, 10, 30, 20))

    told = inspection.histogram(chelsea, mask=mask)

    assert told["pixels"] == 200
    assert list(chain(*told["bands"].values())) == chelsea.crop((10, 10, 30, 20)).histogram()
    with pytest.raises(InvalidArguments, match="mask"):
        inspection.histogram(chelsea, mask=Image.new("L", (5, 5)))


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_deep_images_are_counted_between_their_extremes(dtype: str):
    values = np.arange(1000, 1512, dtype=dtype).reshape(16, 32)

    told = inspection.histogram(Image.fromarray(values))

    assert told["range"] == [1000.0, 1511.0]
    (counts,) = told["bands"].values()
    assert counts == [2] * 256


# --- palette ----------------------------------------------------------------------------------------


def test_few_colours_are_told_exactly():
    flag = Image.new("RGB", (10, 10), "#123456")
    flag.paste("white", (0, 0, 10, 3))
    flag.paste("#ff0000", (0, 3, 10, 4))

    assert inspection.palette(flag) == [
        {"color": "#123456", "share": 0.6},
        {"color": "#ffffff", "share": 0.3},
        {"color": "#ff0000", "share": 0.1},
    ]


def test_the_colours_of_a_photograph_are_pillows(chelsea: Image.Image):
    told = inspection.palette(chelsea, 6)

    row = Image.fromarray(np.asarray(chelsea).reshape(1, -1, 3))
    few = row.quantize(6, method=Image.Quantize.MEDIANCUT).convert("RGB")
    expected = sorted(few.getcolors() or [], reverse=True)
    assert [each["color"] for each in told] == [f"#{bytes(color).hex()}" for _, color in expected]
    assert [each["share"] for each in told] == [count / row.width for count, _ in expected]
    assert sum(each["share"] for each in told) == pytest.approx(1)


def test_what_is_transparent_has_no_colour():
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert inspection.palette(image) == []

    image.paste((0, 0, 255, 255), (0, 0, 1, 1))
    assert inspection.palette(image) == [{"color": "#0000ff", "share": 1.0}]


def test_the_colours_of_a_large_image_are_ones_that_it_has():
    large = Image.fromarray(np.indices((2000, 2000)).sum(axis=0).astype("uint8") % 2 * 255)

    assert {each["color"] for each in inspection.palette(large)} <= {"#000000", "#ffffff"}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "CMYK", "I", "F", "I;16", "LAB", "HSV"])
def test_every_mode_has_a_palette_and_a_histogram(mode: str):
    image = Image.new(mode, (8, 8))

    assert len(inspection.palette(image)) <= 1
    assert sum(next(iter(inspection.histogram(image)["bands"].values()))) == 64


def test_a_number_of_colours_that_makes_no_sense_is_refused(chelsea: Image.Image):
    for colors in (0, 257):
        with pytest.raises(InvalidArguments, match="colors"):
            inspection.palette(chelsea, colors)


# --- many pages -----------------------------------------------------------------------------------------


def chain_of_pages(count: int, *, big: bool = False) -> bytes:
    """Return a TIFF of so many pages: those after the first are a few tags and nothing else."""
    buffer = BytesIO()
    Image.new("L", (4, 4)).save(buffer, "TIFF", big_tiff=big)
    number, place = ("<Q", "<Q") if big else ("<H", "<L")
    (first,) = struct.unpack_from(place, buffer.getvalue(), 8 if big else 4)
    (tags,) = struct.unpack_from(number, buffer.getvalue(), first)
    end = first + struct.calcsize(number) + tags * (20 if big else 12)
    start = len(buffer.getvalue())
    page = struct.pack(number, 3)
    for tag, value in ((256, 4), (257, 4), (273, 8)):  # width, height, where the pixels are
        page += struct.pack("<HHQQ", tag, 4, 1, value) if big else struct.pack("<HHLL", tag, 4, 1, value)
    size = len(page) + struct.calcsize(place)
    nexts = [start + (index + 1) * size for index in range(count - 2)] + [0]
    data = buffer.getvalue() + b"".join(page + struct.pack(place, next_) for next_ in nexts)
    return data[:end] + struct.pack(place, start) + data[end + struct.calcsize(place) :]


@pytest.mark.parametrize("big", [False, True])
def test_the_pages_that_are_counted_are_those_that_pillow_counts(tmp_path: Path, big: bool):
    path = tmp_path / "a.tiff"
    photo = Image.new("L", (4, 4))
    photo.save(path, save_all=True, append_images=[photo, photo], big_tiff=big)
    assert inspection.info(path)["frames"] == 3
    path.write_bytes(chain_of_pages(50, big=big))
    with Image.open(path) as image:
        assert image.n_frames == 50
    assert inspection.info(path)["frames"] == 50


def test_counting_the_pages_of_a_tiff_takes_as_many_steps_as_there_are_pages(monkeypatch: pytest.MonkeyPatch):
    class Counted(BytesIO):
        steps = 0

        def seek(self, *where: int) -> int:
            self.steps += 1
            return super().seek(*where)

        def read(self, size: int | None = -1) -> bytes:
            self.steps += 1
            return super().read(size)

    def fails(*_: object) -> None:
        raise AssertionError("Pillow reads the tags of a page")

    steps = []
    for count in (2_000, 20_000):
        file = Counted(chain_of_pages(count))
        with Image.open(file) as image, monkeypatch.context() as patch:
            patch.setattr(type(image), "_seek", fails)
            file.steps = 0
            assert inspection.info(image)["frames"] == count
            steps.append(file.steps)
    assert steps[1] / steps[0] == pytest.approx(10, rel=0.01)
    assert steps[1] < 5 * 20_000


def test_pages_in_a_circle_are_counted_once_and_absurdly_many_are_refused(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.tiff"
    data = chain_of_pages(5)
    (first,) = struct.unpack_from("<L", data, 4)
    path.write_bytes(data[:-4] + struct.pack("<L", first))
    assert inspection.info(path)["frames"] == 5

    monkeypatch.setattr(pages, "MOST", 4)
    with pytest.raises(InputError, match="more than 4 pages"):
        inspection.info(path)


def test_pages_whose_chain_is_cut_short_are_told_as_that(tmp_path: Path):
    path = tmp_path / "a.tiff"
    path.write_bytes(chain_of_pages(5)[:-60])
    for look in (inspection.info, animation.split_frames, lambda path: convert.image(path, "pdf")):
        with pytest.raises(InputError, match=r"cut short|truncated"):
            look(path)
    assert inspection.verify(path)["problem"] == "cut short"


def test_a_frame_beyond_those_that_are_looked_at_is_not_sought(tmp_path: Path):
    path = tmp_path / "a.tiff"
    path.write_bytes(chain_of_pages(10_002))
    with pytest.raises(InputError, match=r"has 10,002 frames, and only the first 10,000 can be taken"):
        animation.split_frames(path, start=10_001)
    assert inspection.verify(path)["problem"] == "too large"
    with pytest.raises(InputError, match=r"10,002 frames, and the limit is 10,000"):
        convert.image(path, "pdf")
