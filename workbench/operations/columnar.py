"""Parquet, Feather (Arrow's own file format) and ORC: readers and writers of record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workbench.core.errors import InputError
from workbench.operations import context
from workbench.operations.sinks import opened_sink
from workbench.operations.tabular import Source, Typed, Write, as_text, check_names, damaged
from workbench.values import bounds

BATCH_ROWS = 64 * 1024
BATCH_BYTES = 16 * 1024 * 1024  # of an Arrow file's batch, where its rows are long
GROUP_ROWS = 1024 * 1024  # of a Parquet row group: pyarrow's own default …
GROUP_BYTES = 64 * 1024 * 1024  # … or this much in memory, so that wide tables stay bounded …
GROUP_SHARE = 1 / 32  # … or this part of the slot's: what is written takes as much again
ORC_WIDTH = 4_700_000  # bytes that ORC's writer takes for a column: a megabyte for each of its streams (pyarrow 26)
PARQUET_WIDTH = 30_000  # … and Parquet's


class ParquetReader(Typed):
    """Reads a Parquet file."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches."""
        import pyarrow.parquet as pq

        with _naming(self._source):
            file = pq.ParquetFile(self._source.path)
        with file:
            check_names(file.schema_arrow.names, self._source)
            yield file.schema_arrow, _guarded(file.iter_batches(BATCH_ROWS), self._source)


class FeatherReader(Typed):
    """Reads an Arrow file (Feather version 2), or an Arrow stream."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches."""
        import pyarrow as pa

        with self._source.path.open("rb") as file:
            magic = file.read(6)
        if magic.startswith(b"FEA1"):
            raise InputError(f"{self._source.name} is Feather version 1: write it again with today's pandas or pyarrow")
        indexed = magic == b"ARROW1"  # else a stream
        with contextlib.ExitStack() as opened:
            with _naming(self._source):
                # Mapped, so that a file of one single batch needn't be in memory as a whole.
                mapped = opened.enter_context(pa.memory_map(str(self._source.path)))
                reader = opened.enter_context(pa.ipc.open_file(mapped) if indexed else pa.ipc.open_stream(mapped))
            check_names(reader.schema.names, self._source)
            batches = map(reader.get_batch, range(reader.num_record_batches)) if indexed else reader
            yield reader.schema, _sliced(_guarded(batches, self._source))


class OrcReader(Typed):
    """Reads an ORC file, stripe by stripe."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches."""
        from pyarrow import orc

        with _naming(self._source):
            file = orc.ORCFile(str(self._source.path))
            schema = file.schema
        check_names(schema.names, self._source)
        stripes = (file.read_stripe(number) for number in range(file.nstripes))
        yield schema, _sliced(_guarded(stripes, self._source))


@contextlib.contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Name the file in what is raised of it."""
    import pyarrow as pa

    try:
        yield
    except MemoryError:  # Arrow's too, which is an ArrowException as well
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the file's
            raise
        damaged(source, error)


def _guarded(batches: Any, source: Source) -> Iterator[Any]:
    """Pass batches on; an error of reading them names the file, and isn't taken for one of writing."""
    iterator = iter(batches)
    while True:
        with _naming(source):
            batch = next(iterator, None)
            if batch is not None:
                _validate(batch)
        if batch is None:
            return
        yield batch


def _validate(batch: Any) -> None:
    """Raise `ArrowInvalid` for offsets that lead out of their buffer, which crash whoever follows them, and their like.

    That text is UTF-8 is looked at value by value, unless all of it is ASCII, which is seen at once.
    """
    import pyarrow as pa

    columns = [column.cast(pa.binary()) if _is_ascii(column) else column for column in batch.columns]
    pa.RecordBatch.from_arrays(columns, names=batch.schema.names).validate(full=True)


def _is_ascii(column: Any) -> bool:
    """Tell whether a column is of text, and all of it ASCII; False where that would take a closer look."""
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return False
    text = column.buffers()[2]
    return text is None or not text.size or bool(np.frombuffer(text, np.int8).min() >= 0)


def _sliced(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


@contextlib.contextmanager
def _gathered(put: Callable[[list[Any]], None], most_rows: int, most_bytes: int) -> Iterator[Write]:
    """Lend a function that takes batches, and puts them together once they are so many, and those that are left."""
    batches: list[Any] = []
    rows = size = 0

    def write(batch: Any) -> None:
        nonlocal batches, rows, size
        batches.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= most_rows or size >= most_bytes:
            ready, batches, rows, size = batches, [], 0, 0
            put(ready)

    yield write
    if batches:
        put(batches)


@contextlib.contextmanager
def parquet_writer(path: Path, schema: Any, compression: str) -> Iterator[Write]:
    """Write a Parquet file. Batches are gathered into row groups of a size that reads well."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bounds.check_width("Parquet", len(schema), PARQUET_WIDTH, "its writer")
    limit = context.memory_limit()
    most = GROUP_BYTES if limit is None else min(GROUP_BYTES, int(limit * GROUP_SHARE))
    with pq.ParquetWriter(path, schema, compression=compression) as writer:

        def put(batches: list[Any]) -> None:
            writer.write_table(pa.Table.from_batches(batches, schema), GROUP_ROWS)

        with _gathered(put, GROUP_ROWS, most) as write:
            yield write


@contextlib.contextmanager
def feather_writer(path: Path, schema: Any, compression: str) -> Iterator[Write]:
    """Write an Arrow file, which is Feather version 2."""
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(
        compression=None if compression == "none" else compression, emit_dictionary_deltas=True
    )
    grown = _Dictionaries()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, grown.schema(schema), options=options) as writer:

        def put(batches: list[Any]) -> None:
            for batch in pa.Table.from_batches(batches).combine_chunks().to_batches():
                writer.write_batch(grown.encode(batch))

        # Few rows at a time would be compressed in pieces of a few kilobytes, for each column.
        with _gathered(put, BATCH_ROWS, BATCH_BYTES) as write:
            yield write


@contextlib.contextmanager
def orc_writer(path: Path, schema: Any, compression: str) -> Iterator[Write]:
    """Write an ORC file. It has fewer types than Arrow: what it lacks becomes the nearest, or text."""
    import pyarrow as pa
    from pyarrow import orc

    bounds.check_width("ORC", len(schema), ORC_WIDTH, "its writer")
    held = pa.schema([field.with_type(_orc_type(field.type)) for field in schema])
    texts = [
        f"{field.name} ({field.type})"
        for field, kept in zip(schema, held, strict=True)
        if pa.types.is_string(kept.type) and (pa.types.is_time(field.type) or pa.types.is_duration(field.type))
    ]
    if texts:
        context.note("as text", f"ORC has no type for {', '.join(texts)}")

    def write(batch: Any) -> None:
        columns = [
            as_text(column) if pa.types.is_time(column.type) or pa.types.is_duration(column.type) else column
            for column in batch.columns
        ]
        columns = [column.cast(field.type) for column, field in zip(columns, held, strict=True)]
        writer.write(pa.Table.from_arrays(columns, schema=held))
        sink.check()

    named = "uncompressed" if compression == "none" else compression
    with opened_sink(path) as sink, orc.ORCWriter(sink, compression=named) as writer:
        writer.write(held.empty_table())  # without rows it would be no file at all that can be read
        yield write


def _orc_type(type_: Any) -> Any:
    """Return the type of ORC's that holds the values of one of Arrow's."""
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        return _orc_type(type_.value_type)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pa.list_(_orc_type(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_orc_type(field.type)) for field in type_])
    if pa.types.is_time(type_) or pa.types.is_duration(type_) or pa.types.is_null(type_):
        return pa.string()
    if type_ in (pa.string_view(), pa.binary_view()):
        return pa.string() if type_ == pa.string_view() else pa.binary()
    wider = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20),
        pa.float16(): pa.float32(),
    }
    return wider.get(type_, type_)


def joined(known: Any, more: Any) -> Any:
    """Return categories, an Arrow array, and those of others that aren't among them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.concat_arrays([known, more.filter(pc.invert(pc.is_in(more, known)))])


class _Dictionaries:
    """Gives all batches of a column one dictionary that only grows: an Arrow file can hold no other kind.

    Batches that come from a Parquet file have a dictionary for each row group.
    """

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def schema(self, schema: Any) -> Any:
        """Return the schema with indices that leave room to grow."""
        import pyarrow as pa

        for position, field in enumerate(schema):
            if pa.types.is_dictionary(field.type):
                wide = pa.dictionary(pa.int32(), field.type.value_type, field.type.ordered)
                schema = schema.set(position, field.with_type(wide))
        return schema

    def encode(self, batch: Any) -> Any:
        """Return the batch with its dictionaries replaced."""
        import pyarrow as pa

        schema = self.schema(batch.schema)
        columns = [
            self._column(position, column) if pa.types.is_dictionary(column.type) else column
            for position, column in enumerate(batch.columns)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _column(self, position: int, column: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        known = self._known.get(position, column.dictionary.slice(0, 0))
        known = self._known[position] = joined(known, column.dictionary)
        places = pc.index_in(column.dictionary, known).cast(pa.int32())
        return pa.DictionaryArray.from_arrays(places.take(column.indices), known, ordered=column.type.ordered)
