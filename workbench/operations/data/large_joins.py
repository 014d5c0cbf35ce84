"""Joins of tables larger than memory, by DuckDB: the same rows, types and order as pandas's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations.context import Output
from workbench.operations.data import duck, results
from workbench.operations.data.large_categories import categories, categorized, refuse_categories
from workbench.operations.data.large_streams import columns_of
from workbench.operations.datasets import Dataset
from workbench.operations.tabular import is_text

if TYPE_CHECKING:
    from pandas import DataFrame


class Counts(NamedTuple):
    """How often keys occur in the tables of a join."""

    left: int
    """Rows."""
    right: int
    left_most: int
    """Rows of the key that is in most of them."""
    right_most: int
    pairs: int | None
    """Rows of both tables that match, where keys repeat on both sides; None where they don't."""


def merge(
    left: Dataset,
    right: Dataset,
    how: Literal["left", "right", "outer", "inner"],
    left_on: list[str],
    right_on: list[str],
    suffixes: tuple[str, str],
    check: Callable[[Counts], None],
    output: Output,
) -> DataFrame | Path:
    """Join two tables as `pandas.merge` does: missing keys match each other, rows come in pandas's order.

    Parameters
    ----------
    left, right, how, left_on, right_on, suffixes
        As pandas has them.
    check
        Is told how often keys occur before anything is joined, and raises where that is too often.
    output
        Where the result goes.
    """
    import pyarrow as pa

    refuse_categories(left, left_on)
    refuse_categories(right, right_on)
    _check_comparable(left, right, left_on, right_on)
    made = _columns(left, right, how, left_on, right_on, suffixes)
    pairs = [
        (f"l.{duck.column(left, a)}", f"r.{duck.column(right, b)}") for a, b in zip(left_on, right_on, strict=True)
    ]
    on = " AND ".join(f"{a} IS NOT DISTINCT FROM {b}" for a, b in pairs)
    # As pandas has it, missing times come first and all else that is missing last.
    missing = ["FIRST" if pa.types.is_temporal(left.schema.field(a).type) else "LAST" for a in left_on]
    order = {
        "left": "l_, r_",
        "inner": "l_, r_",
        "right": "r_, l_",
        "outer": ", ".join([*(f"o{place} NULLS {last}" for place, last in enumerate(missing)), "l_", "r_"]),
    }[how]
    join = "FULL" if how == "outer" else how.upper()
    columns = [f"{column.sql} AS m{place}" for place, column in enumerate(made)]
    columns += [f"coalesce({a}, {b}) AS o{place}" for place, (a, b) in enumerate(pairs) if how == "outer"]
    columns += [f"l.{duck.ROW} AS l_", f"r.{duck.ROW} AS r_"]
    schema = pa.schema([column.field for column in made])
    with duck.opened(l=left, r=right) as connection:
        check(_counted(connection, left, right, left_on, right_on))
        # One after the other, on disk: in one query both would be in memory together.
        query = f"SELECT {', '.join(columns)} FROM l {join} JOIN r ON {on}"  # noqa: S608
        duck.run(connection, f"CREATE TABLE joined AS {query}")
        told = {side: categories(connection, data, side) for side, data in (("l", left), ("r", right))}
        known = {each.field.name: told[each.side][each.own] for each in made if each.own in told[each.side]}
        merged = ", ".join(f"m{place}" for place in range(len(made)))
        found = duck.batches(connection, f"SELECT {merged} FROM joined ORDER BY {order}")  # noqa: S608
        return results.collect(categorized(found, schema, known), schema, f"{left.stem}.parquet", output)


class _Column(NamedTuple):
    """A column of what is joined."""

    side: Literal["l", "r"]
    """The table that it comes from."""
    own: str
    """Its name there."""
    field: Any
    """Its name and type in the result."""
    sql: str


def _columns(
    left: Dataset, right: Dataset, how: str, left_on: list[str], right_on: list[str], suffixes: tuple[str, str]
) -> list[_Column]:
    """Return the columns of the result: a key that both tables have under one name is there once."""
    shared = {a for a, b in zip(left_on, right_on, strict=True) if a == b}
    both = (set(columns_of(left)) & set(columns_of(right))) - shared
    made = []
    sides: list[tuple[Literal["l", "r"], Dataset, str]] = [("l", left, suffixes[0]), ("r", right, suffixes[1])]
    for side, data, suffix in sides:
        for field in map(data.schema.field, columns_of(data)):
            own, sql = field.name, f"{side}.{duck.column(data, field.name)}"
            if own in shared:
                if side == "r":
                    continue
                sql = f"coalesce({sql}, r.{duck.column(right, own)})"
                field = _common(field, right, how)
            made.append(_Column(side, own, field.with_name(own + suffix if own in both else own), sql))
    names = [column.field.name for column in made]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArguments(f"suffixes: the columns {', '.join(twice)} would occur twice: give others")
    return made


def _common(field: Any, right: Dataset, how: str) -> Any:
    """Return a key that both tables have, with a type for the keys of the right one as well where these are in it."""
    import pyarrow as pa

    other = right.schema.field(field.name)
    if how in ("left", "inner") or field.type == other.type:
        return field
    return pa.unify_schemas([pa.schema([field]), pa.schema([other])], promote_options="permissive").field(0)


def _counted(connection: Any, left: Dataset, right: Dataset, left_on: list[str], right_on: list[str]) -> Counts:
    """Count rows and keys, in tables on disk: each query alone needs less memory than all in one."""
    sides = (("l", left, left_on), ("r", right, right_on))
    rows, most = [], []
    for side, data, keys in sides:
        columns = ", ".join(f"{duck.column(data, key)} AS k{place}" for place, key in enumerate(keys))
        query = f"SELECT {columns}, count(*) AS n FROM {side} GROUP BY ALL"  # noqa: S608
        duck.run(connection, f"CREATE TABLE {side}_keys AS {query}")
        totals = f"SELECT coalesce(sum(n), 0)::BIGINT, coalesce(max(n), 0) FROM {side}_keys"  # noqa: S608
        each = duck.run(connection, totals)[0]
        rows.append(each[0])
        most.append(each[1])
    pairs = None
    if min(most) > 1:
        same = " AND ".join(f"l.k{place} IS NOT DISTINCT FROM r.k{place}" for place in range(len(left_on)))
        query = f"SELECT coalesce(sum(l.n::DOUBLE * r.n), 0) FROM l_keys AS l JOIN r_keys AS r ON {same}"  # noqa: S608
        pairs = int(duck.run(connection, query)[0][0])
    for side, _, _ in sides:
        duck.run(connection, f"DROP TABLE {side}_keys")
    return Counts(rows[0], rows[1], most[0], most[1], pairs)


def _check_comparable(left: Dataset, right: Dataset, left_on: list[str], right_on: list[str]) -> None:
    import pyarrow as pa

    def kind(data: Dataset, name: str) -> str:
        type_ = data.schema.field(name).type
        if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_):
            return "numbers"
        if pa.types.is_timestamp(type_):
            return "times" if type_.tz is None else "times with a zone"
        return "text" if is_text(type_) else str(type_)

    for a, b in itertools.zip_longest(left_on, right_on):
        if (one := kind(left, a)) != (other := kind(right, b)):
            raise InvalidArguments(f"column {a!r} holds {one} and column {b!r} holds {other}, which match nowhere")
