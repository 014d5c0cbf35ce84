"""Image files made to do harm. Each is read in a process of its own that is limited as a worker's slot is."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from workbench.core.errors import InputError
from workbench.operations import context, convert
from workbench.values import decoders
from workbench.values.refs import FileRef

ROOM = 400 * 1024**2
"""Bytes that the process may map beyond what it has at the start: a small slot's limit."""

_CHILD = """
import json, resource, sys, time, warnings
from pathlib import Path
from workbench.core.errors import WorkbenchError
from workbench.operations import context, convert
from workbench.operations.image import inspection
from workbench.values import decoders
from workbench.values.refs import FileRef
import PIL.ImageCms, PIL.ImageOps, PIL.ImageSequence

def highest():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

what, path, room = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
decoders.limit_process()
mapped = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (mapped + room, mapped + room))
Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident size
before, begun = highest(), time.process_time()
kind, text = "", ""
try:
    if what == "load":
        image = decoders.load(path, path.name)
        text = f"{image.format} {image.size} {image.mode}"
    elif what == "info":
        text = str(inspection.info(FileRef(str(path), path.name)))
    else:
        with context.attempt(path.parent / "scratch"):
            text = str(convert.image(FileRef(str(path), path.name), what))
except WorkbenchError as error:
    kind, text = type(error).__name__, str(error)
taken = highest() - before
loaded = sorted(name for name in sys.modules if name.startswith("PIL.") and name.endswith("ImagePlugin"))
print(json.dumps([kind, text, taken, time.process_time() - begun, loaded]))
"""


class Outcome(NamedTuple):
    kind: str
    text: str
    memory: int
    seconds: float
    plugins: list[str]


def attempt(path: Path, what: str = "load", room: int = ROOM) -> Outcome:
    """Load, describe or convert a file in a process with a limit of memory; return what came of it."""
    command = [sys.executable, "-W", "ignore::UserWarning", "-c", _CHILD, what, str(path), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return Outcome(*json.loads(done.stdout))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *before: bytes, data: bytes = b"\0\0", depth: int = 8, colour: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def saved(format_: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(file, format_, **options)  # type: ignore[arg-type]
    return file.getvalue()


def tiff(*tags: tuple[int, int, int, int], after: bytes = b"", next_: int = 0) -> bytes:
    """A little-endian TIFF of one directory: tag, type, count, value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", next_) + after


def webp_canvas(width: int, height: int) -> bytes:
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + (width - 1).to_bytes(3, "little")
    vp8x += (height - 1).to_bytes(3, "little")
    anim = b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    still = saved("WEBP", (16, 16), lossless=True)[12:]
    anmf = bytes(6) + (15).to_bytes(3, "little") * 2 + (100).to_bytes(3, "little") + b"\0" + still
    body = b"WEBP" + vp8x + anim + b"ANMF" + struct.pack("<I", len(anmf)) + anmf
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_rle(width: int, height: int) -> bytes:
    body = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 4, 0, 0, 2, 0) + bytes(8) + b"\0\0\0\1"
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 14 + 48) + body


def icon(inner: bytes, count: int = 1) -> bytes:
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 6 + 16 * count)
    return struct.pack("<HHH", 0, 1, count) + entry * count + inner


def jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb.png": (lambda: png(30_000, 30_000), "bomb.png has 900 megapixels, and the limit is 200. Cut it into tiles"),
    "wide.png": (lambda: png(2**31 - 1, 2**31 - 1), "megapixels, and the limit is 200"),
    "bomb.jpg": (lambda: jpeg_of_size(60_000, 60_000), "bomb.jpg has 3,600 megapixels, and the limit is 200"),
    "bomb.gif": (
        lambda: (
            b"GIF89a"
            + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0)
            + bytes(6)
            + b","
            + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
            + b"\x02\x01\x44\0;"
        ),
        "bomb.gif has 4,295 megapixels, and the limit is 200",
    ),
    "bomb.webp": (lambda: webp_canvas(2**24, 2**7), "bomb.webp has 2,147 megapixels, and the limit is 200"),
    "bomb.bmp": (lambda: bmp_rle(40_000, 40_000), "bomb.bmp has 1,600 megapixels, and the limit is 200"),
    "bomb.ppm": (lambda: b"P6 100000 100000 255\n" + bytes(100), "bomb.ppm has 10,000 megapixels, and the limit is"),
    "bomb.tif": (
        lambda: tiff(
            (256, 4, 1, 100_000),
            (257, 4, 1, 100_000),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, 8),
            (279, 4, 1, 8),
        ),
        "bomb.tif has 10,000 megapixels, and the limit is 200",
    ),
    "bomb.ico": (lambda: icon(png(14_000, 14_000)), "holds an icon of 14,000 × 14,000, and the limit is 1,024 pixels"),
    "dib.ico": (lambda: icon(bmp_rle(12_000, 24_000)[14:]), "holds an icon of 12,000 × 12,000, and the limit is"),
    "many.ico": (lambda: icon(png(16, 16), 65_535), "many.ico holds 65,535 icons, and the limit is 256"),
    "slot.png": (lambda: png(14_000, 14_000, colour=2), "slot.png takes 784 MB of memory decoded, and the slot has"),
    "text.png": (
        lambda: png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * 1024**2)))),
        "text.png holds texts or a profile that unpack to more than is allowed (Decompressed data too large",
    ),
    "texts.png": (
        lambda: png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1024**2 - 1))) * 100),
        "texts.png holds texts or a profile that unpack to more than is allowed (Too much memory used in text",
    ),
    "different.png": (
        lambda: png(8, 8, *(chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(1024**2 - 1))) for i in range(20))),
        "different.png holds 21 MB beside its pixels (a colour profile, EXIF, texts), and the limit is 16: strip them",
    ),
    "international.png": (
        lambda: png(8, 8, chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(64 * 1024**2)))),
        "international.png holds texts or a profile that unpack to more than is allowed (Decompressed data too large",
    ),
    "profile.png": (
        lambda: png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(64 * 1024**2)))),
        "profile.png holds texts or a profile that unpack to more than is allowed (Decompressed data too large",
    ),
    "profile.tif": (
        lambda: saved("TIFF", icc_profile=bytes(20 * 1024**2)),
        "profile.tif holds 21 MB beside its pixels",
    ),
    "strips.tif": (
        lambda: tiff(
            (256, 4, 1, 64),
            (257, 4, 1, 64),
            (258, 3, 1, 8),
            (259, 3, 1, 5),
            (262, 3, 1, 1),
            (273, 4, 2**32 - 1, 8),
            (278, 4, 1, 1),
            (279, 4, 2**32 - 1, 8),
        ),
        "strips.tif can't be read as TIFF: it is damaged (decoder error -2). Get the file again",
    ),
    "loop.tif": (
        lambda: tiff((256, 4, 1, 64), next_=8),
        "loop.tif is not an image that can be read. Known formats: PNG, JPEG, ",
    ),
    "tags.tif": (
        lambda: tiff(
            (256, 4, 1, 64),
            (257, 4, 1, 64),
            (258, 3, 2**31, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, 8),
            (270, 2, 2**32 - 1, 8),
        ),
        "tags.tif can't be read as TIFF: it is cut short (image file is truncated (2 bytes not processed)). Get ",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, name: str):
    make, message = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())

    outcome = attempt(path)

    assert (outcome.kind, message in outcome.text) == ("InputError", True), outcome
    assert outcome.memory < 128 * 1024**2
    assert outcome.seconds < 5


OTHERS = {
    "a.eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "it looks like EPS or PostScript; export it as PNG",
    ),
    "a.psd": (b"8BPS\0\1" + bytes(100), "it looks like Photoshop (PSD); save it as PNG, JPEG or TIFF"),
    "a.wmf": (b"\xd7\xcd\xc6\x9a\0\0" + bytes(100), "it looks like WMF; export it as PNG"),
    "a.emf": (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(100), "it looks like EMF; export it as PNG"),
    "a.fits": (b"SIMPLE  =                    T" + bytes(100), "it looks like FITS"),
    "a.icns": (b"icns\0\0\1\0" + bytes(100), "it looks like ICNS"),
    "a.svg": (
        b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "it looks like SVG; export",
    ),
    "b.svg": (b"<svg onload='alert(1)'/>", "it holds drawing commands, which aren't run here"),
    "a.pdf": (b"%PDF-1.7\n", "Pillow can write PDF, but not read it"),
    "a.heic": (b"\0\0\0\x18ftypheic" + bytes(20), "it looks like HEIC; save it as PNG"),
    "a.zip": (b"PK\3\4" + bytes(100), "it looks like zip; unpack it"),
    "a.qoi": (b"qoif" + bytes(100), "it looks like QOI"),
    "a.png": (b"", "a.png is not an image that can be read. Known formats: PNG, JPEG, WEBP, AVIF"),
    "b.png": (b"<html>404</html>", "b.png is not an image that can be read. Known formats"),
    "c.png": (b"8BPS\0\1" + bytes(100), "c.png is not an image that can be read: it looks like Photoshop (PSD)"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_format_outside_the_list_is_refused_by_its_name_with_a_cure(tmp_path: Path, name: str):
    data, message = OTHERS[name]
    (tmp_path / name).write_bytes(data)

    with pytest.raises(InputError) as caught:
        decoders.load(tmp_path / name, name)
    assert message in str(caught.value)


def test_no_decoder_outside_the_list_is_loaded(tmp_path: Path):
    (tmp_path / "a").write_bytes(OTHERS["a.eps"][0])

    plugins = attempt(tmp_path / "a").plugins

    names = {plugin.removeprefix("PIL.").removesuffix("ImagePlugin") for plugin in plugins}
    assert names <= {"Png", "Jpeg", "Mpo", "WebP", "Avif", "Tiff", "Gif", "Bmp", "Ico", "Jpeg2K", "Ppm"}


def test_a_file_named_as_postscript_is_never_given_to_its_decoder(tmp_path: Path):
    (tmp_path / "a.eps").write_bytes(OTHERS["a.eps"][0])

    assert "it looks like EPS or PostScript" in attempt(tmp_path / "a.eps").text


CUT = "can't be read as {}: it is cut short (image file is truncated"
HALVES = {
    **{format_: CUT.format(format_) for format_ in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "PPM")},
    "WEBP": "is not an image that can be read: it is damaged (could not create decoder object). Get the file again",
    "AVIF": "is not an image that can be read. Known formats: PNG, JPEG, WEBP, AVIF, ",
    "JPEG2000": "can't be read as JPEG2000: it is damaged (broken data stream when reading image file). Get the file ",
    "ICO": "is not an image that can be read: it is cut short (image file is truncated). Get the file again",
}


@pytest.mark.parametrize("format_", HALVES)
def test_a_file_that_is_cut_short_is_never_half_an_image(tmp_path: Path, format_: str):
    whole = saved(format_, (256, 192))
    path = tmp_path / f"cut.{format_.lower()}"
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(InputError) as caught:
        decoders.load(path, path.name)
    assert str(caught.value).startswith(f"{path.name} {HALVES[format_]}")


def test_a_jpeg_that_is_also_a_zip_is_read_as_an_image_only(tmp_path: Path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.py", "print('run')")
    path = tmp_path / "both.jpg"
    path.write_bytes(saved("JPEG") + archive.getvalue())
    assert zipfile.is_zipfile(path)

    outcome = attempt(path, "png")

    assert outcome.kind == ""
    assert not zipfile.is_zipfile(outcome.text)
    assert b"evil.py" not in Path(outcome.text).read_bytes()


def gif_of_frames(count: int) -> bytes:
    frame = b"!\xf9\x04\0\1\0\0\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame * count + b";"


def apng_of_frames(count: int) -> bytes:
    return png(
        1,
        1,
        chunk(b"acTL", struct.pack(">II", count, 0)),
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 10, 0, 0)),
    )


def tiff_of_pages(count: int) -> bytes:
    size = 2 + 7 * 12 + 4
    tags = ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (279, 1))
    pages = [
        struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        + struct.pack("<I", 8 + size * (page + 1) if page + 1 < count else 0)
        for page in range(count)
    ]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def gif_of_large_frames() -> bytes:
    file = io.BytesIO()
    Image.new("P", (3000, 3000), 1).save(file, "GIF")
    still = file.getvalue()
    frame = still[still.index(b",\0\0\0\0") : -1]
    return still[:-1] + frame * 40 + b";"


FRAMES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "many.gif": (lambda: gif_of_frames(100_000), "webp", "many.gif has more than 10,000 frames"),
    "many.png": (
        lambda: apng_of_frames(2**31 - 1),
        "gif",
        "many.png has 2,147,483,647 frames, and the limit is 10,000",
    ),
    "many.tif": (lambda: tiff_of_pages(20_000), "pdf", "many.tif has 20,000 frames, and the limit is 10,000"),
    "large.gif": (gif_of_large_frames, "png", "large.gif's frames have more than 200 megapixels together"),
    "lying.png": (
        lambda: apng_of_frames(5000),
        "gif",
        "lying.png can't be read as PNG: it is cut short (Truncated File Read). Get the",
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_too_many_frames_are_refused(tmp_path: Path, name: str):
    make, to, message = FRAMES[name]
    path = tmp_path / name
    path.write_bytes(make())

    outcome = attempt(path, to, room=2 * 1024**3)

    assert (outcome.kind, message in outcome.text) == ("InputError", True), outcome
    assert outcome.memory < 1024**3
    assert outcome.seconds < 20


def test_exif_that_points_at_itself_takes_no_more_memory_than_it_has(tmp_path: Path):
    entries, size = 5000, 60_000
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, entries)
    block += b"".join(struct.pack("<HHII", 0x9000 + n, 7, size, 0) for n in range(entries)) + bytes(4)
    path = tmp_path / "exif.jpg"
    path.write_bytes(saved("JPEG"))
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", min(65_535, len(block) + 2)) + block + data[2:])

    for what in ("load", "info", "png", "webp"):
        outcome = attempt(path, what)
        assert outcome.kind == "", outcome
        assert outcome.memory < 128 * 1024**2


def test_an_animation_whose_seconds_have_no_parts_is_damaged(tmp_path: Path):
    frames = [Image.effect_noise((24, 16), 80).convert("RGB") for _ in range(2)]
    frames[0].save(tmp_path / "a.avif", save_all=True, append_images=frames[1:], duration=50)
    data = bytearray((tmp_path / "a.avif").read_bytes())
    at = data.index(b"mdhd")
    data[at + 24 : at + 28] = bytes(4)  # its timescale, by which Pillow divides
    (tmp_path / "a.avif").write_bytes(data)

    with pytest.raises(InputError, match=r"a\.avif can't be read as AVIF: it is damaged \(division by zero\)"):
        decoders.load(tmp_path / "a.avif", "a.avif")


@pytest.mark.parametrize("key", ["transparency", "icc_profile", "interlace", "loop", "duration", "exif", "dpi"])
def test_a_text_in_a_png_is_not_taken_for_what_the_image_is(tmp_path: Path, key: str):
    texts = PngImagePlugin.PngInfo()
    texts.add_text(key, "anything")
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    for name, options in (("still.png", {}), ("moving.png", {"save_all": True, "append_images": frames[1:]})):
        frames[0].save(tmp_path / name, pnginfo=texts, **options)  # type: ignore[arg-type]

        with context.attempt(tmp_path / "scratch"):
            for to in ("png", "jpeg", "webp", "gif", "tiff"):
                with Image.open(convert.image(FileRef(str(tmp_path / name), name), to)) as made:  # type: ignore[arg-type]
                    assert made.convert("RGB").getpixel((4, 4))[0] > 250  # type: ignore[index]


def test_a_workers_processes_know_no_other_decoders_and_treat_warnings_of_bombs_as_errors():
    code = (
        "import json, sys, warnings; import workbench.worker.preload; from PIL import Image; "
        "caught = [filter for filter in warnings.filters if filter[2] is Image.DecompressionBombWarning]; "
        "print(json.dumps([sorted(Image.OPEN), Image.MAX_IMAGE_PIXELS, caught[0][0]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    formats, limit, action = json.loads(done.stdout)
    assert set(formats) <= {*decoders.FORMATS, "MPO"}
    assert (limit, action) == (decoders.MAX_PIXELS, "error")


SAMPLES = {
    format_: saved(format_, (24, 16))
    for format_ in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000", "ICO", "PPM")
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_file_is_an_image_or_an_error_that_says_so(data: st.DataObject):
    whole = bytearray(SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))

    file = io.BytesIO(bytes(whole[:cut] if data.draw(st.booleans()) else whole))
    said = "the image is one"
    try:
        assert decoders.load(file, "the image").width > 0
    except InputError as error:
        said = str(error)
    assert said.startswith("the image ")
