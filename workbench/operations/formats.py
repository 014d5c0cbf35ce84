"""Which reader and which writer a format has, and how each can be compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations import context, reading, tabular
from workbench.operations.columnar import (
    FeatherReader,
    OrcReader,
    ParquetReader,
    feather_writer,
    orc_writer,
    parquet_writer,
)
from workbench.operations.csvfiles import CsvReader
from workbench.operations.csvtext import check_delimiter, check_encoding
from workbench.operations.csvwriting import csv_writer
from workbench.operations.jsonlines import JsonLinesReader, json_writer
from workbench.operations.tabular import Compression, Options, Reader, Source, TableFormat, Write
from workbench.operations.workbooks import WorkbookReader, workbook_writer
from workbench.values.refs import FileRef

_TEXT: tuple[Compression, ...] = ("none", "gzip", "zstd", "bz2")
_ARROW: tuple[Compression, ...] = ("lz4", "zstd", "none")
COMPRESSIONS: dict[TableFormat, tuple[Compression, ...]] = {  # the default first
    "csv": _TEXT,
    "tsv": _TEXT,
    "jsonl": _TEXT,
    "json": _TEXT,
    "parquet": ("snappy", "zstd", "gzip", "brotli", "lz4", "none"),
    "feather": _ARROW,
    "arrow": _ARROW,
    "orc": ("zstd", "snappy", "zlib", "lz4", "none"),
    "xlsx": ("none",),
}


class Target(NamedTuple):
    """The kind of file that is to be written."""

    format: TableFormat
    compression: Compression
    delimiter: str = ","
    sheet: str = "Sheet1"

    def name(self, stem: str) -> str:
        """Return a file's name with the format's extensions."""
        return f"{stem}{self.extension}"

    @property
    def extension(self) -> str:
        """The extension that says the format and, of text, the compression."""
        endings = {compression: ending for ending, compression in tabular.ZIPPED.items()}
        return f".{self.format}" + (endings.get(self.compression, "") if self.format in tabular.TEXT else "")

    def writer(self, path: Path, schema: Any) -> AbstractContextManager[Write]:
        """Open a file to write batches of this schema to."""
        match self.format:
            case "csv" | "tsv":
                return csv_writer(path, schema, self.compression, self.delimiter)
            case "jsonl" | "json":
                return json_writer(path, schema, self.compression, array=self.format == "json")
            case "parquet":
                return parquet_writer(path, schema, self.compression)
            case "feather" | "arrow":
                return feather_writer(path, schema, self.compression)
            case "orc":
                return orc_writer(path, schema, self.compression)
            case "xlsx":
                return workbook_writer(path, schema, self.sheet)


def target_of(
    to: TableFormat,
    compression: Compression | None = None,
    output: str | None = None,
    *,
    delimiter: str | None = None,
    sheet: str | None = None,
) -> Target:
    """Return the kind of file that is asked for.

    Raises
    ------
    InvalidArguments
        If the format isn't known, or an option doesn't fit it.
    """
    if to not in COMPRESSIONS:
        raise InvalidArguments(f"to: takes one of {', '.join(COMPRESSIONS)}, got {to!r}")
    known = COMPRESSIONS[to]
    if compression is None:
        by_name = tabular.ZIPPED.get(Path((output or "").lower()).suffix)
        compression = by_name if by_name is not None and to in tabular.TEXT else known[0]
    if compression not in known:
        raise InvalidArguments(f"compression: {to} takes one of {', '.join(known)}, got {compression!r}")
    if delimiter is None:
        delimiter = "\t" if to == "tsv" else ","
    return Target(to, compression, check_delimiter(delimiter, "output_delimiter"), sheet or "Sheet1")


def source_of(file: FileRef) -> Source:
    """Return a table's file as the operation was given it, its format told by its name."""
    path = context.input_path(file)
    return tabular.source_of(path, getattr(file, "name", path.name))


def options_of(
    column_types: Mapping[str, str] | None,
    delimiter: str | None,
    encoding: str | None,
    null_values: Sequence[str] | None,
) -> Options:
    """Return how a text file is read, of what an operation was given.

    Raises
    ------
    InvalidArguments
        If a type, the delimiter or the encoding isn't one.
    """
    return Options(
        delimiter=None if delimiter is None else check_delimiter(delimiter, "delimiter"),
        column_types=tabular.types_of(None if column_types is None else dict(column_types)),
        null_values=None if null_values is None else tuple(null_values),
        encoding=None if encoding is None else check_encoding(encoding),
    )


def reader_of(
    source: Source, options: Options, columns: list[str] | None = None, rename: Mapping[str, str] | None = None
) -> Reader:
    """Return what reads a table.

    Raises
    ------
    InvalidArguments
        If types are given for a format that says its own.
    """
    reader: Reader
    match source.format:
        case "csv" | "tsv":
            reader = CsvReader(source, options)
        case "jsonl" | "json":
            reader = JsonLinesReader(source, options)
        case "xlsx":
            reader = WorkbookReader(source, options)
        case format_:
            if options.column_types:
                raise InvalidArguments(
                    f"column_types: {source.name} says its types itself; they are for CSV, JSON and Excel"
                )
            if format_ == "parquet":
                reader = ParquetReader(source)
            else:
                reader = OrcReader(source) if format_ == "orc" else FeatherReader(source)
    return reader if columns is None and not rename else reading.Chosen(reader, source, columns, rename or {})


def check_apart(output: str | None, *files: Source) -> None:
    """Raise `InvalidArguments` if an output is one of the inputs."""
    for file in files:
        if output is not None and Path(output).exists() and Path(output).samefile(file.path):
            raise InvalidArguments(f"output: {output} is the source itself, which would be lost: name another file")
