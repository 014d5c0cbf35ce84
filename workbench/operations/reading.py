"""Reading a table on its way into another one: some of its columns, ahead of the writer, and again where it must be."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from workbench.core.errors import InvalidArguments, WorkbenchError
from workbench.operations.tabular import Contradicted, Reader, Source, check_known, check_names, join_types
from workbench.values import bounds

R = TypeVar("R")

AHEAD = 32 << 20
"""Bytes that are read ahead of the writer: a Parquet row group is long in writing, and reading goes on meanwhile."""


def settled(write: Callable[[], R], *readers: Reader) -> R:
    """Return what `write` does. Where a later row contradicts the first ones, they settle and it starts again."""
    try:
        return write()
    except Contradicted:
        for reader in readers:
            reader.settle()
        return write()


@contextlib.contextmanager
def ahead(batches: Iterator[Any], most: int = AHEAD) -> Iterator[Iterator[Any]]:
    """Let a thread read batches while those before are written.

    Parameters
    ----------
    batches
        Nothing reads them any more when the block is left, however it is.
    most
        Bytes that wait at most, besides the batch that is read, so that memory stays bounded.
    """
    ready: collections.deque[tuple[Any, BaseException | None]] = collections.deque()
    news = threading.Condition()
    waiting, stopped = 0, False

    def put(batch: Any, error: BaseException | None = None) -> bool:
        """Hand over a batch once there is room; return whether another one is wanted."""
        nonlocal waiting
        with news:
            news.wait_for(lambda: stopped or waiting < most)
            waiting += batch.nbytes if batch is not None else 0
            ready.append((batch, error))
            news.notify_all()
            return not stopped

    def read() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as error:  # it is raised where the batches are asked for
            put(None, error)

    def taken() -> Iterator[Any]:
        nonlocal waiting
        while True:
            with news:
                news.wait_for(lambda: ready)
                batch, error = ready.popleft()
                waiting -= batch.nbytes if batch is not None else 0
                news.notify_all()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch

    reading = threading.Thread(target=contextvars.copy_context().run, args=(read,), name="read ahead", daemon=True)
    reading.start()
    try:
        yield taken()
    finally:
        with news:
            stopped = True
            news.notify_all()
        reading.join()


class Chosen:
    """Reads some columns of a table, by other names.

    Parameters
    ----------
    reader
        The table.
    source
        Its file, for errors.
    columns
        Which, in this order; None for all.
    rename
        Old names to new ones.
    """

    def __init__(self, reader: Reader, source: Source, columns: list[str] | None, rename: Mapping[str, str]) -> None:
        self._reader = reader
        self._source = source
        self._columns = columns
        self._rename = rename
        self.bad_rows = reader.bad_rows

    def settle(self) -> None:
        """Find types that fit every row."""
        self._reader.settle()

    def fit(self, types: Mapping[str, Any]) -> None:
        """Read columns, by their new names, with these types from now on, where the file leaves a choice."""
        old = {new: name for name, new in self._rename.items()}
        self._reader.fit({old.get(name, name): type_ for name, type_ in types.items()})

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """Open the table: its schema and its batches."""
        with self._reader.open() as (schema, batches):
            kept = list(schema.names) if self._columns is None else self._columns
            for what, names in (("columns", kept), ("rename", self._rename)):
                check_known(list(names), schema.names, self._source, what)
            names = [self._rename.get(name, name) for name in kept]
            check_names(names, self._source)
            chosen = schema.empty_table().select(kept).rename_columns(names).schema
            yield chosen, (batch.select(kept).rename_columns(names) for batch in batches)


def loaded(batches: Iterator[Any], schema: Any, sources: Sequence[Source]) -> Any:
    """Return rows as a `pyarrow.Table`; raise before a reader runs out of memory, as Arrow's may then end the process.

    Raises
    ------
    workbench.core.errors.InputTooLarge
        If there isn't so much memory.
    """
    import pyarrow as pa

    reserve, kept = bounds.room() // 4, []
    for batch in batches:
        if bounds.room() < reserve:
            raise bounds.too_large(_named(sources))
        kept.append(batch)
    return pa.Table.from_batches(kept, schema)


@contextlib.contextmanager
def bounded(sources: Sequence[Source]) -> Iterator[None]:
    """Tell what runs out of memory in the block by the files' names."""
    import pyarrow as pa

    try:
        yield
    except WorkbenchError:  # which may be a MemoryError, too
        raise
    except (MemoryError, pa.ArrowCapacityError) as error:  # Arrow's and numpy's among them
        raise bounds.too_large(_named(sources)) from error


def _named(sources: Sequence[Source]) -> str:
    return ", ".join(source.name for source in sources[:3])


def schema_of(reader: Reader) -> Any:
    """Return the columns and types that a table has as it is read now."""
    with reader.open() as (schema, _):
        return schema


def together(readers: Sequence[Reader], schema: Any) -> Iterator[Any]:
    """Yield the batches of tables below each other, with one schema."""
    for reader in readers:
        with reader.open() as (_, batches):
            for batch in batches:
                yield batch if batch.schema.equals(schema) else cast(batch.select(schema.names), schema)


def cast(batch: Any, schema: Any) -> Any:
    """Return a batch with the types that hold the rows of all sources.

    Raises
    ------
    InvalidArguments
        If a value doesn't fit.
    """
    import pyarrow as pa

    try:
        return batch.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        wider = [
            f"{field.name} ({field.type}, and {joint.type} with the others)"
            for field, joint in zip(batch.schema, schema, strict=True)
            if field.type != joint.type
        ]
        raise InvalidArguments(
            f"sources: columns can't be put below each other: {', '.join(wider)}: {error}. Convert one of them first"
        ) from error


def joined(sources: Sequence[Source], readers: Sequence[Reader]) -> Any:
    """Return the schema that holds the rows of all sources, and have what is text read with its types.

    A cast would come too late: of `007` that was read as a number, no text can be made again.

    Raises
    ------
    InvalidArguments
        If the sources differ in their columns, or nothing holds both of two types.
    """
    schemas = list(map(schema_of, readers))
    joint = joint_schema(list(zip(sources, schemas, strict=True)))
    for reader, schema in zip(readers, schemas, strict=True):
        if others := {field.name: field.type for field in joint if field.type != schema.field(field.name).type}:
            reader.fit(others)
    return joint


def joint_schema(schemas: list[tuple[Source, Any]]) -> Any:
    """Return the schema that holds the rows of all sources: the first one's columns, of the narrowest types for all.

    Raises
    ------
    InvalidArguments
        If the sources differ in their columns, or nothing holds both of two types.
    """
    import pyarrow as pa

    first, joint = schemas[0]
    for source, schema in schemas[1:]:
        if set(schema.names) != set(joint.names):
            differing = ", ".join(sorted(set(schema.names) ^ set(joint.names)))
            raise InvalidArguments(
                f"sources: {first.name} and {source.name} differ in the columns {differing}: select the same ones first"
            )
        for position, name in enumerate(joint.names):
            left, right = joint.field(name).type, schema.field(name).type
            both = join_types(left, right, text=first.delimited and source.delimited)
            if both is None:
                raise InvalidArguments(
                    f"sources: column {name!r} is {left} in {first.name} and {right} in {source.name}, which no type "
                    "holds together: convert one of them first"
                )
            joint = joint.set(position, pa.field(name, both))
    return joint
