"""One table from one file format into another."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.operations import context, formats, parts, reading
from workbench.operations.context import Output, Overwrite
from workbench.operations.registry import operation
from workbench.operations.tabular import BadRows, Compression, Reader, TableFormat
from workbench.values.refs import FileRef, OutputPath


@operation("convert.table")
def table(
    source: FileRef,
    to: TableFormat,
    *,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
    compression: Compression | None = None,
    columns: list[str] | None = None,
    rename: dict[str, str] | None = None,
    column_types: dict[str, str] | None = None,
    delimiter: str | None = None,
    output_delimiter: str | None = None,
    encoding: str | None = None,
    decimal: str = ".",
    null_values: list[str] | None = None,
    quoted_strings_can_be_null: bool = False,
    on_bad_rows: BadRows = "error",
    sheet: str | None = None,
) -> Path | dict[str, Path]:
    r"""Convert a table from one format into another, batch by batch: it is never in memory as a whole.

    Parameters
    ----------
    source
        A file whose name says its format: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` (an array of records), these
        also with `.gz`, `.zst` or `.bz2`; `.parquet`, `.pq`, `.feather`, `.arrow`, `.orc` or `.xlsx`. Of a workbook,
        unlike the others, the sheet is in memory as a whole.
    to
        The new file's format. Feather is Arrow's file format (version 2), by another name.
    output
        Where to write it; None for a file of the source's name with the format as its extension.
    overwrite
        What happens where `output` is there already: `replace` it in one step, or refuse (`error`).
    compression
        Of text: none, gzip, zstd or bz2 (the default is what the ending of `output` says). Of Parquet: snappy
        (default), zstd, gzip, brotli, lz4 or none. Of Feather and Arrow: lz4 (default), zstd or none. Of ORC: zstd
        (default), snappy, zlib, lz4 or none.
    columns
        Which columns to keep, in this order; None for all.
    rename
        Columns' names to new ones.
    column_types
        Types of columns of text files and workbooks, by Arrow's names: `{"zip": "string"}`. The other columns' are
        inferred so that they fit every row: where a later row contradicts the first ones, the column becomes wider
        (whole numbers, then floats, then text), the conversion starts again, and the task's notes say so. From CSV to
        CSV, cells stay as they are written.
    delimiter
        Between the fields of the CSV that is read. If None a tab for `.tsv`; otherwise a comma, unless the first rows
        leave no doubt that it is another one of `;`, tab and `|`. Where the source isn't CSV, of the one that is
        written.
    output_delimiter
        Between the fields of the CSV that is written; a comma, or in TSV a tab, if None.
    encoding
        Of the CSV that is read. If None it is UTF-8, UTF-16 or UTF-32 as the bytes say. Otherwise Windows's code page
        1252 (with Latin-1) is assumed where that makes words of western Europe of them, and it is an error where it
        doesn't. Other encodings of Latin letters can make such words too (`Dvořák` in cp1250 would become `Dvoøák`), so
        the task's notes tell of the assumption. What is written is UTF-8.
    decimal
        The sign before the fraction in the CSV that is read.
    null_values
        What stands for a missing value in a CSV, if it isn't quoted: by default nothing at all, `NA`, `NaN`, `null` and
        their like. In a workbook's cells of text, too.
    quoted_strings_can_be_null
        Whether they stand for one in quotes too: for files that quote every field.
    on_bad_rows
        What happens to a CSV's rows of more or fewer fields than the header: an `error` that names the line; `skip`
        leaves them out and tells of them; `warn` prints the first of them, too.
    sheet
        Of the workbook that is read (the first one if None), or else of the one that is written.

    Returns
    -------
    pathlib.Path
        The file, complete. Missing values are nulls in Parquet, Feather, ORC and JSON, and nothing in CSV (`NA` in a
        table of a single column) and Excel. A NaN stays one in Parquet, Feather and ORC, and is a missing value
        elsewhere; JSON has no infinities either. Times with a zone are in UTC in CSV, JSON and Excel; times in ISO
        8601 are recognised in text. In Excel text is text though it looks like a formula, and empty text is missing.
        Unless `on_bad_rows` is `error`, a dict of two files: the `table`, and `rejects`, a CSV of the rows left out
        with `line` (where it begins, from 1), `reason` and `row` (as it is written).

    Raises
    ------
    InputError
        If the source is damaged, is of an unknown format, or contradicts itself: names the line, and the cure.
    InvalidArguments
        If an option doesn't fit the formats; if CSV or Excel is asked for of nested columns; if a table is too large
        for a sheet.

    Examples
    --------
    >>> import tempfile
    >>> source = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = source.write_text("x,y\n1,2\n1,2,3\n")
    >>> made = table(FileRef(str(source), "a.csv"), "jsonl", columns=["y"], on_bad_rows="skip")
    >>> made["table"].read_text()
    '{"y":2}\n'
    >>> made["rejects"].read_text()
    'line,reason,row\n3,it has 3 fields where 2 were expected,"1,2,3"\n'
    """
    file = formats.source_of(source)
    formats.check_apart(output, file)
    delimited = to in ("csv", "tsv")
    if len(decimal) != 1:
        raise InvalidArguments(f"decimal: takes one character, got {decimal!r}")
    if on_bad_rows not in ("error", "skip", "warn"):
        raise InvalidArguments(f"on_bad_rows: takes 'error', 'skip' or 'warn', got {on_bad_rows!r}")
    options = formats.options_of(column_types, delimiter, encoding, null_values)._replace(
        quoted_strings_can_be_null=quoted_strings_can_be_null,
        decimal=decimal,
        on_bad_rows=on_bad_rows,
        sheet=sheet,
        as_text=file.delimited and delimited and decimal == ".",
    )
    if output_delimiter is None and not file.delimited:
        output_delimiter = delimiter
    target = formats.target_of(
        to, compression, output, delimiter=output_delimiter, sheet=None if file.format == "xlsx" else sheet
    )
    reader = formats.reader_of(file, options, columns, rename)

    def convert(part: Path) -> None:
        with (
            reader.open() as (schema, batches),
            reading.ahead(batches) as ready,
            parts.settling(part) as settle,
            target.writer(part, schema) as write,
        ):
            for batch in ready:
                write(batch)
                settle()

    def written() -> Path:
        return context.write_file(target.name(file.stem), Output(output, overwrite), convert)

    made = reading.settled(written, reader)
    return made if on_bad_rows == "error" else {"table": made, "rejects": _rejects(reader, file.stem)}


def _rejects(reader: Reader, stem: str) -> Path:
    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            rows: Any = csv.writer(file, lineterminator="\n")
            rows.writerow(("line", "reason", "row"))
            rows.writerows(reader.bad_rows())

    return context.write_file(f"{stem}.rejects.csv", Output(), write)
