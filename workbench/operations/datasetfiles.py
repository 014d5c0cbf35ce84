"""The files of a dataset: read so that values are what pandas would make of them, and how large they are in memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from workbench.core.errors import InputError
from workbench.operations import formats
from workbench.operations.tabular import Options, Reader, Source

# Bytes in memory for each byte of a file: a digit or two become eight bytes, and zipped text is ten times as long.
_GROWTH = {"csv": 4, "tsv": 4, "jsonl": 3, "json": 3, "feather": 3, "arrow": 3}
_GROWTH_ELSE, _GROWTH_ZIPPED = 6, 10
_TEXT_BYTES = 24  # of a string in memory at least, with its length and place


def reader_of(source: Source) -> Reader:
    """Return a reader whose types are those that a file's first rows suggest, and times text where the file is."""
    reader = formats.reader_of(source, Options())
    if not source.delimited:
        return reader
    with reader.open() as (schema, _):
        times = _times(schema)
    return _typed(source, times) if times else reader


def settled_reader(source: Source) -> Reader:
    """Return a reader whose types fit every row."""
    reader = reader_of(source)
    reader.settle()
    if not source.delimited:
        return reader
    with reader.open() as (schema, _):
        return _typed(source, {field.name: field.type for field in schema} | _times(schema))


def _typed(source: Source, types: Mapping[str, Any]) -> Reader:
    return formats.reader_of(source, Options(column_types=types))


def _times(schema: Any) -> dict[str, Any]:
    """Return the columns that hold times, as text: that is what `pandas.read_csv` takes them for."""
    import pyarrow as pa

    return {field.name: pa.string() for field in schema if pa.types.is_temporal(field.type)}


def schema_of(source: Source, read: Any) -> Any:
    """Return the schema that was read with columns without any value as floats, where pandas has them so: in text."""
    import pyarrow as pa

    for position, field in enumerate(read):
        if source.delimited and pa.types.is_null(field.type):
            read = read.set(position, field.with_type(pa.float64()))
    return read


def size_of(source: Source) -> int:
    """Return about how many bytes a file takes up as a DataFrame."""
    if source.format == "parquet":
        return _parquet_size(source)
    size = source.path.stat().st_size
    return size * _GROWTH.get(source.format, _GROWTH_ELSE) * (_GROWTH_ZIPPED if source.zipped else 1)


def _parquet_size(source: Source) -> int:
    """Return the bytes of a Parquet file's columns in memory: dictionaries make the file itself far smaller."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source.path) as file:
            metadata, schema = file.metadata, file.schema
            written = [0] * metadata.num_columns
            for group, column in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
                written[column] += metadata.row_group(group).column(column).total_uncompressed_size
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{source.name}: {error}. The file is damaged, or not what its name says: get it again") from (
            error
        )
    fixed = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}
    return sum(
        max(written[column], metadata.num_rows * fixed.get(schema.column(column).physical_type, _TEXT_BYTES))
        for column in range(metadata.num_columns)
    )
