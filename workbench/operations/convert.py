"""The convert family: tables and pictures from one file format into another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations import context, pictures, tabular
from workbench.operations.columnar import FeatherReader, ParquetReader, feather_writer, parquet_writer
from workbench.operations.csvfiles import CsvReader, check_delimiter, check_encoding, csv_writer
from workbench.operations.jsonlines import JsonLinesReader, jsonlines_writer
from workbench.operations.pictures import ImageFormat, Wanted
from workbench.operations.pixels import Color
from workbench.operations.registry import operation
from workbench.operations.tabular import Compression, Options, Reader, Source, TableFormat, Write
from workbench.values.refs import FileRef, OutputPath

if TYPE_CHECKING:
    from PIL.Image import Image


@operation("convert.table")
def table(
    source: FileRef,
    to: TableFormat,
    *,
    output: OutputPath | None = None,
    compression: Compression | None = None,
    delimiter: str | None = None,
    output_delimiter: str | None = None,
    column_types: dict[str, str] | None = None,
    null_values: list[str] | None = None,
    quoted_strings_can_be_null: bool = False,
    encoding: str = "utf8",
) -> Path:
    r"""Convert a table between CSV, JSON Lines, Parquet and Feather, batch by batch: it is never in memory as a whole.

    Parameters
    ----------
    source
        A file whose name says its format: `.csv`, `.tsv`, `.jsonl`, `.ndjson` (also with `.gz`), `.parquet`, `.pq`,
        `.feather` or `.arrow`.
    to
        The new file's format. Feather is Arrow's file format (version 2).
    output
        Where to write it; None for a file of the source's name with the format as its extension.
    compression
        Of text: none or gzip (the default where `output` ends in `.gz`). Of Parquet: snappy (default), zstd, gzip,
        brotli, lz4 or none. Of Feather: lz4 (default), zstd or none.
    delimiter
        Between the fields of the CSV that is read; a comma if None, a tab for `.tsv`. Where the source isn't CSV, of
        the one that is written.
    output_delimiter
        Between the fields of the CSV that is written; a comma if None.
    column_types
        Types of columns of text files, by Arrow's names: `{"zip": "string"}`. The other columns' are inferred so that
        they fit every row: where a later row contradicts the first ones, the column becomes wider (whole numbers, then
        floats, then text) and the conversion starts again. From CSV to CSV, cells stay as they are written.
    null_values
        What stands for a missing value in a CSV, if it isn't quoted: by default nothing at all, `NA`, `NaN`, `null` and
        their like.
    quoted_strings_can_be_null
        Whether they stand for one in quotes too: for files that quote every field.
    encoding
        Of the CSV that is read. What is written is UTF-8.

    Returns
    -------
    pathlib.Path
        The file, complete. Missing values are nulls in Parquet, Feather and JSON, and nothing in CSV (`NA` in a table
        of a single column). A NaN stays one in
        Parquet and Feather, and is a missing value in CSV and JSON, which has no infinities either. Times with a zone
        are in UTC in CSV and JSON; times in ISO 8601 are recognised there.

    Raises
    ------
    InputError
        If the source is damaged, is of an unknown format, or contradicts itself: names the line, and the cure.
    InvalidArguments
        If an option doesn't fit the formats, or CSV is asked for of nested columns.

    Examples
    --------
    >>> import tempfile
    >>> source = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = source.write_text("x,y\n1,2\n")
    >>> table(FileRef(str(source), "a.csv"), "parquet").name
    'a.parquet'
    """
    file = _file(source)
    _check_apart(output, file)
    options = Options(
        delimiter=check_delimiter(("\t" if file.tabs else ",") if delimiter is None else delimiter, "delimiter"),
        column_types=tabular.types_of(column_types),
        null_values=None if null_values is None else tuple(null_values),
        quoted_strings_can_be_null=quoted_strings_can_be_null,
        encoding=check_encoding(encoding),
        as_text=file.format == to == "csv",
    )
    if output_delimiter is None:
        output_delimiter = "," if file.format == "csv" else delimiter
    reader = _reader(file, options)
    compression = _compression(to, compression, output)
    name = f"{file.stem}.{to}" + (".gz" if compression == "gzip" and to in tabular.TEXT else "")

    def convert(part: Path) -> None:
        with reader.open() as (schema, batches), _writer(part, to, schema, compression, output_delimiter) as write:
            for batch in batches:
                write(batch)

    try:
        return context.write_file(name, output, convert)
    except tabular.Contradicted:
        reader.settle()
        return context.write_file(name, output, convert)


@operation("convert.split")
def split(source: FileRef, rows: int, *, to: TableFormat | None = None) -> list[Path]:
    r"""Split a table into files of so many rows each, batch by batch.

    Parameters
    ----------
    source
        As for `convert.table`.
    rows
        Rows of each file but the last.
    to
        The files' format; the source's own if None.

    Returns
    -------
    list of pathlib.Path
        The files, in order, named `stem-0001.csv` and so on; one of no rows for a table of none.

    Raises
    ------
    InputError
        If the source is damaged, is of an unknown format, or contradicts itself.
    InvalidArguments
        If `rows` isn't positive.

    Examples
    --------
    >>> import tempfile
    >>> source = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = source.write_text("x\n1\n2\n3\n")
    >>> [path.name for path in split(FileRef(str(source), "a.csv"), 2)]
    ['a-0001.csv', 'a-0002.csv']
    """
    if rows < 1:
        raise InvalidArguments(f"rows: takes a number above zero, got {rows}")
    file = _file(source)
    wanted = to or file.format
    reader = _reader(file, _plain_options(file, as_text=file.format == wanted == "csv"))
    try:
        return list(_parts(reader, file.stem, rows, wanted))
    except tabular.Contradicted:
        reader.settle()
        return list(_parts(reader, file.stem, rows, wanted))


def _parts(reader: Reader, stem: str, rows: int, to: TableFormat) -> Iterator[Path]:
    with reader.open() as (schema, batches):
        pieces = tabular.pieces(batches, rows)
        for number, piece in enumerate(tabular.at_least_one(pieces), 1):

            def write(part: Path, piece: Iterable[Any] = piece) -> None:
                with _writer(part, to, schema, _COMPRESSIONS[to][0], None) as put:
                    for batch in piece:
                        put(batch)

            yield context.write_file(f"{stem}-{number:04d}.{to}", None, write)


@operation("convert.concat")
def concat(
    sources: list[FileRef],
    to: TableFormat,
    *,
    output: OutputPath | None = None,
    compression: Compression | None = None,
) -> Path:
    r"""Put tables of the same columns below each other in one file, batch by batch.

    Parameters
    ----------
    sources
        One or more, in any of the formats of `convert.table`; in the order of the result's rows.
    to
        The new file's format.
    output
        Where to write it; None for a file of the first source's name with the format as its extension.
    compression
        As for `convert.table`.

    Returns
    -------
    pathlib.Path
        The file, with the first source's order of columns, each of the narrowest type that holds all its values.

    Raises
    ------
    InputError
        If a source is damaged or of an unknown format.
    InvalidArguments
        If the sources differ in their columns, or in types that nothing holds together.

    Examples
    --------
    >>> import tempfile
    >>> places = [Path(tempfile.mkdtemp(), name) for name in ("a.csv", "b.csv")]
    >>> _ = [place.write_text("x\n1\n") for place in places]
    >>> concat([FileRef(str(place), place.name) for place in places], "jsonl").read_text()
    '{"x":1}\n{"x":1}\n'
    """
    if not sources:
        raise InvalidArguments("sources: takes at least one table")
    files = [_file(source) for source in sources]
    _check_apart(output, *files)
    readers = [_reader(file, _plain_options(file, as_text=False)) for file in files]
    compression = _compression(to, compression, output)
    name = f"{files[0].stem}.{to}" + (".gz" if compression == "gzip" and to in tabular.TEXT else "")

    def write(part: Path) -> None:
        schema = tabular.joint_schema([(file, _schema_of(reader)) for file, reader in zip(files, readers, strict=True)])
        with _writer(part, to, schema, compression, None) as put:
            for reader in readers:
                with reader.open() as (_, batches):
                    for batch in batches:
                        put(batch.select(schema.names).cast(schema))

    try:
        return context.write_file(name, output, write)
    except tabular.Contradicted:
        for reader in readers:
            reader.settle()
        return context.write_file(name, output, write)


def _schema_of(reader: Reader) -> Any:
    with reader.open() as (schema, _):
        return schema


def _check_apart(output: str | None, *files: Source) -> None:
    for file in files:
        if output is not None and Path(output).exists() and Path(output).samefile(file.path):
            raise InvalidArguments(f"output: {output} is the source itself, which would be lost: name another file")


def _file(source: FileRef) -> Source:
    path = context.input_path(source)
    return tabular.source_of(path, getattr(source, "name", path.name))


def _plain_options(file: Source, *, as_text: bool) -> Options:
    return Options("\t" if file.tabs else ",", {}, None, False, "utf8", as_text)


def _reader(source: Source, options: Options) -> Reader:
    match source.format:
        case "csv":
            return CsvReader(source, options)
        case "jsonl":
            return JsonLinesReader(source, options)
    if options.column_types:
        raise InvalidArguments(f"column_types: {source.name} says its types itself; they are for CSV and JSON Lines")
    return ParquetReader(source) if source.format == "parquet" else FeatherReader(source)


def _writer(
    path: Path, to: TableFormat, schema: Any, compression: Compression, delimiter: str | None
) -> AbstractContextManager[Write]:
    match to:
        case "csv":
            return csv_writer(
                path, schema, compression, check_delimiter("," if delimiter is None else delimiter, "output_delimiter")
            )
        case "jsonl":
            return jsonlines_writer(path, schema, compression)
        case "parquet":
            return parquet_writer(path, schema, compression)
        case "feather":
            return feather_writer(path, schema, compression)


_COMPRESSIONS: dict[TableFormat, tuple[Compression, ...]] = {  # the default first
    "csv": ("none", "gzip"),
    "jsonl": ("none", "gzip"),
    "parquet": ("snappy", "zstd", "gzip", "brotli", "lz4", "none"),
    "feather": ("lz4", "zstd", "none"),
}


def _compression(to: TableFormat, compression: Compression | None, output: str | None) -> Compression:
    if to not in _COMPRESSIONS:
        raise InvalidArguments(f"to: takes one of {', '.join(_COMPRESSIONS)}, got {to!r}")
    known = _COMPRESSIONS[to]
    if compression is None:
        return "gzip" if to in tabular.TEXT and (output or "").lower().endswith(".gz") else known[0]
    if compression not in known:
        raise InvalidArguments(f"compression: {to} takes one of {', '.join(known)}, got {compression!r}")
    return compression


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

    Returns
    -------
    pathlib.Path
        The file, complete. The pixels stand upright, as the EXIF orientation says, and the tag is gone; the rest of
        EXIF is kept where the format can hold it (PNG, JPEG, WebP, AVIF, TIFF), as is the ICC profile. Where it can't,
        colours are converted to sRGB. The resolution is kept by PNG, JPEG, TIFF, BMP and PDF; XMP isn't. What is left
        out is told in the task's notes.

    Raises
    ------
    InputError
        If the file isn't an image of a known format, is damaged, or too large.
    InvalidArguments
        If an option doesn't fit the format, the image is too large for it, or frames of an animation differ in size.

    Examples
    --------
    >>> from PIL import Image
    >>> image(Image.new("RGBA", (64, 64)), "jpeg").name
    'image.jpeg'
    """
    wanted = Wanted(quality, lossless, speed, method, progressive, optimize, sizes, duration, loop)
    return pictures.convert(image, to, wanted, background=background, output=output)


@operation("convert.pages")
def pages(
    images: list[Image],
    to: Literal["pdf", "tiff"] = "pdf",
    *,
    background: Color = "white",
    resolution: float = 150.0,
    quality: int | None = None,
    output: OutputPath | None = None,
) -> Path:
    """Put images on the pages of one document.

    Parameters
    ----------
    images
        One or more, a page each; set upright by their EXIF orientation. Of an animation its first frame:
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

    Returns
    -------
    pathlib.Path
        The file, complete. A PDF's pictures are JPEGs in sRGB, or fax images without loss if all are bilevel; a TIFF's
        are without loss, and keep their colour profile.

    Raises
    ------
    InvalidArguments
        If there are no images, or an option makes no sense.

    Examples
    --------
    >>> from PIL import Image
    >>> pages([Image.new("RGB", (64, 64))] * 2).name
    'image.pdf'
    """
    return pictures.document(images, to, background=background, resolution=resolution, quality=quality, output=output)
