"""Pictures from one file format into another; what each format can hold is in `operations.pictures`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.operations import pictures
from workbench.operations.context import Output, Overwrite
from workbench.operations.pictures import ImageFormat, Wanted
from workbench.operations.pixels import Color
from workbench.operations.registry import operation
from workbench.values.refs import FileRef, FileRefs, OutputPath

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("convert.image")
def image(
    image: FileRef | Image,
    to: ImageFormat,
    *,
    quality: int | None = None,
    lossless: bool = False,
    speed: int | None = None,
    method: int | None = None,
    progressive: bool = False,
    optimize: bool = False,
    sizes: list[tuple[int, int]] | None = None,
    duration: int | None = None,
    loop: int | None = None,
    background: Color = "white",
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> Path:
    """Convert an image into another file format.

    Parameters
    ----------
    image
        A file (PNG, JPEG, WebP, AVIF, TIFF, GIF, BMP, ICO, JPEG 2000 or PPM), or an image in memory. Frames of an
        animation and pages of a document are all kept where the format can hold them: as frames in PNG, WebP, AVIF and
        GIF, as pages in TIFF and PDF. Otherwise the first one is taken, as is the first picture of an MPO and the
        largest of an ICO. At most 10,000 frames, of 200 megapixels together.
    to
        The new file's format. Pillow writes PDF, but can't read it.
    quality
        1 to 100. Of JPEG, WebP and the pictures in a PDF 85 if None, of AVIF 75. Of JPEG 2000 the signal-to-noise ratio
        in decibels (40 is good); None for no loss at all.
    lossless
        Lose nothing, for WebP. JPEG 2000 does so without a `quality`; PNG, TIFF and BMP can't do otherwise.
    speed
        Of AVIF's encoder, 0 (slow, small) to 10; 6 if None.
    method
        Of WebP's encoder, 0 (fast) to 6 (slow, small); 4 if None, for animations 0.
    progressive
        Make a JPEG that shows coarsely at first.
    optimize
        Look for a smaller file of the same pixels, for JPEG, PNG and GIF; takes longer.
    sizes
        Widths and heights of the icons in an ICO, up to 256 and the image's own; the usual ones from 16 to 256 if None.
        Icons keep the image's aspect ratio.
    duration
        Milliseconds for which each frame is shown; as in the source if None, 100 for pages that become frames. GIF
        counts in steps of 10.
    loop
        How often an animation plays, 0 for ever; as in the source if None. Not for AVIF, where Pillow writes none.
    background
        What is laid below transparent pixels where the format can't hold them (JPEG, BMP, PDF, and GIF where pixels are
        partly transparent).
    output
        Where to write it; None for a file of the image's name with the format as its extension.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pathlib.Path
        The file, complete. The pixels stand upright, as the EXIF orientation says, and the tag is gone; the rest of
        EXIF is kept where the format can hold it (PNG, JPEG, WebP, AVIF, TIFF, there by the first page), as is the ICC
        profile. Where it can't, colours are converted to sRGB. The resolution is kept by PNG, JPEG, TIFF, BMP and PDF;
        XMP isn't. What is left out is told in the task's notes.

    Raises
    ------
    InputError
        If the file isn't an image of a known format, is damaged, or too large.
    InvalidArguments
        If an option doesn't fit the format, the image is too large for it, or frames of an animation differ in size; if
        `output` is there already and is not to be replaced.

    Examples
    --------
    >>> from PIL import Image
    >>> image(Image.new("RGBA", (64, 64)), "jpeg").name
    'image.jpeg'
    """
    wanted = Wanted(quality, lossless, speed, method, progressive, optimize, sizes, duration, loop)
    return pictures.convert(image, to, wanted, background=background, output=Output(output, overwrite))


@operation("convert.pages")
def pages(
    images: FileRefs | list[Image],
    to: Literal["pdf", "tiff"] = "pdf",
    *,
    background: Color = "white",
    resolution: float = 150.0,
    quality: int | None = None,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> Path:
    """Put images on the pages of one document.

    Parameters
    ----------
    images
        One or more, a page each: a list, in the order of the pages, or a glob such as `scans/*.png`, whose files go by
        their names. They are set upright by their EXIF orientation. Of an animation its first frame is taken:
        `convert.image` makes pages of all of them.
    to
        A PDF, or a TIFF of several pages.
    background
        What is laid below transparent pixels.
    resolution
        Pixels to the inch, which decides how large a page is.
    quality
        Of the JPEGs in a PDF, 1 to 100; 85 if None.
    output
        Where to write it; None for a file of the first image's name.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).

    Returns
    -------
    pathlib.Path
        The file, complete. A PDF's pictures are JPEGs in sRGB, or fax images without loss if all are bilevel; a TIFF's
        are without loss, and keep their colour profile.

    Raises
    ------
    InvalidArguments
        If there are no images, an option makes no sense, or `output` is there already and is not to be replaced.

    Examples
    --------
    >>> from PIL import Image
    >>> pages([Image.new("RGB", (64, 64))] * 2).name
    'image.pdf'
    """
    target = Output(output, overwrite)
    return pictures.document(images, to, background=background, resolution=resolution, quality=quality, output=target)
