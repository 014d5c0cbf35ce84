"""The convert family: tables and pictures from one file format into another."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations import context, pictures, tabular
from workbench.operations.columnar import FeatherReader, ParquetReader, feather_writer, parquet_writer
from workbench.operations.csvfiles import CsvReader, check_delimiter, check_encoding, csv_writer
from workbench.operations.jsonlines import JsonLinesReader, jsonlines_writer
from workbench.operations.pictures import ImageFormat
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
    path = context.input_path(source)
    file = tabular.source_of(path, getattr(source, "name", path.name))
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
    background: Color = "white",
    output: OutputPath | None = None,
) -> Path:
    """Convert an image into another file format.

    Parameters
    ----------
    image
        A file, or an image in memory. Of a file with several frames all are kept where the format can hold them (GIF,
        PNG, TIFF, WebP), and the first one otherwise.
    to
        The new file's format.
    quality
        Of JPEG and WebP, 1 to 100; 85 if None.
    background
        What is laid below transparent pixels where the format can't hold them (JPEG, BMP, and GIF where they are partly
        transparent).
    output
        Where to write it; None for a file of the image's name with the format as its extension.

    Returns
    -------
    pathlib.Path
        The file, complete. The pixels stand upright, as the EXIF orientation says, and the tag is gone; the rest of
        EXIF is kept where the format can hold it (JPEG, PNG, TIFF, WebP), as is the ICC profile. Where it can't (GIF,
        BMP, or another colour model than the profile's), colours are converted to sRGB.

    Raises
    ------
    InputError
        If the file isn't an image of a known format, or is damaged.
    InvalidArguments
        If an option doesn't fit the format, or the image is too large for it.

    Examples
    --------
    >>> from PIL import Image
    >>> image(Image.new("RGBA", (64, 64)), "jpeg").name
    'image.jpeg'
    """
    return pictures.convert(image, to, quality=quality, background=background, output=output)
