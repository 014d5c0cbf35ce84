"""Tables as streams of Arrow record batches: a reader and a writer for each file format, and the loop between them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple

from workbench.core.errors import InputError, InvalidArguments
from workbench.values.refs import FileRef
from workbench.values.tables import explained

BLOCK = 4 << 20
"""Bytes of text that are parsed at once."""
ROWS = 1 << 16
"""Rows of a Parquet file that are read at once."""
NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""What a CSV field says where there is no value."""

_WIDER = {"int64": "double", "double": "string", "bool": "string"}


class Options(NamedTuple):
    """What the user said about the text."""

    delimiter: str
    column_types: dict[str, str]


class Stream(NamedTuple):
    """Batches, and the one schema that all of them have."""

    schema: Any
    batches: Iterator[Any]


def convert(
    source: FileRef,
    target: Path,
    to: str,
    *,
    compression: str | None = None,
    delimiter: str = ",",
    column_types: dict[str, str] | None = None,
) -> None:
    """Read `source` and write `target`, a batch at a time. As `operations.convert.table`."""
    name = source.name.lower()
    zipped, extension = name.endswith(".gz"), Path(name.removesuffix(".gz")).suffix
    reader = _READERS.get(extension)
    if reader is None or (zipped and extension not in _TEXT):
        raise InputError(
            f"{source.name}: can't tell from its name how to read it. Known extensions: {', '.join(_READERS)}; "
            f"{', '.join(_TEXT)} also with .gz. Rename the file"
        )
    path = source.path
    options = Options("\t" if extension == ".tsv" else delimiter, dict(column_types or {}))
    _check_types(options.column_types)
    with explained(path, source.name, zipped):
        while True:
            try:
                _copy(reader(path, source.name, options), target, _writer(to, compression, delimiter))
                return
            except _Contradiction as error:
                options = options._replace(column_types={**options.column_types, error.column: error.wider})


class _Contradiction(Exception):
    """A block holds a value that its column's inferred type can't."""

    def __init__(self, column: str, wider: str) -> None:
        super().__init__(column)
        self.column = column
        self.wider = wider


Write = Callable[[Path, Any], AbstractContextManager[Callable[[Any], None]]]


def _copy(source: AbstractContextManager[Stream], target: Path, write: Write) -> None:
    with source as stream, write(target, stream.schema) as put:
        for batch in stream.batches:
            put(batch)


def _check_types(column_types: dict[str, str]) -> None:
    for column, kind in column_types.items():
        _arrow_type(column, kind)


def _arrow_type(column: str, kind: str) -> Any:
    import pyarrow as pa

    try:
        return pa.type_for_alias(kind)
    except ValueError as error:
        raise InvalidArguments(
            f"column_types: {kind!r} (for column {column!r}) is not an Arrow type; such are 'int64', 'double', 'string', "
            "'bool', 'timestamp[us]', 'date32'"
        ) from error


# --- reading --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _read_csv(path: Path, name: str, options: Options) -> Iterator[Stream]:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    zipped = name.lower().endswith(".gz")
    with pa.input_stream(str(path), compression="gzip" if zipped else None) as file:
        reader = pacsv.open_csv(
            file,
            read_options=pacsv.ReadOptions(block_size=BLOCK),
            parse_options=pacsv.ParseOptions(delimiter=options.delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: _arrow_type(name, kind) for name, kind in options.column_types.items()},
                null_values=list(NULLS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        schema = pa.schema([_named(field) for field in reader.schema])
        _check_names(schema, name)
        yield Stream(schema, _csv_batches(reader, schema, options.column_types))


def _named(field: Any) -> Any:
    """Return a field with a type: a column without a value so far may hold text later."""
    import pyarrow as pa

    return field.with_type(pa.string()) if pa.types.is_null(field.type) else field


def _check_names(schema: Any, name: str) -> None:
    twice = sorted({column for column in schema.names if schema.names.count(column) > 1})
    if twice:
        raise InputError(f"{name}: its header names {', '.join(map(repr, twice))} more than once. Rename a column")


def _csv_batches(reader: Any, schema: Any, given: dict[str, str]) -> Iterator[Any]:
    import pyarrow as pa

    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except pa.ArrowInvalid as error:
            found = re.search(r"In CSV column #(\d+):", str(error))
            if found is None:
                raise
            field = reader.schema.field(int(found.group(1)))
            if (
                field.name in given
                and str(field.type) == given[field.name]
                and field.name not in _widened(given, field)
            ):
                raise
            raise _Contradiction(field.name, _WIDER.get(str(field.type), "string")) from error
        yield batch.cast(schema) if batch.schema != schema else batch


def _widened(given: dict[str, str], field: Any) -> tuple[str, ...]:
    """Return the column's name where its type is one that was widened before, and can be once more."""
    return (field.name,) if given[field.name] in _WIDER else ()


@contextlib.contextmanager
def _read_jsonl(path: Path, name: str, _options: Options) -> Iterator[Stream]:
    import pyarrow as pa
    import pyarrow.json as pajson

    schema = pa.schema([])
    for block in _json_blocks(path, name):
        found = pajson.read_json(pa.BufferReader(block), read_options=pajson.ReadOptions(block_size=len(block) + 1))
        try:
            schema = pa.unify_schemas([schema, found.schema], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise InputError(
                f"{name}: a field holds values of different types in different lines ({error}). "
                "Write one type, such as text, in all of them"
            ) from error
    schema = pa.schema([_named(field) for field in schema])

    def batches() -> Iterator[Any]:
        for block in _json_blocks(path, name):
            table = pajson.read_json(
                pa.BufferReader(block),
                read_options=pajson.ReadOptions(block_size=len(block) + 1),
                parse_options=pajson.ParseOptions(explicit_schema=schema),
            )
            yield from table.to_batches()

    yield Stream(schema, batches())


def _json_blocks(path: Path, name: str) -> Iterator[bytes]:
    """Yield blocks of whole lines."""
    import pyarrow as pa

    zipped = name.lower().endswith(".gz")
    with pa.input_stream(str(path), compression="gzip" if zipped else None) as file:
        rest = b""
        while data := file.read(BLOCK):
            end = data.rfind(b"\n") + 1
            if not end:
                rest += data
                continue
            yield from _not_blank(rest + data[:end])
            rest = data[end:]
        yield from _not_blank(rest)


def _not_blank(block: bytes) -> Iterator[bytes]:
    if block.strip():
        yield block


@contextlib.contextmanager
def _read_parquet(path: Path, _name: str, _options: Options) -> Iterator[Stream]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield Stream(file.schema_arrow, file.iter_batches(batch_size=ROWS))


@contextlib.contextmanager
def _read_feather(path: Path, name: str, _options: Options) -> Iterator[Stream]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        if file.read(4) == b"FEA1":
            raise InputError(f"{name} is a Feather file of version 1. Write it again with today's pyarrow or pandas")
        file.seek(0)
        reader = pa.ipc.open_file(file)
        yield Stream(reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches)))


_Reader = Callable[[Path, str, Options], AbstractContextManager[Stream]]
_READERS: dict[str, _Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".feather": _read_feather,
    ".arrow": _read_feather,
}
_TEXT = (".csv", ".tsv", ".jsonl", ".ndjson")


# --- writing --------------------------------------------------------------------------------------


def _writer(to: str, compression: str | None, delimiter: str) -> Write:
    match to:
        case "csv":
            _check_compression(to, compression, (None,))
            return lambda path, schema: _write_csv(path, schema, delimiter)
        case "jsonl":
            _check_compression(to, compression, (None,))
            return _write_jsonl
        case "parquet":
            return lambda path, schema: _write_parquet(path, schema, compression or "zstd")
        case _:
            _check_compression(to, compression, (None, "lz4", "zstd", "none"))
            return lambda path, schema: _write_feather(path, schema, compression or "lz4")


def _check_compression(to: str, compression: str | None, known: tuple[str | None, ...]) -> None:
    if compression not in known:
        can = ", ".join(repr(one) for one in known if one) or "none, as it is text"
        raise InvalidArguments(f"compression {compression!r} isn't one of {to}'s: {can}")


@contextlib.contextmanager
def _write_csv(path: Path, schema: Any, delimiter: str) -> Iterator[Callable[[Any], None]]:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    for field in schema:
        if pa.types.is_nested(field.type):
            raise InvalidArguments(
                f"column {field.name!r} holds {field.type}, which CSV can't. Convert to jsonl instead"
            )
    flat = pa.schema([pa.field(field.name, _csv_type(field.type)) for field in schema])
    with pacsv.CSVWriter(str(path), flat, write_options=pacsv.WriteOptions(delimiter=delimiter)) as writer:
        yield lambda batch: writer.write_batch(batch.cast(flat) if batch.schema != flat else batch)


def _csv_type(kind: Any) -> Any:
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


@contextlib.contextmanager
def _write_jsonl(path: Path, _schema: Any) -> Iterator[Callable[[Any], None]]:
    import msgspec

    encoder = msgspec.json.Encoder(enc_hook=_json_value)
    with path.open("wb") as file:
        yield lambda batch: _write_lines(file, encoder, batch)


def _write_lines(file: IO[bytes], encoder: Any, batch: Any) -> None:
    file.write(encoder.encode_lines(_json_ready(batch).to_pylist()))


def _json_ready(batch: Any) -> Any:
    """Return a batch whose times Python can hold without loss: nanoseconds, which it can't, become text."""
    import pyarrow as pa

    fields = [
        pa.field(field.name, pa.string())
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns"
        else pa.field(field.name, _csv_type(field.type))
        for field in batch.schema
    ]
    return batch.cast(pa.schema(fields))


def _json_value(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return json.loads(json.dumps(value, default=str))


@contextlib.contextmanager
def _write_parquet(path: Path, schema: Any, compression: str) -> Iterator[Callable[[Any], None]]:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema, compression=compression) as writer:
        yield writer.write_batch


@contextlib.contextmanager
def _write_feather(path: Path, schema: Any, compression: str) -> Iterator[Callable[[Any], None]]:
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
    with pa.ipc.new_file(str(path), schema, options=options) as writer:
        yield writer.write_batch
