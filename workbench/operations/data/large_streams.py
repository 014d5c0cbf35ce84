"""Rows of tables larger than memory as they stream by: each has its number, and what is missing anywhere is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.operations import context
from workbench.operations.context import Output
from workbench.operations.data import duck, results
from workbench.operations.data.large_types import with_missing
from workbench.operations.datasets import Dataset, farthest, retyped

if TYPE_CHECKING:
    from pandas import DataFrame


def streamed(
    data: Dataset, through: Callable[[Iterator[Any]], Iterator[Any]], output: Output, ignore_index: bool = False
) -> DataFrame | Path:
    """Return what becomes of the rows as they stream by; each has its number, which labels it in a DataFrame."""

    def work() -> DataFrame | Path:
        gaps: set[str] = set()
        schema, labels = schema_of(data, ignore_index)
        places = [*map(data.schema.get_field_index, schema.names), len(data.schema)]
        rows = (batch.select(places) for batch in through(numbered(watched(data.batches(), gaps))))
        found = results.collect(rows, schema, f"{data.stem}.parquet", output, labels)
        return found if isinstance(found, Path) else with_gaps(found, gaps)

    return retyped(work, data)


def schema_of(data: Dataset, ignore_index: bool) -> tuple[Any, str | None]:
    """Return the schema of some of the rows, and the column of their numbers if these are their labels."""
    import pyarrow as pa

    if not ignore_index:
        return data.schema, None if has_index(data.schema) else duck.ROW
    if data.schema.pandas_metadata is None:
        return data.schema, None
    fields = [data.schema.field(name) for name in columns_of(data)]
    return pa.schema(fields, pa.Schema.from_pandas(data.blank.reset_index(drop=True)).metadata), None


def has_index(schema: Any) -> bool:
    """Tell whether some of the columns are a frame's index, so that rows have labels of their own."""
    return bool(index_of(schema))


def columns_of(data: Dataset) -> list[str]:
    """Return the names of the columns that aren't a frame's index."""
    index = index_of(data.schema)
    return [name for name in data.schema.names if name not in index]


def index_of(schema: Any) -> list[str]:
    """Return the names of the columns that are a frame's index."""
    return [each for each in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(each, str)]


def watched(batches: Iterator[Any], gaps: set[str]) -> Iterator[Any]:
    """Pass batches on, and put the names of columns with missing values into `gaps`."""
    for batch in batches:
        gaps.update(field.name for field, column in zip(batch.schema, batch.columns, strict=True) if column.null_count)
        yield batch


def with_gaps(frame: DataFrame, gaps: set[str]) -> DataFrame:
    """Return a frame of some rows with the types that pandas has for all of them, missing ones included."""
    import pyarrow as pa

    changed = {
        name: with_missing(dtype, farthest(pa.array(frame[name])) if dtype.kind in "iu" else 0)
        for name, dtype in frame.dtypes.items()
        if name in gaps
    }
    return frame.astype({name: dtype for name, dtype in changed.items() if dtype != frame[name].dtype})


def numbered(batches: Iterator[Any]) -> Iterator[Any]:
    """Pass batches on with a further column that numbers their rows, from 0."""
    import numpy as np
    import pyarrow as pa

    before = 0
    for batch in batches:
        numbers = pa.array(np.arange(before, before + batch.num_rows))
        before += batch.num_rows
        yield pa.RecordBatch.from_arrays([*batch.columns, numbers], names=[*batch.schema.names, duck.ROW])
        context.progress(0.0, f"{before:,} rows read")
