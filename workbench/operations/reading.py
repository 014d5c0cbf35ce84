"""Reading a table on its way into another one: some of its columns, ahead of the writer, and again where it must be."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from workbench.core.errors import InvalidArguments
from workbench.operations.tabular import Contradicted, Reader, Source, check_known, check_names, join_types

R = TypeVar("R")


def settled(write: Callable[[], R], *readers: Reader) -> R:
    """Return what `write` does. Where a later row contradicts the first ones, they settle and it starts again."""
    try:
        return write()
    except Contradicted:
        for reader in readers:
            reader.settle()
        return write()


@contextlib.contextmanager
def ahead(batches: Iterator[Any], most: int = 2) -> Iterator[Iterator[Any]]:
    """Let a thread read batches while those before are written.

    Parameters
    ----------
    batches
        Nothing reads them any more when the block is left, however it is.
    most
        Batches that wait at most, so that memory stays bounded.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(most)
    stopping = threading.Event()

    def put(item: tuple[Any, BaseException | None]) -> None:
        while not stopping.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def read() -> None:
        try:
            for batch in batches:
                put((batch, None))
                if stopping.is_set():
                    return
            put((None, None))
        except BaseException as error:  # it is raised where the batches are asked for
            put((None, error))

    def taken() -> Iterator[Any]:
        while True:
            batch, error = ready.get()
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
        stopping.set()
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
        self.settle = reader.settle
        self.bad_rows = reader.bad_rows

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
