"""Tables larger than memory, put below each other as their rows stream by: columns, types and labels as pandas's."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Output
from workbench.operations.data import duck, results
from workbench.operations.data.large_categories import refuse_categories
from workbench.operations.data.large_streams import columns_of, has_index, numbered, watched
from workbench.operations.data.large_types import with_missing
from workbench.operations.datasets import Dataset, retyped
from workbench.operations.tabular import join_types

if TYPE_CHECKING:
    from pandas import DataFrame


def has_labels(data: Dataset) -> bool:
    """Tell whether a table's rows have labels of their own, so that they aren't numbered from 0."""
    import pandas as pd

    if data.in_memory:
        index = data.frame().index
        return not (isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1)
    return has_index(data.schema)


def concat(
    tables: list[Dataset], join: Literal["outer", "inner"], ignore_index: bool, output: Output
) -> DataFrame | Path:
    """Return the rows of all tables, one after the other; what isn't in each is missing there, or left out.

    Parameters
    ----------
    tables
        Without labels of their own, or none that are to be kept.
    join, ignore_index
        As pandas has them.
    output
        Where the result goes.
    """
    for each in tables:
        refuse_categories(each, columns_of(each), "put below another one")

    def work() -> DataFrame | Path:
        import pandas as pd
        import pyarrow as pa

        blanks = [each.blank[columns_of(each)] for each in tables]
        blank = pd.concat(blanks, join=join, ignore_index=True)
        schema = pa.schema(
            [(name, _joint_type(name, tables)) for name in blank.columns], pa.Schema.from_pandas(blank).metadata
        )
        gaps: list[set[str]] = [set() for _ in tables]

        def rows() -> Iterator[Any]:
            for each, seen in zip(tables, gaps, strict=True):
                there = [name for name in schema.names if name in columns_of(each)]
                for batch in numbered(watched(each.batches(columns=there), seen)):
                    columns = [
                        _cast(batch.column(field.name), field)
                        if field.name in there
                        else pa.nulls(batch.num_rows, field.type)
                        for field in schema
                    ]
                    yield pa.RecordBatch.from_arrays(
                        [*columns, batch.column(duck.ROW)], names=[*schema.names, duck.ROW]
                    )

        found = results.collect(rows(), schema, f"{tables[0].stem}.parquet", output, None if ignore_index else duck.ROW)
        if isinstance(found, Path):
            return found
        whole = [
            each.astype({name: with_missing(each.dtypes[name]) for name in seen if name in each})
            for each, seen in zip(blanks, gaps, strict=True)
        ]
        dtypes = pd.concat(whole, join=join, ignore_index=True).dtypes
        return found.astype({name: dtype for name, dtype in dtypes.items() if found[name].dtype != dtype})

    return retyped(work, *tables)


def _cast(column: Any, field: Any) -> Any:
    """Return a column with the type that all tables' have; times may lose what is finer than its unit."""
    import pyarrow as pa

    try:
        return column.cast(field.type, safe=not pa.types.is_temporal(field.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidArguments(
            f"column {field.name!r} holds {column.type} in one table and would be {field.type} with the others: "
            f"{error}. Convert one with data.astype"
        ) from error


def _joint_type(name: str, tables: list[Dataset]) -> Any:
    """Return the narrowest Arrow type that holds all values of a column."""
    types = [each.schema.field(name).type for each in tables if name in columns_of(each)]
    joint = functools.reduce(lambda one, other: one and join_types(one, other, text=False), types)
    if joint is None:
        raise InvalidArguments(
            f"column {name!r} holds {', '.join(sorted(set(map(str, types))))}, which no type holds together: convert "
            "one with data.astype"
        )
    return joint
