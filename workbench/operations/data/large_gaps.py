"""Gaps of tables larger than memory, filled as the rows stream by: with values, or with those before or after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.operations.context import Output
from workbench.operations.data.large_categories import refuse_categories
from workbench.operations.data.large_columns import Work, computed
from workbench.operations.datasets import Dataset

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Blocks = Callable[[], "Iterator[DataFrame]"]
Fill = Callable[["Series[Any]", "int | None"], "Series[Any]"]
"""Fills a column's gaps, the first so many of them; None for all."""


def with_values(data: Dataset, names: list[str], fill: Fill, limit: int | None, output: Output) -> DataFrame | Path:
    """Return the table with values in the gaps of some columns, in at most so many of each."""

    def start(_: Blocks) -> Work:
        left: dict[str, int | None] = dict.fromkeys(names, limit)

        def work(block: DataFrame) -> DataFrame:
            made = block[names].copy(deep=False)
            for name in names:
                most = left[name]
                filled = fill(block[name], None if most is None else max(most, 1))
                made[name] = filled if most != 0 else block[name]
                left[name] = None if most is None else max(0, most - int(block[name].isna().sum()))
            return made

        return work

    refuse_categories(data, names, "filled")
    return computed(data, names, start, output)


def with_neighbours(
    data: Dataset, names: list[str], method: Literal["ffill", "bfill"], limit: int | None, output: Output
) -> DataFrame | Path:
    """Return the table with the last value that was there, or the next one, in gaps; in at most so many of each gap."""

    def start_onward(_: Blocks) -> Work:
        before: dict[str, Neighbour] = dict.fromkeys(names, NOBODY)

        def work(block: DataFrame) -> DataFrame:
            made = block[names].copy(deep=False)
            for name in names:
                made[name] = _filled(block[name], before[name], limit)
                before[name] = _last(block[name], before[name])
            return made

        return work

    def start_backward(blocks: Blocks) -> Work:
        after = _after(blocks(), names)
        number = -1

        def work(block: DataFrame) -> DataFrame:
            nonlocal number
            number += 1
            made = block[names].copy(deep=False)
            for name in names:
                neighbour = after[name].get(number, NOBODY)
                made[name] = _filled(block[name].iloc[::-1], neighbour, limit).iloc[::-1]
            return made

        return work

    refuse_categories(data, names, "filled")
    return computed(data, names, start_onward if method == "ffill" else start_backward, output)


Neighbour = tuple[list[Any], int]
"""The value nearest to a block's edge, outside of it (none: an empty list), and how many rows lie between them."""
NOBODY: Neighbour = ([], 0)


def _filled(column: Series[Any], neighbour: Neighbour, limit: int | None) -> Series[Any]:
    """Fill a block's gaps from the values before them, as `Series.ffill` would if the rows before were there."""
    import numpy as np
    import pandas as pd

    value, between = neighbour
    known = pd.Series(value, dtype=column.dtype)
    filled: Series[Any] = pd.concat([known, column]).ffill().iloc[len(value) :]
    if limit is None:
        return filled
    there = column.notna().to_numpy()
    places = np.arange(len(column))
    last = np.maximum.accumulate(np.where(there, places, -1))
    away = np.where(last >= 0, places - last, places + 1 + between)
    return filled.where(away <= limit)


def _last(column: Series[Any], neighbour: Neighbour) -> Neighbour:
    """Return what the next block's gaps are filled from."""
    import numpy as np

    there = np.flatnonzero(column.notna())
    if not len(there):
        return neighbour[0], neighbour[1] + len(column)
    return [column.iloc[there[-1]]], len(column) - 1 - int(there[-1])


def _after(blocks: Iterator[DataFrame], names: list[str]) -> dict[str, dict[int, Neighbour]]:
    """Return the next values after blocks that end in a gap, by column and by the block's number."""
    import numpy as np

    found: dict[str, dict[int, Neighbour]] = {name: {} for name in names}
    waiting: dict[str, list[tuple[int, int]]] = {name: [] for name in names}  # numbers, and where their rows end
    before = 0
    for number, block in enumerate(blocks):
        for name in names:
            column = block[name]
            there = np.flatnonzero(column.notna())
            if len(there):
                value, first = column.iloc[there[0]], before + int(there[0])
                found[name] |= {each: ([value], first - end) for each, end in waiting[name]}
                waiting[name].clear()
            if not len(there) or there[-1] < len(column) - 1:
                waiting[name].append((number, before + len(column)))
        before += len(block)
    return found
