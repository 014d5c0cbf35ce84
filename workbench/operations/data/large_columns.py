"""Columns of tables larger than memory, computed block by block as the rows stream by.

Values and types are those that pandas would give of the whole table. Its types depend on all rows: whole numbers and
truth values have others if one is missing anywhere, which is looked up first; and what is computed may have another
type in a later block than in those before, with which the work starts again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations import datasets
from workbench.operations.context import Output
from workbench.operations.data import results
from workbench.operations.data.large_streams import watched, with_gaps
from workbench.operations.data.large_types import with_missing
from workbench.operations.datasets import Dataset, retyped
from workbench.operations.tabular import join_types

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Work = Callable[["DataFrame"], "DataFrame"]
"""Returns the changed and the new columns of a block of rows."""


def computed(
    data: Dataset, needed: list[str], start: Callable[[Callable[[], Iterator[DataFrame]]], Work], output: Output
) -> DataFrame | Path:
    """Return the table with changed and new columns: the former in their places, the latter last.

    Parameters
    ----------
    data
        The table.
    needed
        The columns that are computed with.
    start
        Returns what computes one block after the other. It is called before the first one, each time the table is read
        from its beginning, with a function that yields all blocks, for what needs a look at later ones.
    output
        Where the result goes.
    """

    def work() -> DataFrame | Path:
        dtypes = whole_dtypes(data, needed)

        def blocks() -> Iterator[DataFrame]:
            return (_block(batch, dtypes) for batch in _even(data.batches(columns=needed)))

        types = _Types()
        types.widen(start(blocks)(next(blocks(), data.blank[needed])))
        while True:
            try:
                return _collected(data, needed, dtypes, start(blocks), types, output)
            except _Widened:  # from the beginning, with types that hold what has come so far
                continue

    return retyped(work, data)


def whole_dtypes(data: Dataset, names: list[str]) -> dict[str, Any]:
    """Return the types that columns have in pandas, missing values of all rows considered."""
    import numpy as np

    dtypes = dict(data.blank.dtypes[names])
    open_ = {name for name, dtype in dtypes.items() if isinstance(dtype, np.dtype) and dtype != with_missing(dtype)}
    gaps, farthest = set(), dict.fromkeys(open_, 0)
    for batch in data.batches(columns=sorted(open_)) if open_ else ():
        gaps |= {name for name in open_ if batch.column(name).null_count}
        for name in open_:
            farthest[name] = max(farthest[name], datasets.farthest(batch.column(name)))
        open_ -= {name for name in gaps if farthest[name] > datasets.EXACT or dtypes[name].kind == "b"}
        if not open_:
            break
    return dtypes | {name: with_missing(dtypes[name], farthest[name]) for name in gaps}


def _even(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield rows in batches of one length, so that they are the same ones each time, however a reader cuts them."""
    import pyarrow as pa

    parts: list[Any] = []
    left = datasets.BATCH_ROWS
    for batch in batches:
        rest = batch
        while rest.num_rows >= left:
            yield pa.concat_batches([*parts, rest.slice(0, left)])
            parts, rest, left = [], rest.slice(left), datasets.BATCH_ROWS
        if rest.num_rows:
            parts.append(rest)
            left -= rest.num_rows
    if parts:
        yield pa.concat_batches(parts)


def _block(batch: Any, dtypes: dict[str, Any]) -> DataFrame:
    frame = datasets.exact_frame(batch)
    return frame.astype({name: dtype for name, dtype in dtypes.items() if _differs(frame[name], dtype)})


def _differs(column: Series[Any], dtype: Any) -> bool:
    """Tell whether a block's column lacks the type of the whole one. Categories are each block's own."""
    import pandas as pd

    return column.dtype != dtype and not isinstance(dtype, pd.CategoricalDtype)


class _Widened(Exception):
    """A block's values don't fit the types of those before."""


class _Types:
    """The types of computed columns, pandas's and Arrow's, that hold the values of all blocks so far."""

    def __init__(self) -> None:
        self.dtypes: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}

    def widen(self, made: DataFrame) -> tuple[list[Any], bool]:
        """Take a block's types in. Return its columns as Arrow arrays, and whether the types had to be widened."""
        import pandas as pd
        import pyarrow as pa

        arrays, wider = [], False
        for name in made.columns:
            column = made[name]
            array = pa.array(column, from_pandas=True)
            array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
            known = self.fields.get(name, array.type)
            field = join_types(known, array.type, text=False)
            dtype = self.dtypes.get(name, column.dtype)
            if dtype != column.dtype:
                dtype = pd.concat([pd.Series(dtype=dtype), column.iloc[:0]]).dtype
            if field is None:
                raise InvalidArguments(f"column {name!r} would hold values of several kinds: {known} and {array.type}")
            wider = wider or field != known or dtype != self.dtypes.get(name, dtype)
            self.fields[name], self.dtypes[name] = field, dtype
            arrays.append(array)
        return arrays, wider

    def schema(self, data: Dataset) -> Any:
        """Return the schema of a table with these columns, which says as much to pandas."""
        import pandas as pd
        import pyarrow as pa

        blank = data.blank.copy(deep=False)
        for name, dtype in self.dtypes.items():
            blank[name] = pd.Series(index=blank.index, dtype=dtype)
        fields = {field.name: field for field in data.schema}
        fields |= {name: pa.field(name, type_) for name, type_ in self.fields.items()}
        return pa.schema(list(fields.values()), pa.Schema.from_pandas(blank).metadata)


def _collected(
    data: Dataset, needed: list[str], dtypes: dict[str, Any], work: Work, types: _Types, output: Output
) -> DataFrame | Path:
    """Return what is computed, if all of it is of these types; widen them and raise `_Widened` otherwise."""
    import pyarrow as pa

    gaps: set[str] = set()
    schema = types.schema(data)

    def rows() -> Iterator[Any]:
        for batch in _even(watched(data.batches(), gaps)):
            made = work(_block(batch.select(needed), dtypes))
            arrays, wider = types.widen(made)
            if wider:
                raise _Widened
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            cast = zip(made.columns, arrays, strict=True)
            columns |= {name: array.cast(types.fields[name], safe=False) for name, array in cast}
            yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    found = results.collect(rows(), schema, f"{data.stem}.parquet", output)
    if isinstance(found, Path):
        return found
    found = with_gaps(found, gaps - set(types.dtypes))
    return found.astype({name: dtype for name, dtype in types.dtypes.items() if found[name].dtype != dtype})
