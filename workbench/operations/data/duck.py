"""DuckDB, kept in bounds: a share of the slot's memory, the attempt's own disk, and no file but those it is given."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InputError, InputTooLarge, InvalidArguments
from workbench.operations import datasets
from workbench.operations.data import results, spill
from workbench.operations.data.trouble import Damaged, explained
from workbench.operations.datasets import Dataset
from workbench.values.frugality import frugal
from workbench.values.refs import size_text

if TYPE_CHECKING:
    from pandas import DataFrame

MEMORY_SHARE = 0.25
"""Of the slot's memory DuckDB may take for its buffers; beyond it, it writes to disk. In all it takes twice as much."""
LEAST_MEMORY = 64 * 1024**2
THREADS = 2
"""Each one has buffers of its own, which the limit on memory doesn't count."""
LONGEST_PADDED = 100_000_000
"""Characters that `lpad` and `rpad` make of a text in a query."""
ROW = "row_"
"""The column of a relation that numbers the rows, from 0."""


@contextlib.contextmanager
def opened(**data: Dataset) -> Iterator[Any]:
    """Open a DuckDB connection that sees these datasets, and nothing else.

    Parameters
    ----------
    **data
        Each becomes a view of its name. Its columns are called `c0`, `c1` …, so that no name of a user's can be taken
        for another one or for SQL, and `row_` numbers the rows. A float that isn't a number is missing, as in pandas.

    Yields
    ------
    duckdb.DuckDBPyConnection
        It reads the datasets' files and writes below the attempt's own directory, for what doesn't fit in memory. It
        loads no extensions, and can't be told otherwise.

    Raises
    ------
    InputError, InvalidArguments, StoreError, MemoryError
        In place of what DuckDB raises within.
    """
    with frugal(), spill.place() as directory, _named(data):
        files = {name: _plainly_named(each.parquet(directory), directory) for name, each in data.items()}
        with contextlib.closing(_connected(directory)) as connection, explained():
            for name, paths in files.items():
                connection.execute(f"CREATE VIEW {name} AS {_rows(paths)}")
            _lock(connection, itertools.chain.from_iterable(files.values()))
            yield connection


@contextlib.contextmanager
def opened_for_sql(data: Mapping[str, Dataset]) -> Iterator[Any]:
    """Open a connection as `opened` does, whose views have the columns' own names, and their rows the files' order."""
    with frugal(), spill.place() as directory, _named(data):
        files = {name: _plainly_named(each.parquet(directory), directory) for name, each in data.items()}
        with contextlib.closing(_connected(directory, ordered=True)) as connection, explained():
            for name, paths in files.items():
                _check_apart(data[name].schema.names, name)
                listing = ", ".join(map(text, paths))
                connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet([{listing}])")  # noqa: S608
            _bound_padding(connection)
            _lock(connection, itertools.chain.from_iterable(files.values()))
            yield connection


def column(data: Dataset, name: str) -> str:
    """Return what a column is called in a view."""
    return f"c{data.schema.names.index(name)}"


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: object) -> str:
    """Return a text as SQL writes it."""
    return "'" + str(value).replace("'", "''") + "'"


def batches(connection: Any, query: str) -> Iterator[Any]:
    """Yield what a query gives as record batches, while it runs. The connection is free for others meanwhile."""
    with explained(), contextlib.closing(connection.cursor()) as cursor:
        yield from cursor.sql(query).to_arrow_reader(datasets.BATCH_ROWS)


def run(connection: Any, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query that gives few."""
    with explained():
        rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
        return rows


def fetch(connection: Any, query: str) -> DataFrame:
    """Return what a query gives as a DataFrame, which is made of it once all of it has come.

    Raises
    ------
    InputTooLarge
        If that takes more memory than a result may: the query is ended as soon as it does.
    """
    import pyarrow as pa

    most = int(datasets.limit() * results.RESULT_SHARE)
    parts: list[pa.RecordBatch] = []
    size = 0
    with explained(), contextlib.closing(connection.cursor()) as cursor:
        reader = cursor.sql(query).to_arrow_reader(datasets.BATCH_ROWS)
        for batch in reader:
            parts.append(batch)
            size += batch.nbytes
            if size > most:
                raise InputTooLarge(
                    f"the groups take up more than the {size_text(most)} that a result may have in memory, of "
                    f"{size_text(datasets.limit())} for the task: choose columns with fewer distinct values, write the "
                    "groups into a file (data.sql with output), or give the worker a higher --memory-limit"
                )
        return datasets.exact_frame(pa.Table.from_batches(parts, reader.schema))


# --- inside -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _named(data: Mapping[str, Dataset]) -> Iterator[None]:
    """Name the files that DuckDB knows by others, where it can't read one."""
    try:
        yield
    except Damaged as error:
        names = [source.name for each in data.values() if not each.in_memory for source in each.sources]
        if not names:
            raise InvalidArguments(f"DuckDB: {error}") from error
        which = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise InputError(
            f"{which} can't be read: {error}. {'One of them' if len(names) > 1 else 'It'} is damaged: get it again"
        ) from error


def _connected(directory: Path, *, ordered: bool = False) -> Any:
    import duckdb

    memory = max(int(datasets.limit() * MEMORY_SHARE), LEAST_MEMORY)
    config: dict[str, Any] = {
        "memory_limit": f"{memory}B",
        "temp_directory": str(directory),
        "max_temp_directory_size": f"{spill.share(directory)}B",
        "threads": min(THREADS, os.cpu_count() or 1),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,  # a table's name isn't looked up among Python's variables
        "preserve_insertion_order": ordered,  # else rows come as they are ready, and needn't be held back
        "async_threads": 1,
        "allocator_flush_threshold": "32MB",
        "allocator_bulk_deallocation_flush_threshold": "32MB",
    }
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _lock(connection: Any, paths: Iterable[Path]) -> None:
    """Take away what the connection doesn't need, and with that the means to get it back."""
    connection.execute(f"SET allowed_paths = [{', '.join(map(text, paths))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _bound_padding(connection: Any) -> None:
    """Refuse texts of gigabytes where they are padded, rather than when memory ends: it goes byte by byte.

    Two thousand millions of them take five seconds, in which nothing interrupts it, and DuckDB's optimiser tries every
    constant in a query several times over, as it takes an error for a reason to leave it to the execution.
    """
    for name in ("lpad", "rpad"):
        length = (
            f"CASE WHEN length > {LONGEST_PADDED} THEN error('{name}: pads to {LONGEST_PADDED:,} characters at most')"
        )
        connection.execute(
            f"CREATE MACRO {name}(text, length, padding) AS "
            f"system.main.{name}(text, ({length} ELSE length END)::INTEGER, padding)"
        )


def _plainly_named(paths: list[Path], directory: Path) -> list[Path]:
    """Return paths that DuckDB takes for no glob."""
    found = []
    for path in paths:
        if set(str(path)) & set("*?[]{}\\"):
            link = directory / f"{os.urandom(6).hex()}.parquet"
            link.symlink_to(path)
            path = link
        found.append(path)
    return found


def _rows(paths: list[Path]) -> str:
    """Return the query of all rows of Parquet files of one schema, numbered through."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts, before = [], 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
        names = [f"c{position}" for position in range(len(schema))]
        columns = [
            f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}" if pa.types.is_floating(field.type) else name
            for name, field in zip(names, schema, strict=True)
        ]
        aliases = ", ".join([*names, ROW])
        parts.append(
            f"SELECT {', '.join([*columns, f'{ROW} + {before} AS {ROW}'])} "  # noqa: S608 - names of ours, quoted paths
            f"FROM read_parquet({text(path)}, file_row_number = true) AS t({aliases})"
        )
        before += rows
    return " UNION ALL ".join(parts)


def _check_apart(names: list[str], table: str) -> None:
    lower = [name.lower() for name in names]
    if twice := sorted({name for name in names if lower.count(name.lower()) > 1}):
        raise InvalidArguments(
            f"{table}: SQL can't tell the columns {', '.join(twice)} apart, as it ignores their case: rename one first"
        )
