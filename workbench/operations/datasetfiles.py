"""The files of a dataset: read so that values are what pandas would make of them, and how large they are in memory."""

from __future__ import annotations

import itertools
from typing import Any

from workbench.core.errors import InputError
from workbench.operations import formats, reading
from workbench.operations.tabular import Options, Reader, Source

# Bytes in memory for each byte of a file: a digit or two become eight bytes, and zipped text is ten times as long.
_GROWTH = {"csv": 4, "tsv": 4, "jsonl": 3, "json": 3, "feather": 3, "arrow": 3}
_GROWTH_ELSE, _GROWTH_ZIPPED = 6, 10
_TEXT_BYTES = 24  # of a string in memory at least, with its length and place


class _Delimited(reading.Chosen):
    """Reads a CSV as `pandas.read_csv` does: times are text, and the column without a name, the index, gets one."""

    def __init__(self, source: Source) -> None:
        reader = formats.reader_of(source, Options())
        names = reading.settled(lambda: reading.schema_of(reader).names, reader)
        nameless = {name: f"Unnamed: {position}" for position, name in enumerate(names) if not name}
        super().__init__(reader, source, None, nameless)
        self._leave_times()

    def settle(self) -> None:
        """Find types that fit every row."""
        super().settle()
        self._leave_times()

    def _leave_times(self) -> None:
        import pyarrow as pa

        schema = reading.schema_of(self)
        self.fit({field.name: pa.string() for field in schema if pa.types.is_temporal(field.type)})


def reader_of(source: Source) -> Reader:
    """Return a reader of what pandas would make of a file; its types are those that the first rows suggest."""
    return _Delimited(source) if source.delimited else formats.reader_of(source, Options())


def without_nulls(read: Any) -> Any:
    """Return a schema that was read from CSV with columns without any value as floats, as pandas has them."""
    import pyarrow as pa

    for position, field in enumerate(read):
        if pa.types.is_null(field.type):
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
