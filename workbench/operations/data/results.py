"""Where the rows of a result go: into a DataFrame that fits in memory, or into a Parquet file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.operations import context, datasets
from workbench.operations.columnar import joined, parquet_writer
from workbench.operations.context import Output, Overwrite
from workbench.operations.data import spill
from workbench.operations.datasets import Dataset
from workbench.operations.tabular import is_text

if TYPE_CHECKING:
    from pandas import DataFrame

RESULT_SHARE = 1 / 8
"""Of the slot's memory a result may take up to come back as a DataFrame; a larger one becomes a file."""


def destination(output: str | None, overwrite: Overwrite) -> Output:
    """Return where a result goes, if it may: what would be refused when it is written is refused before the work."""
    target = Output(output, overwrite)
    context.check_output(target)
    return target


def collect(
    found: Iterable[Any], schema: Any, name: str, output: Output, labels: str | None = None
) -> DataFrame | Path:
    """Return rows as a DataFrame if they fit in memory; as a Parquet file if they don't, or a file was asked for.

    Where a row contradicts the types that a text file's first ones suggested, it can be called again.

    Parameters
    ----------
    found
        Record batches.
    schema
        What their columns are to be, in order.
    name
        The file's name where none is asked for.
    output
        Where they go.
    labels
        A further column of the batches, which becomes the frame's index. A file has none.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = 0
    lost = [field for field in schema if _is_lost(field.type)]
    known = {field.name: pa.array([], field.type.value_type) for field in lost}

    def write(part: Path, numbers: Path) -> None:
        nonlocal size
        with contextlib.ExitStack() as stack:
            put = stack.enter_context(parquet_writer(part, schema, "snappy"))
            number = None
            if labels is not None:
                number = stack.enter_context(parquet_writer(numbers, pa.schema([(labels, pa.int64())]), "snappy"))
            for batch in found:
                size += batch.nbytes
                for field in lost:
                    array = batch.column(schema.get_field_index(field.name))
                    values = array.dictionary if pa.types.is_dictionary(array.type) else array.unique()
                    more = values.cast(field.type.value_type).drop_null()
                    known[field.name] = joined(known[field.name], more)
                put(restored(batch.select(range(len(schema))), schema))
                if number is not None:
                    # A copy, as a column of DuckDB's keeps all that came with it in memory.
                    number(pa.RecordBatch.from_arrays([batch.column(labels).to_numpy().copy()], names=[labels]))

    with spill.place() as directory:
        numbers = directory / "numbers.parquet"
        if output.path is not None:
            return context.write_file(name, output, lambda part: write(part, numbers))
        # On disk in any case: while DuckDB is at work, memory is its own.
        place = directory / name
        write(place, numbers)
        if size > datasets.limit() * RESULT_SHARE:
            context.note("result", "a Parquet file: as a DataFrame it would be too large for the slot's memory")
            return context.write_file(name, Output(), lambda part: os.replace(place, part))  # noqa: PTH105 - returns None
        held = pa.schema([field.with_type(field.type.value_type) if field in lost else field for field in schema])
        frame = datasets.exact_frame(pq.read_table(place).cast(held.with_metadata(schema.metadata)))
        for field in lost:
            all_of_them = pd.CategoricalDtype(known[field.name].to_pandas(), field.type.ordered)
            frame[field.name] = frame[field.name].astype(all_of_them)
        if labels is not None:
            frame.index = pq.read_table(numbers).column(0).to_pandas().rename(None).array
        return frame


def _is_lost(type_: Any) -> bool:
    """Tell whether Parquet loses a column's categories, of which it keeps those of text."""
    import pyarrow as pa

    return pa.types.is_dictionary(type_) and not is_text(type_.value_type)


def handed(frame: DataFrame, name: str, output: Output) -> DataFrame | Path:
    """Return what pandas has made, or write it into the file that was asked for."""
    if output.path is None:
        return frame
    made = Dataset.of(frame)
    return collect(made.batches(), made.schema, name, output)


def restored(batch: Any, schema: Any) -> Any:
    """Return a batch with the names and types of a schema, where DuckDB has some of its own."""
    import pyarrow as pa

    arrays = []
    for array, field in zip(batch.columns, schema, strict=True):
        if pa.types.is_null(field.type):
            arrays.append(pa.nulls(len(array)))
        elif pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(array.type):
            arrays.append(array.cast(field.type.value_type).dictionary_encode().cast(field.type))
        else:
            arrays.append(array.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
