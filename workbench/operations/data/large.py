"""Rows of tables larger than memory: filtered as they stream by, sorted by DuckDB.

Each function does what the operation of its name does, and what pandas would: the same rows, types and order. What it
returns is a DataFrame where that fits in memory, and a Parquet file where it doesn't (`results.collect`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Output
from workbench.operations.data import duck, results
from workbench.operations.data.large_categories import categories, categorized
from workbench.operations.data.large_streams import columns_of, index_of, schema_of, streamed
from workbench.operations.data.large_types import with_missing
from workbench.operations.datasets import Dataset, exact_frame, retyped
from workbench.operations.tabular import is_text

if TYPE_CHECKING:
    from pandas import DataFrame


def filter(  # noqa: A001 - as the operation
    data: Dataset, matches: Callable[[DataFrame], Any], columns: list[str], output: Output
) -> DataFrame | Path:
    """Return the rows that match.

    Parameters
    ----------
    data
        The table.
    matches
        Returns, for a frame of some of the rows, which of them are kept.
    columns
        What it needs to see of them.
    output
        Where the result goes.
    """
    import pyarrow as pa

    def kept(batch: Any) -> Any:
        return pa.array(matches(exact_frame(batch.select(columns))), pa.bool_())

    return streamed(data, lambda batches: (batch.filter(kept(batch)) for batch in batches), output)


def select(data: Dataset, columns: list[str], output: Output) -> DataFrame | Path:
    """Return some of the columns, and those that are the frame's index."""
    import pyarrow as pa

    def work() -> DataFrame | Path:
        names = [*columns, *index_of(data.schema)]
        schema = pa.schema([data.schema.field(name) for name in names], data.schema.metadata)
        return results.collect(data.batches(columns=names), schema, f"{data.stem}.parquet", output)

    return retyped(work, data)


def rename(data: Dataset, renamed: DataFrame, output: Output) -> DataFrame | Path:
    """Return the columns by other names: those of a frame without rows."""
    import pyarrow as pa

    names = dict(zip(data.blank.columns, renamed.columns, strict=True))
    fields = [field.with_name(names.get(field.name, field.name)) for field in data.schema]
    schema = pa.schema(fields, pa.Schema.from_pandas(renamed).metadata)
    return retyped(lambda: results.collect(data.batches(), schema, f"{data.stem}.parquet", output), data)


def dropna(data: Dataset, subset: list[str], least: int, ignore_index: bool, output: Output) -> DataFrame | Path:
    """Return the rows that have at least so many values in some columns."""
    import pyarrow as pa

    def kept(batch: Any) -> Any:
        return pa.array(sum(~_missing(batch.column(name)) for name in subset) >= least)

    return streamed(data, lambda batches: (batch.filter(kept(batch)) for batch in batches), output, ignore_index)


def numbers(data: Dataset, column: str | None) -> DataFrame:
    """Return a frame of as many rows, numbered from 0, with this column only, or with none."""
    import pandas as pd

    def work() -> DataFrame:
        parts = [batch.to_pandas(ignore_metadata=True) for batch in data.batches(columns=[column])] if column else []
        rows = 0 if column else sum(batch.num_rows for batch in data.batches())
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(index=pd.RangeIndex(rows))

    return retyped(work, data)


def take(data: Dataset, places: Any, ignore_index: bool, output: Output) -> DataFrame | Path:
    """Return the rows at these places, in their order; one may occur again."""
    import numpy as np
    import pyarrow as pa

    wanted, order = np.unique(np.asarray(places, dtype="int64"), return_inverse=True)

    def drawn(batches: Iterator[Any]) -> Iterator[Any]:
        numbers = iter([pa.RecordBatch.from_arrays([pa.array(wanted)], names=[duck.ROW])])
        found = list(_at(batches, numbers))
        if found:
            yield from pa.Table.from_batches(found).take(pa.array(order)).to_batches()

    return streamed(data, drawn, output, ignore_index)


def missing(data: Dataset) -> list[dict[str, Any]]:
    """Return of each column its `dtype`, its `rows`, how many of them are `missing`, and the `longest` gap."""
    names = columns_of(data)

    def work() -> list[dict[str, Any]]:
        gaps = [Gaps() for _ in names]
        for batch in data.batches(columns=names):
            for each, column in zip(gaps, batch.columns, strict=True):
                each.add(_missing(column))
        return [
            {
                "dtype": with_missing(dtype) if each.missing else dtype,
                "rows": each.rows,
                "missing": each.missing,
                "longest": each.longest,
            }
            for dtype, each in zip(data.blank.dtypes, gaps, strict=True)
        ]

    return retyped(work, data)


class Gaps:
    """What is missing in a column that comes bit by bit."""

    def __init__(self) -> None:
        self.rows = self.missing = self.longest = self._open = 0

    def add(self, missing: Any) -> None:
        """Go on with rows of which an array tells whether each is missing."""
        import numpy as np

        if not len(missing):
            return
        there = np.flatnonzero(~missing)
        self.rows += len(missing)
        self.missing += len(missing) - len(there)
        if not len(there):
            self._open += len(missing)
        else:
            inside = np.diff(there).max(initial=1) - 1
            self.longest = int(max(self.longest, self._open + there[0], inside))
            self._open = int(len(missing) - there[-1] - 1)
        self.longest = max(self.longest, self._open)


def head(data: Dataset, n: int, output: Output) -> DataFrame | Path:
    """Return the first rows, or all but the last."""

    def first(batches: Iterator[Any]) -> Iterator[Any]:
        left = n
        for batch in batches:
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return

    def all_but(batches: Iterator[Any]) -> Iterator[Any]:
        waiting: deque[Any] = deque()
        rows = 0
        for batch in batches:
            waiting.append(batch)
            rows += batch.num_rows
            while rows - waiting[0].num_rows >= -n:
                rows -= waiting[0].num_rows
                yield waiting.popleft()
        for batch in waiting:
            if rows + n <= 0:
                return
            yield batch.slice(0, rows + n)
            rows -= batch.num_rows

    return streamed(data, first if n >= 0 else all_but, output)


def sort(
    data: Dataset,
    keys: list[str],
    ascending: list[bool],
    na_position: Literal["first", "last"],
    ignore_index: bool,
    output: Output,
) -> DataFrame | Path:
    """Return the rows in order, that of its categories for a categorical column; equal ones keep theirs."""
    for key in keys:
        _check_sortable(data, key)
    with duck.opened(data=data) as connection:
        known = categories(connection, data)
        order = ", ".join(
            f"{_sorted_by(data, key, known)} {'ASC' if up else 'DESC'} NULLS {na_position.upper()}"
            for key, up in zip(keys, ascending, strict=True)
        )
        schema, labels = schema_of(data, ignore_index)
        columns = ", ".join(duck.column(data, name) for name in schema.names)
        query = f"SELECT {columns}, {duck.ROW} FROM data ORDER BY {order}, {duck.ROW}"  # noqa: S608
        found = categorized(duck.batches(connection, query), schema, known)
        return results.collect(found, schema, f"{data.stem}.parquet", output, labels)


def _check_sortable(data: Dataset, key: str) -> None:
    import pyarrow as pa

    type_ = data.schema.field(key).type
    if not pa.types.is_dictionary(type_):
        return
    if not is_text(type_.value_type):
        raise InvalidArguments(
            f"column {key!r} has categories of {type_.value_type}, by which rows aren't sorted into a file, nor where "
            "they don't fit in memory: convert it with data.astype first"
        )


def _sorted_by(data: Dataset, key: str, known: Mapping[str, Any]) -> str:
    """Return SQL for what rows are sorted by."""
    if not len(known.get(key, ())):
        return duck.column(data, key)
    return f"{duck.column(data, key)}::ENUM({', '.join(map(duck.text, known[key].to_pylist()))})"


def drop_duplicates(
    data: Dataset, subset: list[str], keep: Literal["first", "last", False], ignore_index: bool, output: Output
) -> DataFrame | Path:
    """Return the rows without those whose values occur before (or after, or elsewhere).

    DuckDB finds which rows stay; then these are taken from the table as it streams by.
    """
    _refuse_nested(data, subset)
    group = ", ".join(duck.column(data, name) for name in subset)
    which = "max" if keep == "last" else "min"
    once = "HAVING count(*) = 1" if keep is False else ""
    query = f"SELECT {which}({duck.ROW}) FROM data GROUP BY {group} {once} ORDER BY 1"  # noqa: S608
    with duck.opened(data=data) as connection:
        return streamed(data, lambda batches: _at(batches, duck.batches(connection, query)), output, ignore_index)


def _refuse_nested(data: Dataset, columns: Iterable[str]) -> None:
    """Raise where values of a column aren't compared, as in pandas."""
    import pyarrow as pa

    for name in columns:
        if pa.types.is_nested(type_ := data.schema.field(name).type):
            raise InvalidArguments(f"the rows can't be compared: column {name!r} holds {type_}")


def _missing(column: Any) -> Any:
    """Tell, in an array, which values of an Arrow column are missing: what isn't a number is, as in pandas."""
    import pyarrow.compute as pc

    return pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)


def _at(batches: Iterator[Any], numbers: Iterator[Any]) -> Iterator[Any]:
    """Yield, of numbered rows, those whose numbers come up in the other batches, which are in order."""
    import numpy as np
    import pyarrow as pa

    waiting = np.empty(0, np.int64)
    for batch in batches:
        rows = batch.column(duck.ROW).to_numpy()
        while rows.size and (not waiting.size or waiting[-1] <= rows[-1]):
            if (more := next(numbers, None)) is None:
                break
            waiting = np.concatenate([waiting, more.column(0).to_numpy()])
        here = np.searchsorted(waiting, rows[-1], side="right") if rows.size else 0
        yield batch.filter(pa.array(np.isin(rows, waiting[:here], assume_unique=True)))
        waiting = waiting[here:]
