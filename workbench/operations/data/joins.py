"""Data operations that make one table of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Overwrite
from workbench.operations.data import large_concat, large_joins, results
from workbench.operations.data.columns import Columns, distinct, kind, refusing, room, single
from workbench.operations.data.results import destination
from workbench.operations.datasets import Dataset, in_memory, too_large
from workbench.operations.registry import operation
from workbench.values.refs import OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame

Validate = Literal["one_to_one", "1:1", "one_to_many", "1:m", "many_to_one", "m:1", "many_to_many", "m:m"]

GROWTH = 10
"""How many times as many rows as both tables together a join may have, where its keys repeat on both sides."""
SMALL = 1_000_000
"""Rows a join may have in any case."""


@operation("data.merge")
def merge(
    left: Dataset,
    right: Dataset,
    how: Literal["inner", "left", "right", "outer", "cross"] = "inner",
    *,
    on: Columns | None = None,
    left_on: Columns | None = None,
    right_on: Columns | None = None,
    validate: Validate | None = None,
    indicator: bool | str = False,
    suffixes: tuple[str, str] = ("_x", "_y"),
    sort: bool = False,
    max_rows: int | None = None,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Join two tables by the values of columns, as `pandas.merge` does.

    Parameters
    ----------
    left, right
        Tables of any size. What doesn't fit in memory is joined on disk, but for `"cross"`, `indicator` and `sort`.
    how
        Which rows stay: of both, of the left one, of the right one, all; `"cross"` takes each with each.
    on
        The columns, which both have; None for all that both have.
    left_on, right_on
        Instead of `on`: columns of different names.
    validate
        Refuse keys that repeat on a side where they shouldn't: `"one_to_one"`, `"one_to_many"`, `"many_to_one"`.
    indicator
        Add a column that tells where a row is from, `left_only`, `right_only` or `both`: named `_merge`, or as given.
    suffixes
        What follows the names of other columns that both have.
    sort
        Sort the rows by the keys.
    max_rows
        Rows the result may have where keys repeat on both sides. None for ten times the rows of both tables, a million
        at least: more is nearly always an accident.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        The joined rows, numbered from 0; a Parquet file where `output` is given, or they don't fit in memory. Missing
        keys match each other, as in pandas.

    Raises
    ------
    InvalidArguments
        If a column isn't known, the keys' types can't match, they repeat against `validate`, or the result would be
        too large: says how many rows it would have.
    InputTooLarge
        If the tables don't fit in memory, and what is asked for needs them there.

    Examples
    --------
    >>> import pandas as pd
    >>> flights = pd.DataFrame({"carrier": ["UA", "AA"], "delay": [2, 33]})
    >>> airlines = pd.DataFrame({"carrier": ["UA"], "name": ["United"]})
    >>> merge(flights, airlines, "left", on="carrier")["name"].tolist()
    ['United', nan]
    """
    target = destination(output, overwrite)
    one, other = Dataset.of(left), Dataset.of(right)
    if how == "cross" or indicator or sort:
        in_memory("data.merge with how='cross', indicator or sort", one, other)
    elif too_large("duckdb", one, other, stream=target.path is not None):
        left_keys, right_keys = _keys(one.blank, other.blank, on, left_on, right_on)
        check_kinds(one.blank, other.blank, left_keys, right_keys)

        def check(counts: large_joins.Counts) -> None:
            _check_unique(counts, validate)
            _check_growth(left_keys, how, counts.left + counts.right, counts.pairs, max_rows)

        return large_joins.merge(one, other, how, left_keys, right_keys, suffixes, check, target)
    joined = _merged(
        one.frame(),
        other.frame(),
        how,
        on,
        left_on,
        right_on,
        max_rows,
        validate=validate,
        indicator=indicator,
        suffixes=suffixes,
        sort=sort,
    )
    return results.handed(joined, f"{one.stem}.parquet", target)


def _merged(
    left: DataFrame,
    right: DataFrame,
    how: Literal["inner", "left", "right", "outer", "cross"],
    on: Columns | None,
    left_on: Columns | None,
    right_on: Columns | None,
    max_rows: int | None,
    **options: Any,
) -> DataFrame:
    """Join two tables in memory."""
    distinct(left, "left")
    distinct(right, "right")
    if how == "cross":
        if on is not None or left_on is not None or right_on is not None:
            raise InvalidArguments("how='cross' takes each row with each: it goes without on, left_on and right_on")
        rows = len(left) * len(right)
        if max_rows is not None and rows > max_rows:
            raise InvalidArguments(f"the result would have {rows:,} rows, more than max_rows={max_rows:,}")
    else:
        left_keys, right_keys = _keys(left, right, on, left_on, right_on)
        check_kinds(left, right, left_keys, right_keys)
        with refusing("the keys can't be compared"):
            repeated = left.duplicated(left_keys).any() and right.duplicated(right_keys).any()
            pairs = _pairs(left, right, left_keys, right_keys) if repeated else None
        rows = _check_growth(left_keys, how, len(left) + len(right), pairs, max_rows)
        options |= {"on": left_keys} if left_keys == right_keys else {"left_on": left_keys, "right_on": right_keys}
    room(rows, left.shape[1] + right.shape[1], "Filter or group the tables first, or join by more columns")
    with refusing("the tables can't be joined"):
        return left.merge(right, how=how, **options)


def _keys(
    left: DataFrame, right: DataFrame, on: Columns | None, left_on: Columns | None, right_on: Columns | None
) -> tuple[list[str], list[str]]:
    if (left_on is None) is not (right_on is None):
        raise InvalidArguments("left_on and right_on go together")
    if on is not None and left_on is not None:
        raise InvalidArguments("merge takes either on, or left_on and right_on")
    if left_on is not None and right_on is not None:
        names = single(left, left_on), single(right, right_on)
        if len(names[0]) != len(names[1]):
            raise InvalidArguments(f"left_on names {len(names[0])} columns, right_on {len(names[1])}")
        return names
    shared = [name for name in left.columns if name in right.columns] if on is None else on
    if not shared:
        raise InvalidArguments("the tables have no column in common: name the keys with left_on and right_on")
    return single(left, shared), single(right, shared)


def check_kinds(left: DataFrame, right: DataFrame, left_keys: list[str], right_keys: list[str]) -> None:
    """Refuse columns whose values never match, such as numbers and text that looks like them."""
    for one, other in zip(left_keys, right_keys, strict=True):
        kinds = {kind(left[one]), kind(right[other])} - {"empty"}
        if len(kinds) > 1:
            raise InvalidArguments(
                f"column {one!r} holds {left[one].dtype} in left, and {other!r} {right[other].dtype} in right, which "
                "never match: convert one with data.astype"
            )


def _check_growth(keys: list[str], how: str, both: int, pairs: int | None, max_rows: int | None) -> int:
    """Return how many rows a join has at most, or raise if keys that repeat on both sides make too many of them.

    Parameters
    ----------
    keys
        The left table's.
    how
        Which rows stay.
    both
        Rows of both tables together.
    pairs
        Rows that match, where keys repeat on both sides; None where they don't.
    max_rows
        How many are too many; None to go by `both`.
    """
    if pairs is None:
        return both
    rows = pairs + (0 if how == "inner" else both)
    allowed = max(SMALL, GROWTH * both) if max_rows is None else max_rows
    if rows > allowed:
        raise InvalidArguments(
            f"the keys {', '.join(map(repr, keys))} repeat in both tables, so that the result would have about "
            f"{rows:,} rows, more than {allowed:,}. Join by more columns, drop duplicates first, or raise max_rows"
        )
    return rows


def _check_unique(counts: large_joins.Counts, validate: Validate | None) -> None:
    """Raise where keys repeat on a side where they shouldn't."""
    sides = {"left": counts.left_most, "right": counts.right_most}
    for side, most in sides.items():
        if most > 1 and side in _UNIQUE.get(validate or "", ()):
            raise InvalidArguments(f"the tables can't be joined: the keys are not unique in {side}, against {validate}")


_UNIQUE = {
    **dict.fromkeys(("one_to_one", "1:1"), ("left", "right")),
    **dict.fromkeys(("one_to_many", "1:m"), ("left",)),
    **dict.fromkeys(("many_to_one", "m:1"), ("right",)),
}


def _pairs(left: DataFrame, right: DataFrame, left_keys: list[str], right_keys: list[str]) -> int:
    """Count the rows of an inner join from how often each key occurs, which takes a row for each key only."""

    def counts(data: DataFrame, keys: list[str], name: str) -> Any:
        renamed = data[keys].set_axis(range(len(keys)), axis=1)
        return renamed.groupby(list(renamed), dropna=False, observed=True, sort=False).size().rename(name).reset_index()

    on = [*range(len(left_keys))]
    pairs = counts(left, left_keys, "left").merge(counts(right, right_keys, "right"), on=on)
    return int((pairs["left"].astype("float64") * pairs["right"]).sum())


@operation("data.concat")
def concat(
    data: list[Dataset],
    *,
    axis: Literal["index", "columns"] = "index",
    join: Literal["outer", "inner"] = "outer",
    ignore_index: bool = False,
    keys: list[str] | None = None,
    names: list[str] | None = None,
    output: OutputPath | None = None,
    overwrite: Overwrite = "replace",
) -> DataFrame | Path:
    """Put tables below or beside each other, as `pandas.concat` does.

    Parameters
    ----------
    data
        The tables, of any size. What doesn't fit in memory streams by, but for `axis="columns"`, `keys`, and an index
        of a table's own that isn't ignored.
    axis
        `"index"` puts their rows below each other, `"columns"` their columns beside each other, by the index.
    join
        What isn't in every table stays, with missing values, or is left out.
    ignore_index
        Number the rows (or columns) from 0.
    keys
        A name for each table, which becomes a level of the index.
    names
        What the levels are called.
    output
        Write the result into this Parquet file.
    overwrite
        What happens where it is there already: it is replaced in one step, or that is refused (`"error"`).

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        One table; a Parquet file where `output` is given, or it doesn't fit in memory.

    Raises
    ------
    InvalidArguments
        If a column holds values of different kinds in two tables, or an index that has to match repeats.
    InputTooLarge
        If the tables don't fit in memory, and what is asked for needs them there.

    Examples
    --------
    >>> import pandas as pd
    >>> concat([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})], ignore_index=True)["a"].tolist()
    [1, 2]
    """
    import pandas as pd

    if not data:
        raise InvalidArguments("data takes at least one table")
    if keys is not None and len(keys) != len(data):
        raise InvalidArguments(f"keys takes a name for each of {len(data)} tables, got {len(keys)}")
    if names is not None and keys is None:
        raise InvalidArguments("names goes with keys")
    target, tables = destination(output, overwrite), [Dataset.of(each) for each in data]
    if axis == "columns" or keys is not None or (not ignore_index and any(map(large_concat.has_labels, tables))):
        in_memory("data.concat with axis='columns', keys or an index of a table's own", *tables)
    elif too_large("pyarrow", *tables, stream=target.path is not None):
        _check_same_kinds([each.blank for each in tables], rows=False)
        return large_concat.concat(tables, join, ignore_index, target)
    frames = [each.frame() for each in tables]
    if axis == "index":
        _check_same_kinds(frames)
    else:
        room(sum(map(len, frames)), sum(each.shape[1] for each in frames), "Put fewer tables together")
    options: dict[str, Any] = {} if keys is None else {"keys": keys, "names": names}
    with refusing("the tables can't be put together"):
        made = pd.concat(frames, axis=axis, join=join, ignore_index=ignore_index, **options)
    return results.handed(made, f"{tables[0].stem}.parquet", target)


def _check_same_kinds(tables: list[DataFrame], *, rows: bool = True) -> None:
    """Raise where a column is of different kinds; without rows by its types alone, and not by whether it has values."""
    seen: dict[Any, tuple[str, int, Any]] = {}
    for number, table in enumerate(tables, 1):
        distinct(table, f"table {number}")
        for name in table.columns:
            found = kind(table[name])
            if found == "empty" or (rows and not table[name].notna().any()):
                continue
            first, where, dtype = seen.setdefault(name, (found, number, table[name].dtype))
            if first != found:
                raise InvalidArguments(
                    f"column {name!r} holds {dtype} in table {where}, and {table[name].dtype} in table {number}: "
                    "convert one with data.astype"
                )
