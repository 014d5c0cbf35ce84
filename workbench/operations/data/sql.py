"""SQL over named tables, read only."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations import context
from workbench.operations.context import Overwrite
from workbench.operations.data import duck, results
from workbench.operations.data.trouble import explained
from workbench.operations.datasets import Dataset
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame

LONGEST_QUERY = 100_000
DEEPEST_QUERY = 200
TIME_LIMIT = 3600.0
"""Seconds that a query may run where the submission doesn't say otherwise: some never end by themselves."""

# What is looked for in a statement as JSON, where quotes in texts are escaped.
_NODE = re.compile(r'"type":"([A-Z_]+)","modifiers":')
_FUNCTION = re.compile(r'"function_name":"(\w+)"')
_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_RUNNING = frozenset({"query", "json_execute_serialized_sql"})


@operation("data.sql", timeout=TIME_LIMIT)
def sql(
    query: str, *, output: OutputPath | None = None, overwrite: Overwrite = "replace", **tables: Dataset
) -> DataFrame | Path:
    """Run one query over tables, in DuckDB's SQL (https://duckdb.org/docs/stable/sql/introduction).

    Parameters
    ----------
    query
        One statement that reads: `SELECT …`, or `WITH … SELECT …`. It sees the tables and nothing else: no files, no
        extensions, no settings.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).
    **tables
        The tables, of any size, by the names they have in the query. A frame's index is no column. Times with a zone
        are in UTC there: `day(t)` is the day in UTC, `day(timezone('Europe/Berlin', t))` the one in Berlin. Durations
        are whole numbers of their unit, mostly microseconds.

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The rows; a Parquet file where `output` is given, or they don't fit in memory. Without an `ORDER BY` they are in
        no order that can be relied on. Sums of whole numbers are whole numbers, `DECIMAL`s become floats. The
        difference of two times is an `INTERVAL`, which no table holds: `epoch(b - a)` is its seconds.

    Raises
    ------
    InvalidArguments
        If the query isn't one, reads something else than the tables, or is wrong: in DuckDB's words.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"k": ["a", "a", "b"], "x": [1, 3, 5]})
    >>> sql("SELECT k, sum(x) AS total FROM sales GROUP BY k ORDER BY k", sales=frame)["total"].tolist()
    [4, 5]
    """
    _check(query)
    target = results.destination(output, overwrite)
    data = {name: _without_index(Dataset.of(value)) for name, value in tables.items()}
    context.note("engine", "duckdb")
    with duck.opened_for_sql(data) as connection:
        found = duck.batches(connection, query)
        first = next(found, None)
        if first is None:
            schema = _described(connection, query)
            return results.collect([], schema, "query.parquet", target)
        schema = _plain(first.schema)
        return results.collect(_converted(itertools.chain([first], found), schema), schema, "query.parquet", target)


def _check(query: str) -> None:
    """Raise unless the text is one statement that reads."""
    import duckdb

    if len(query) > LONGEST_QUERY:
        raise InvalidArguments(f"query: is {len(query):,} characters long; at most {LONGEST_QUERY:,} are taken")
    _check_depth(query)
    with explained():
        statements = duckdb.extract_statements(query)
    if len(statements) != 1:
        raise InvalidArguments(f"query: takes one statement, got {len(statements)}")
    try:
        kind = statements[0].type
    except ValueError as error:  # a kind that DuckDB's own binding has no name for
        raise InvalidArguments(f"query: takes a statement that reads, SELECT … or WITH … SELECT …: {error}") from error
    if kind != duckdb.StatementType.SELECT:
        raise InvalidArguments(f"query: takes a statement that reads, SELECT … or WITH … SELECT …, got {kind.name}")
    _check_parts(query)
    if statements[0].named_parameters:
        raise InvalidArguments("query: has parameters ($1, ?), which nothing fills: write the values out")


def _check_parts(query: str) -> None:
    """Raise where a part of a statement that reads writes (`WITH s AS (COPY …)`), or runs a text, which may.

    DuckDB lets a query write whatever it may read, its own tables' files among them.
    """
    import duckdb

    with explained(), contextlib.closing(duckdb.cursor()) as cursor:  # the one that parses, too
        (tree,) = cursor.execute("SELECT json_serialize_sql($1::VARCHAR)", [query]).fetchall()[0]
    kinds = set(_NODE.findall(tree))
    if not kinds or kinds - _READING:
        found = ", ".join(sorted(kind.partition("_")[0] for kind in kinds - _READING)) or tree
        raise InvalidArguments(f"query: takes a statement all of whose parts read, got {found} in it")
    if running := _RUNNING & set(map(str.lower, _FUNCTION.findall(tree))):
        raise InvalidArguments(
            f"query: calls {', '.join(sorted(running))}, which runs SQL that is in a text: write that SQL itself"
        )


def _check_depth(query: str) -> None:
    """Raise where brackets are nested deeply: DuckDB's parser takes memory that grows with the square of their number.

    Brackets in texts and comments are counted as well; what a person writes stays far below.
    """
    depth = 0
    for character in query:
        depth += (character in "([{") - (character in ")]}")
        if depth > DEEPEST_QUERY:
            raise InvalidArguments(f"query: has brackets more than {DEEPEST_QUERY} deep, open ones in texts included")


def _without_index(data: Dataset) -> Dataset:
    if data.in_memory:
        return Dataset.of(data.frame().reset_index(drop=True))
    return data


def _described(connection: Any, query: str) -> Any:
    with explained():
        return _plain(connection.sql(query).to_arrow_table().schema)


def _plain(schema: Any) -> Any:
    """Return a schema that pandas has types for: DuckDB's sums of whole numbers are as wide as two of them."""
    import pyarrow as pa

    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArguments(
            f"query: the result has the columns {', '.join(twice)} more than once: name them with AS"
        )
    for position, field in enumerate(schema):
        if _is_interval(field.type):
            raise InvalidArguments(
                f"query: the column {field.name!r} of the result is an INTERVAL, which no table holds: give a number, "
                "e.g. epoch(b - a) for the seconds between two times, or date_diff('day', a, b)"
            )
        if pa.types.is_decimal(field.type):
            whole = field.type.precision == 38 and field.type.scale == 0
            schema = schema.set(position, field.with_type(pa.int64() if whole else pa.float64()))
    return schema


def _is_interval(type_: Any) -> bool:
    """Tell whether a type is an interval, or holds some: pyarrow writes none into a file."""
    import pyarrow as pa

    inside = [type_.field(place).type for place in range(type_.num_fields)]
    return pa.types.is_interval(type_) or any(map(_is_interval, inside))


def _converted(batches: Iterator[Any], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for batch in batches:
        try:
            yield results.restored(batch, schema)
        except pa.ArrowInvalid as error:
            raise InvalidArguments(
                f"query: a whole number in the result is beyond 64 bits ({error}): cast it, e.g. sum(x)::DOUBLE"
            ) from error
