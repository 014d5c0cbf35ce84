"""What the data operations share: the columns that are meant, what kind of values they hold, and how large a result is.

Each raises an `InvalidArguments` that says which column, and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations import context
from workbench.operations.context import Output
from workbench.operations.datasets import Dataset, too_large

if TYPE_CHECKING:
    from pandas import DataFrame


Columns = str | list[str]

CELLS = 200_000_000
"""Cells a result may have where no limit of memory is known."""
NARROW = "Choose columns with fewer distinct values, or group them first (data.cut, data.groupby)"
"""What helps where a table of groups would be too wide."""
CELL = 16
"""Bytes a cell of a result takes while it is made: its value, and a copy."""


def known(data: DataFrame, columns: Columns) -> list[str]:
    """Return the columns as a list, if all of them are there."""
    return _known(data.columns, columns)


def known_in(data: Dataset, columns: Columns) -> list[str]:
    """Return the columns as a list, if all of them are in a dataset, or in its index; looks at no rows."""
    wanted = _known(data.names, columns)
    if not data.in_memory:  # a file has texts for all names
        blank = data.blank
        _known([*blank.columns, *(name for name in blank.index.names if name is not None)], wanted)
    return wanted


def stored_in(data: Dataset, columns: Columns) -> list[str]:
    """Return the columns as `known_in` does; a name that isn't text can be given as the text that a file has for it."""
    return _known(data.names, labelled(data.names, columns))


def labelled(present: Iterable[Any], columns: Columns) -> list[Any]:
    """Return the columns as a list, with their own names: one that isn't text can be asked for by its text."""
    present = list(present)
    own = {str(name): name for name in present}
    return [name if name in present else own.get(name, name) for name in _listed(columns)]


def _listed(columns: Columns) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _known(present: Any, columns: Columns) -> list[str]:
    wanted = _listed(columns)
    if not wanted:
        raise InvalidArguments("at least one column has to be named")
    for column in wanted:
        if column not in present:
            names = [str(name) for name in present]
            if column in names:
                kind_ = type(list(present)[names.index(column)]).__name__
                raise InvalidArguments(
                    f"there is no column {column!r} whose name is text: that one's is of type {kind_}. Name the "
                    "columns by text first (data.columns.map(str))"
                )
            close = difflib.get_close_matches(str(column), names, n=3)
            meant = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Columns: {', '.join(names[:20])}"
            raise InvalidArguments(f"there is no column {column!r}. {meant}")
    return wanted


def single(data: DataFrame, columns: Columns) -> list[str]:
    """Return the columns as `known` does, if each is there once and is named once."""
    _one_level(data, "data")
    wanted = known(data, columns)
    for column in wanted:
        if wanted.count(column) > 1:
            raise InvalidArguments(f"the column {column!r} is named twice")
        if list(data.columns).count(column) > 1:
            raise InvalidArguments(f"there are several columns named {column!r}: rename them first")
    return wanted


def distinct(data: DataFrame, what: str = "data") -> None:
    """Raise if a column's name occurs more than once, or its names have several levels."""
    _one_level(data, what)
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise InvalidArguments(f"{what} has several columns named {twice!r}: rename them first")


def _one_level(data: DataFrame, what: str) -> None:
    if data.columns.nlevels > 1:
        raise InvalidArguments(
            f"{what} has {data.columns.nlevels} levels of columns, as groups with several aggregations have: choose "
            "one aggregation for each column"
        )


def streams(data: Dataset, target: Output) -> bool:
    """Choose and note whether rows are to stream by: where they don't fit in memory, or go from a file into a file.

    Raises
    ------
    InvalidArguments
        If they are, and the name of a column isn't text.
    """
    if not too_large("pyarrow", data, stream=target.path is not None and not data.in_memory):
        return False
    named_by_text(data.blank)
    return True


def named_by_text(data: DataFrame) -> None:
    """Raise if the name of a column isn't text, where rows stream by or names of text come to be beside it."""
    _one_level(data, "data")
    for name in data.columns:
        if not isinstance(name, str):
            raise InvalidArguments(
                f"the name of column {name!r} is of type {type(name).__name__}, where text is needed: the table is "
                "written into a file, or doesn't fit in memory. Name its columns by text (data.columns.map(str))"
            )


def numeric(data: DataFrame, columns: Columns | None) -> list[str]:
    """Return the columns as `single` does, if all hold numbers; all that hold numbers for None."""
    if columns is None:
        distinct(data)
        found = [name for name in data.columns if kind(data[name]) == "number"]
        if not found:
            raise InvalidArguments("data has no columns of numbers: convert some first, with data.astype")
        return found
    wanted = single(data, columns)
    for column in wanted:
        if kind(data[column]) != "number":
            raise InvalidArguments(
                f"column {column!r} holds {data[column].dtype}, where numbers are needed: leave it out, or convert it "
                "with data.astype"
            )
    return wanted


def new_name(data: DataFrame, name: str, parameter: str) -> str:
    """Return a name for a column that is added, if it isn't taken."""
    if name in data.columns:
        raise InvalidArguments(f"{parameter}: data has a column {name!r} already: give another name")
    return name


def kind(column: Any) -> str:
    """Tell what a column holds: `number`, `bool`, `text`, `time`, `zoned` (time with a zone), `duration`, or `other`.

    Categories count as what they are of. An object column counts as text if each value in it is, and as `empty` if it
    has none.
    """
    import pandas as pd
    from pandas.api import types

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return kind(dtype.categories)
    if types.is_bool_dtype(dtype):
        return "bool"
    if types.is_numeric_dtype(dtype):
        return "number" if dtype.kind != "c" else "other"
    if types.is_datetime64_any_dtype(dtype):
        zone = getattr(dtype, "tz", None) or getattr(getattr(dtype, "pyarrow_dtype", None), "tz", None)
        return "time" if zone is None else "zoned"
    if types.is_timedelta64_dtype(dtype) or dtype.kind == "m":
        return "duration"
    if types.is_object_dtype(dtype):
        inferred = types.infer_dtype(column, skipna=True)
        return {"string": "text", "empty": "empty"}.get(inferred, "other")
    return "text" if types.is_string_dtype(dtype) else "other"


def room(rows: int, columns: int, cure: str) -> None:
    """Raise if a result of this size wouldn't fit into the memory the operation may use."""
    limit = context.memory_limit()
    cells = CELLS if limit is None else limit // CELL
    if rows * columns > cells:
        raise InvalidArguments(
            f"the result would have {rows:,} rows of {columns:,} columns, more than the {cells:,} cells that fit here. "
            f"{cure}"
        )


def shown(values: Iterable[object], limit: int = 5) -> str:
    """Return some values as an error names them."""
    values = list(values)
    return ", ".join(repr(value) for value in values[:limit]) + (", …" if len(values) > limit else "")


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn what pandas raises where values don't fit into an `InvalidArguments` that begins with `what`."""
    from pandas.errors import InvalidIndexError

    try:
        yield
    except InvalidArguments:
        raise
    except (TypeError, ValueError, ArithmeticError, NotImplementedError, LookupError, AttributeError) as error:
        # The last two come from deep inside, where pandas forgets a type of values: sparse ones, or Arrow's dates.
        raise InvalidArguments(f"{what}: {error or type(error).__name__}") from error
    except InvalidIndexError as error:
        raise InvalidArguments(f"{what}: {error}") from error
