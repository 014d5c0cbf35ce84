"""Files that aren't opened as images: what they are by their first bytes, and the cure."""

from __future__ import annotations

import re

_OTHERS = (
    (b"%!PS", "EPS or PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"%PDF", "PDF"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"SIMPLE  =", "FITS"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"\x00\x00\x02\x00", "CUR"),
    (b"/* XPM */", "XPM"),
    (b"\x89HDF", "HDF5"),
    (b"GRIB", "GRIB"),
    (b"BUFR", "BUFR"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "gzip"),
)

# What may stand before its root is never tried in another way: comments in a row would take forever.
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|<\?xml[^>]*>|<!--(?:(?!-->).)*+-->|<!DOCTYPE[^>]*>)*+<svg", re.DOTALL)


def described(name: str, head: bytes, known: list[str]) -> str:
    """Say why a file isn't opened, and what to do.

    Parameters
    ----------
    name
        The file's.
    head
        Its first bytes, 1024 or so.
    known
        The formats that are opened.
    """
    what = next((kind for start, kind in _OTHERS if head.startswith(start)), "")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        what = "HEIC"
    if head[40:44] == b" EMF":
        what = "EMF"
    if _SVG.match(head):
        what = "SVG"
    formats = ", ".join(known)
    match what:
        case "":
            return f"{name} is not an image that can be read. Known formats: {formats}"
        case "PDF":
            cure = "export its pages as PNG or TIFF (pdftoppm does): Pillow can write PDF, but not read it"
        case "SVG" | "EPS or PostScript" | "EPS" | "WMF" | "EMF":
            cure = "export it as PNG in the size you need: it holds drawing commands, which aren't run here"
        case "zip" | "gzip":
            cure = "unpack it, and pass the image in it"
        case _:
            cure = "save it as PNG, JPEG or TIFF where it was made"
    return f"{name} is not an image that can be read: it looks like {what}; {cure}. Known formats: {formats}"
