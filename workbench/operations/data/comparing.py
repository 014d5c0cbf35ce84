"""The data operation that tells what changed between two tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.data.columns import Columns, distinct, refusing, room, shown, single
from workbench.operations.data.functions import decoded
from workbench.operations.data.joins import check_kinds
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame


@operation("data.compare")
def compare(
    left: DataFrame,
    right: DataFrame,
    on: Columns,
    *,
    columns: Columns | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> dict[str, Any]:
    """Compare two tables whose rows are known by a key: which were added, which removed, which cells changed.

    Parameters
    ----------
    left, right
        The table before, and after.
    on
        The column, or columns, that tell rows apart: no key may repeat.
    columns
        Which to compare; None for all that both tables have.
    rtol, atol
        Numbers are equal that differ by no more than `atol + rtol * abs(right)`.

    Returns
    -------
    dict
        `added`, rows of `right`; `removed`, rows of `left`; `changed`, a row for each cell that differs: its key,
        `column`, and the values as text in `left` and `right` (missing where they are); `counts`, a dict of the numbers
        of rows `added`, `removed`, `changed` and `unchanged`, and of `cells` that changed; `columns_added` and
        `columns_removed`, lists of names. Two missing values are equal.

    Raises
    ------
    InvalidArguments
        If a column isn't known, a key repeats, or a column holds values of another kind in one of the tables.

    Examples
    --------
    >>> import pandas as pd
    >>> before = pd.DataFrame({"id": [1, 2, 3], "delay": [5, 7, 9]})
    >>> after = pd.DataFrame({"id": [2, 3, 4], "delay": [7, 10, 1]})
    >>> found = compare(before, after, "id")
    >>> found["added"]["id"].tolist(), found["removed"]["id"].tolist()
    ([4], [1])
    >>> found["changed"].values.tolist()
    [[3, 'delay', '9', '10']]
    """
    distinct(left, "left")
    distinct(right, "right")
    keys = single(left, on)
    single(right, keys)
    if reserved := [key for key in keys if key in ("column", "left", "right")]:
        raise InvalidArguments(f"on: a key named {reserved[0]!r} can't be told from the result's columns: rename it")
    if not (0 <= rtol < float("inf") and 0 <= atol < float("inf")):
        raise InvalidArguments(f"rtol and atol take numbers from 0, got {rtol} and {atol}")
    shared = [name for name in left.columns if name in right.columns and name not in keys]
    if columns is not None:
        single(right, columns)
        shared = [name for name in single(left, columns) if name not in keys]
    check_kinds(left, right, [*keys, *shared], [*keys, *shared])
    before, after, both = _match(left, right, keys)
    changed = _changed(left.iloc[both[0]], right.iloc[both[1]], keys, shared, rtol, atol)
    rows = len(changed.drop_duplicates(keys)) if len(changed) else 0
    added, removed = right.iloc[after], left.iloc[before]
    return {
        "added": added,
        "removed": removed,
        "changed": changed,
        "counts": {
            "added": len(added),
            "removed": len(removed),
            "changed": rows,
            "unchanged": len(both[0]) - rows,
            "cells": len(changed),
        },
        "columns_added": [name for name in right.columns if name not in left.columns],
        "columns_removed": [name for name in left.columns if name not in right.columns],
    }


def _match(left: DataFrame, right: DataFrame, keys: list[str]) -> tuple[Any, Any, tuple[Any, Any]]:
    """Return the positions of rows that are in left only, in right only, and of those in both, in pairs."""
    import numpy as np

    sides = []
    for name, data in (("left", left), ("right", right)):
        with refusing(f"the keys of {name} can't be compared"):
            repeated = data[data.duplicated(keys)]
        if len(repeated):
            example = repeated[keys].iloc[0].tolist()
            raise InvalidArguments(
                f"on: {len(repeated)} keys repeat in {name}, the first is {shown(example)}: name more columns, or drop "
                "duplicates first"
            )
        numbered = data[keys].set_axis(range(len(keys)), axis=1)
        sides.append(numbered.assign(**{name: np.arange(len(data))}))
    with refusing("the keys can't be compared"):
        pairs = sides[0].merge(sides[1], how="outer", on=[*range(len(keys))])
    before, after = pairs["left"], pairs["right"]
    both = pairs[before.notna() & after.notna()].sort_values("left")
    return (
        np.sort(before[after.isna()].to_numpy(dtype="int64")),
        np.sort(after[before.isna()].to_numpy(dtype="int64")),
        (both["left"].to_numpy(dtype="int64"), both["right"].to_numpy(dtype="int64")),
    )


def _changed(left: DataFrame, right: DataFrame, keys: list[str], shared: list[str], rtol: float, atol: float) -> Any:
    """Return a row for each cell that differs, in the rows' order, and within a row in the columns'."""
    import numpy as np
    import pandas as pd

    differs = [_differs(left[name], right[name], rtol, atol) for name in shared]
    where = np.column_stack(differs) if differs else np.zeros((len(left), 0), dtype=bool)
    rows, places = np.nonzero(where)
    room(len(rows), len(keys) + 3, "Compare fewer columns, or allow for a tolerance")
    changed = left[keys].iloc[rows].reset_index(drop=True)
    names = pd.Series([str(name) for name in shared], dtype="str")
    changed["column"] = names.iloc[places].reset_index(drop=True)
    for side, data in (("left", left), ("right", right)):
        texts = np.full(len(rows), None, dtype=object)
        for place, name in enumerate(shared):
            cells = data[name].iloc[rows[places == place]]
            texts[places == place] = [None if gap else str(cell) for cell, gap in zip(cells, cells.isna(), strict=True)]
        changed[side] = pd.Series(texts, dtype="str")
    return changed


def _differs(left: Any, right: Any, rtol: float, atol: float) -> Any:
    import numpy as np

    one, other = decoded(left).reset_index(drop=True), decoded(right).reset_index(drop=True)
    there = one.notna() & other.notna()
    with refusing(f"column {left.name!r} can't be compared"):
        if (rtol or atol) and one.dtype.kind in "iuf" and other.dtype.kind in "iuf":
            a, b = (side.to_numpy(dtype="float64", na_value=np.nan) for side in (one, other))
            equal = np.isclose(a, b, rtol=rtol, atol=atol)
        else:
            equal = (one == other).fillna(False).to_numpy(dtype=bool)
    return np.where(there, ~equal, one.isna() != other.isna())
