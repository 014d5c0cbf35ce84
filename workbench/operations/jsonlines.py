"""JSON Lines, and arrays of records: a reader whose types fit the whole file, and a writer. Both go block by block."""

from __future__ import annotations

import contextlib
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from workbench.core.errors import InputError
from workbench.operations import jsonarrays
from workbench.operations.tabular import (
    BadRow,
    Contradicted,
    Options,
    Source,
    Write,
    as_text,
    check_known,
    check_names,
    damaged,
    iso_type,
    join_types,
    not_utf8,
    note_wider,
    unzipping,
)
from workbench.values import bounds

BLOCK = 4 << 20
"""Bytes of whole lines that are parsed at once."""

SAMPLE = 1 << 20
"""Bytes at the beginning, at most, that suggest the types to start with."""

_THREADS = 2


class JsonLinesReader:
    """Reads a JSON Lines file. Types come from the first block, or after `settle` from all of them."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source = source
        self._types = dict(options.column_types)
        self._unit = "record" if source.format == "json" else "line"
        self._schema: Any = None
        self._settled = False

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches. Iterating may raise `Contradicted`."""
        with unzipping(self._source), self._source.open() as file:
            if self._schema is None:
                with self._source.open() as beginning:
                    first = next(self._blocks(beginning, min(SAMPLE, BLOCK)), None)
                self._schema = self._inferred(*first) if first is not None else self._of_nothing()
                check_names(self._schema.names, self._source)
                check_known(self._types, self._schema.names, self._source, "column_types")
            yield self._schema, self._batches(file)

    def settle(self) -> None:
        """Find types that fit every row: each block's are inferred on their own, and joined."""
        import pyarrow as pa

        fields: dict[str, Any] = {}
        with unzipping(self._source), self._source.open() as file:
            for place, block in self._blocks(file):
                for field in self._inferred(place, block):
                    joined = join_types(fields.get(field.name, pa.null()), field.type, text=False)
                    if joined is None:
                        self._refuse_mixture(field, fields[field.name], place, block)
                    fields[field.name] = joined
                check_names(list(fields), self._source)
        joint = pa.schema(list(fields.items()))
        if self._schema is not None:
            note_wider(self._schema, joint, self._source)
        self._schema = joint
        self._settled = True

    def fit(self, types: Mapping[str, Any]) -> None:
        """Read columns with these types from now on."""
        for name, type_ in types.items():
            position = self._schema.get_field_index(name)
            self._schema = self._schema.set(position, self._schema.field(position).with_type(type_))

    def bad_rows(self) -> Iterable[BadRow]:
        """Return none: a line that can't be read is an error."""
        return ()

    # --- inside -------------------------------------------------------------------------------------

    def _blocks(self, file: BinaryIO, size: int | None = None) -> Iterator[tuple[int, bytes]]:
        if self._source.format == "json":
            yield from jsonarrays.blocks(file, self._source, size or BLOCK)
            return
        yield from _blocks(file, size or BLOCK)

    def _line(self, place: int) -> int:
        """Return the number of the first line, or record, of a block: counted only where it has to be told."""
        if self._source.format == "json":
            return place
        line = 1
        with unzipping(self._source), self._source.open() as file:
            while place and (text := file.read(min(place, BLOCK))):
                line, place = line + text.count(b"\n"), place - len(text)
        return line

    def _of_nothing(self) -> Any:
        import pyarrow as pa

        if not self._types:
            raise InputError(
                f"{self._source.name} holds no rows, so that nothing names its columns: say them with column_types="
            )
        return pa.schema(list(self._types.items()))

    def _batches(self, file: BinaryIO) -> Iterator[Any]:
        """Read blocks with the types found. Times are read as text first: Arrow's JSON reader drops their zones."""
        import pyarrow as pa

        text = pa.schema([field.with_type(_untimed(field.type)) for field in self._schema])
        waiting: deque[Future[list[Any]]] = deque()
        with ThreadPoolExecutor(_THREADS) as threads:
            for place, block in self._blocks(file):
                waiting.append(threads.submit(self._batches_of, place, block, text))
                if len(waiting) > _THREADS:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _batches_of(self, place: int, block: bytes, text: Any) -> list[Any]:
        import pyarrow as pa

        table = self._parsed(place, block, text, exact=True)
        try:
            table = table.cast(self._schema)
        except pa.ArrowInvalid as error:
            if not self._settled:
                raise Contradicted from error
            raise InputError(
                f"{self._source.name}, {self._unit}s from {self._line(place)}: {error}. Correct them, or give the "
                "column another type with column_types="
            ) from error
        return list(table.combine_chunks().to_batches())

    def _parsed(self, place: int, block: bytes, schema: Any, *, exact: bool) -> Any:
        """Parse a block; `exact` says that the schema is the whole one, and not to be added to."""
        import pyarrow as pa
        import pyarrow.json as pajson

        bounds.check_depth(block, self._source.name)
        parse = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error" if exact else "infer")
        read = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
        try:
            if not block.isascii():
                block.decode()  # Arrow would let other bytes pass
            return pajson.read_json(pa.BufferReader(block), read_options=read, parse_options=parse)
        except UnicodeDecodeError as error:
            raise not_utf8(self._source, "utf8") from error
        except pa.ArrowInvalid as error:
            if exact and not self._settled:
                raise Contradicted from error
            raise self._bad_line(self._line(place), block, str(error)) from error

    def _inferred(self, place: int, block: bytes) -> Any:
        """Return the schema of a block on its own: what the user said, what Arrow finds, and times of ours."""
        import pyarrow as pa

        given = {name: _untimed(type_) for name, type_ in self._types.items()}
        table = self._parsed(place, block, pa.schema(list(given.items())), exact=False)
        jsonarrays.check_nesting(pa.struct(list(table.schema)), self._source)
        timed = {field.name: _untimed(field.type) for field in table.schema if field.name not in given}
        if any(timed[name] != table.schema.field(name).type for name in timed):
            table = self._parsed(place, block, pa.schema(list((given | timed).items())), exact=False)
        if not table.num_columns and self._schema is None:
            raise InputError(
                f"{self._source.name}, {self._unit}s from {self._line(place)}: they are empty, {{}}, so that nothing "
                "names the columns. Write the file again"
            )
        return pa.schema(
            [
                (field.name, self._types.get(field.name) or _timed(table.column(position)))
                for position, field in enumerate(table.schema)
            ]
        )

    def _bad_line(self, line: int, block: bytes, reason: str) -> InputError:
        """Find the line that Arrow complains about: it counts rows, and leaves blank lines out."""
        for number, text in enumerate(block.splitlines(), line):
            try:
                if text.strip() and not isinstance(json.loads(text), dict):
                    reason = "it is not an object, {…}"
                    return InputError(f"{self._source.name}, {self._unit} {number}: {reason}. Correct it")
            except ValueError as error:
                return InputError(
                    f"{self._source.name}, {self._unit} {number}: {error}. Correct it, or get the file again"
                )
        if found := re.search(r"Column\(/?(.*?)\) changed from (\w+) to (\w+) in row (\d+)", reason):
            number = _line_of_row(block, line, int(found[4]))
            return self._mixture(number, found[1], found[2], found[3])
        return InputError(
            f"{self._source.name}, {self._unit}s from {line}: {reason}. Correct them, or get the file again"
        )

    def _mixture(self, line: int, column: str, before: str, after: str) -> InputError:
        return InputError(
            f"{self._source.name}, {self._unit} {line}: the column {column!r} changes from {before} to {after}, and no "
            f"type holds both. Write one type, such as text, in all {self._unit}s"
        )

    def _refuse_mixture(self, field: Any, before: Any, place: int, block: bytes) -> None:
        for number, text in enumerate(block.splitlines(), self._line(place)):
            if text.strip() and json.loads(text).get(field.name) is not None:
                raise self._mixture(number, field.name, str(before), str(field.type))
        damaged(self._source, f"the column {field.name!r} holds {before} and {field.type}")


def _line_of_row(block: bytes, line: int, row: int) -> int:
    numbers = [number for number, text in enumerate(block.splitlines(), line) if text.strip()]
    return numbers[row] if row < len(numbers) else line


def _blocks(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines, with their places in the file."""
    place = 0
    while block := file.read(size):
        block += file.readline()
        if not block.isspace():
            yield place, block.removeprefix(b"\xef\xbb\xbf") if not place else block
        place += len(block)


def _untimed(type_: Any) -> Any:
    """Return a type with text in the place of times."""
    import pyarrow as pa

    if pa.types.is_temporal(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_untimed(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_untimed(field.type)) for field in type_])
    return type_


def _timed(column: Any) -> Any:
    import pyarrow as pa

    return iso_type(column) if pa.types.is_string(column.type) else column.type


@contextlib.contextmanager
def json_writer(path: Path, schema: Any, compression: str, *, array: bool) -> Iterator[Write]:
    """Write an object a row, missing values as null: JSON Lines, or (`array`) an array of them, one a line, too.

    JSON has neither NaN nor infinities: they become null too. Times are ISO 8601 text, bytes Base64.
    """
    import msgspec
    import pyarrow as pa

    encode = msgspec.json.Encoder(decimal_format="string").encode_lines
    textual = {
        field.name for field in schema if pa.types.is_temporal(field.type) and not pa.types.is_duration(field.type)
    }
    with pa.output_stream(str(path), compression=None if compression == "none" else compression) as file:
        between = b"[\n" if array else b""

        def write(batch: Any) -> None:
            nonlocal between
            if not batch.num_rows:
                return
            names = batch.schema.names
            columns = [
                (as_text(column) if name in textual else column).to_pylist()
                for name, column in zip(names, batch.columns, strict=True)
            ]
            lines = encode([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
            if array:  # a line's end stands between records only: within text it is written as \\n
                file.write(between)
                lines, between = lines[:-1].replace(b"\n", b",\n"), b",\n"
            file.write(lines)

        yield write
        if array:
            file.write(b"[]\n" if between == b"[\n" else b"\n]\n")
