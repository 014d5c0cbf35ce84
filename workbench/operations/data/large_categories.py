"""Categories of tables larger than memory: those of all rows, where each block of them has its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.operations.columnar import joined
from workbench.operations.data import duck
from workbench.operations.data.large_types import first_categories
from workbench.operations.datasets import Dataset


def categories(connection: Any, data: Dataset, view: str = "data") -> dict[str, Any]:
    """Return of each categorical column its categories, in their order, as an Arrow array.

    The schema tells none: they are those that the first rows know, and then others as they occur.

    Parameters
    ----------
    connection
        Where DuckDB sees the table.
    data
        The table.
    view
        Its name there.
    """
    import pyarrow as pa

    found = {}
    for field in data.schema:
        if not pa.types.is_dictionary(field.type):
            continue
        known = first_categories(data, field.name)
        x = duck.column(data, field.name)
        query = f"SELECT {x} FROM {view} WHERE {x} IS NOT NULL GROUP BY {x} ORDER BY min({duck.ROW})"  # noqa: S608
        for batch in duck.batches(connection, query):
            values = batch.column(0).cast(field.type.value_type)
            known = joined(known, values)
        found[field.name] = known
    return found


def categorized(batches: Iterator[Any], schema: Any, known: Mapping[str, Any]) -> Iterator[Any]:
    """Pass DuckDB's batches on, with the categories of a schema's columns, which have come as their values.

    Parameters
    ----------
    batches
        Begin with the schema's columns; others may follow.
    schema
        The names and types that these are to have.
    known
        The categories by column, as `categories` returns them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in batches:
        arrays = list(batch.columns)
        for place, field in enumerate(schema):
            if field.name in known:
                values = arrays[place].cast(field.type.value_type)
                indices = pc.index_in(values, known[field.name]).cast(field.type.index_type)
                arrays[place] = pa.DictionaryArray.from_arrays(indices, known[field.name], ordered=field.type.ordered)
        yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def refuse_categories(data: Dataset, columns: Iterable[str], what: str = "joined on") -> None:
    """Raise where a column is categorical: its categories, and their order, can differ from block to block."""
    import pyarrow as pa

    for name in columns:
        if pa.types.is_dictionary(data.schema.field(name).type):
            raise InvalidArguments(
                f"column {name!r} is categorical, which isn't {what} where rows are written into a file, nor where "
                "they don't fit in memory: convert it with data.astype first"
            )
