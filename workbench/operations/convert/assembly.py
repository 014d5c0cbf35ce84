"""Several tables into one, and one into several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.operations import context, formats, partitions, reading
from workbench.operations.context import Output, Overwrite
from workbench.operations.formats import Target
from workbench.operations.registry import operation
from workbench.operations.tabular import Compression, Reader, Source, TableFormat
from workbench.values.refs import DirectoryPath, FileRef, FileRefs, OutputPath


@operation("convert.split")
def split(
    source: FileRef,
    rows: int,
    *,
    to: TableFormat | None = None,
    compression: Compression | None = None,
    columns: list[str] | None = None,
    column_types: dict[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    null_values: list[str] | None = None,
) -> list[Path]:
    r"""Split a table into files of so many rows each, batch by batch.

    Parameters
    ----------
    source
        As for `convert.table`.
    rows
        Rows of each file but the last.
    to
        The files' format; the source's own if None.
    compression
        As for `convert.table`.
    columns, column_types, delimiter, encoding, null_values
        As for `convert.table`.

    Returns
    -------
    list of pathlib.Path
        The files, in order, named `stem-0001.csv` and so on; one of no rows for a table of none. They are handed over
        together, once the last one is written.

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
    file = formats.source_of(source)
    target = formats.target_of(to or file.format, compression)
    options = formats.options_of(column_types, delimiter, encoding, null_values)
    options = options._replace(as_text=_kept(target, [file]))
    reader = formats.reader_of(file, options, columns)
    return reading.settled(lambda: list(_parts(reader, file.stem, rows, target)), reader)


def _parts(reader: Reader, stem: str, rows: int, target: Target) -> Iterator[Path]:
    with reader.open() as (schema, batches):
        for number, piece in enumerate(_at_least_one(_pieces(batches, rows)), 1):

            def write(part: Path, piece: Iterable[Any] = piece) -> None:
                with target.writer(part, schema) as put:
                    for batch in piece:
                        put(batch)

            yield context.write_file(target.name(f"{stem}-{number:04d}"), Output(), write)


@operation("convert.concat")
def concat(
    sources: FileRefs,
    to: TableFormat,
    *,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
    compression: Compression | None = None,
    columns: list[str] | None = None,
    column_types: dict[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    null_values: list[str] | None = None,
) -> Path:
    r"""Put tables of the same columns below each other in one file, batch by batch.

    Parameters
    ----------
    sources
        One or more, in any of the formats of `convert.table`: a list, in the order of the result's rows, or a glob such
        as `data/*.csv`, whose files go by their names.
    to
        The new file's format.
    output
        Where to write it; None for a file of the first source's name with the format as its extension.
    overwrite
        As for `convert.table`.
    compression
        As for `convert.table`.
    columns, column_types, delimiter, encoding, null_values
        As for `convert.table`, and the same for every source.

    Returns
    -------
    pathlib.Path
        The file, with the first source's order of columns, each of the narrowest type that holds all its values. From
        CSV to CSV, cells stay as they are written.

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
    >>> concat(FileRefs([FileRef(str(place), place.name) for place in places]), "jsonl").read_text()
    '{"x":1}\n{"x":1}\n'
    """
    if not sources:
        raise InvalidArguments("sources: takes at least one table")
    files = [formats.source_of(source) for source in sources]
    formats.check_apart(output, *files)
    target = formats.target_of(to, compression, output)
    options = formats.options_of(column_types, delimiter, encoding, null_values)
    options = options._replace(as_text=_kept(target, files))
    readers = [formats.reader_of(file, options, columns) for file in files]

    def write(part: Path) -> None:
        schema = reading.joined(files, readers)
        with target.writer(part, schema) as put:
            for done, reader in enumerate(readers):
                context.progress(done / len(readers), files[done].name)
                with reader.open() as (_, batches), reading.ahead(batches) as ready:
                    for batch in ready:
                        put(reading.cast(batch.select(schema.names), schema))

    return reading.settled(
        lambda: context.write_file(target.name(files[0].stem), Output(output, overwrite), write), *readers
    )


@operation("convert.partition")
def partition(
    source: FileRef,
    partition_by: list[str],
    *,
    to: TableFormat = "parquet",
    output: DirectoryPath | None = None,
    overwrite: Overwrite = "replace",
    compression: Compression | None = None,
    columns: list[str] | None = None,
    column_types: dict[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    null_values: list[str] | None = None,
) -> dict[str, Path]:
    r"""Divide a table into a file for each value of some columns, in directories that say it, as Hive does.

    Parameters
    ----------
    source
        As for `convert.table`.
    partition_by
        One or more columns, the outermost directory's first. Their values are in the names of the directories, and
        no longer in the files: `year=2013/month=1/flights.parquet`. A missing one is `__HIVE_DEFAULT_PARTITION__`.
    to
        The files' format.
    output
        A directory, made if it isn't there, whose own directory is; None for files of the result.
    overwrite
        What happens where a file of the same place is there already. Others stay as they are.
    compression
        As for `convert.table`.
    columns, column_types, delimiter, encoding, null_values
        As for `convert.table`; `columns` with those of `partition_by`.

    Returns
    -------
    dict of str to pathlib.Path
        The files by their places below `output`, sorted. Each is complete or absent. `pyarrow.dataset`, pandas and
        DuckDB read the directory as one table. Once all of them are there, so is `_SUCCESS` beside them, which lists
        their places, a line each; where it is missing, a set is unfinished: run the task again.

    Raises
    ------
    InputError
        If the source is damaged, is of an unknown format, or contradicts itself.
    InvalidArguments
        If a column isn't there, is the last one left, or there are more than 512 partitions.

    Examples
    --------
    >>> import tempfile
    >>> source = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = source.write_text("x,y\n1,a\n2,b\n3,a\n")
    >>> made = partition(FileRef(str(source), "a.csv"), ["y"], to="csv")
    >>> {place: file.read_text() for place, file in made.items()}
    {'y=a/a.csv': 'x\n1\n3\n', 'y=b/a.csv': 'x\n2\n'}
    """
    file = formats.source_of(source)
    target = formats.target_of(to, compression)
    options = formats.options_of(column_types, delimiter, encoding, null_values)
    options = options._replace(as_text=_kept(target, [file]))
    reader = formats.reader_of(file, options, columns)
    return reading.settled(
        lambda: partitions.write(reader, file, partition_by, target, output, overwrite=overwrite), reader
    )


def _kept(target: Target, files: list[Source]) -> bool:
    """Tell whether cells stay as they are written: from CSV to CSV."""
    return target.format in ("csv", "tsv") and all(file.delimited for file in files)


def _pieces(batches: Iterator[Any], rows: int) -> Iterator[Iterator[Any]]:
    """Cut batches into pieces of so many rows. Use up each piece before the next one is asked for."""
    rest: list[Any] = []

    def piece() -> Iterator[Any]:
        left = rows
        while left:
            batch = rest.pop() if rest else next(batches, None)
            if batch is None:
                return
            if batch.num_rows > left:
                rest.append(batch.slice(left))
                batch = batch.slice(0, left)
            left -= batch.num_rows
            yield batch

    while (first := rest.pop() if rest else next(batches, None)) is not None:
        if first.num_rows:
            rest.append(first)
            yield piece()


def _at_least_one(items: Iterator[Iterator[Any]]) -> Iterator[Iterator[Any]]:
    """Yield the items, or an empty one where there are none."""
    none = True
    for item in items:
        none = False
        yield item
    if none:
        yield iter(())
