"""Operations on tables of which neither rows nor groups fit into the memory that DuckDB may take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InputTooLarge
from workbench.operations import context
from workbench.operations.data import duck, groups, joins, results, rows, shapes, statistics

ROWS = 1_000_000
MEMORY = 48 * 1024**2
"""Bytes for DuckDB's buffers. A hash table of a million keys takes up more."""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(7)
    keys = random.permutation(ROWS)
    return pd.DataFrame({"k": keys, "x": random.normal(size=ROWS), "t": "row " + pd.Series(keys // 2).astype("str")})


@pytest.fixture(scope="module")
def path(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("spilt") / "rows.parquet"
    frame.to_parquet(path, index=False)
    return str(path)


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[context.Attempt]:
    """An attempt with next to no memory, whose results come back as frames all the same."""
    monkeypatch.setattr(duck, "LEAST_MEMORY", MEMORY)
    monkeypatch.setattr(results, "RESULT_SHARE", 1e3)
    attempt = context.Attempt(memory_limit=1_000_000)
    with context.attempt(tmp_path / "scratch", None, attempt):
        yield attempt
    assert attempt.notes["engine"].startswith("duckdb: ")
    assert list((tmp_path / "scratch").iterdir()) == []  # what it spilt, too, is gone


def test_quantiles(frame: pd.DataFrame, path: str, attempt: context.Attempt):
    found = statistics.quantile(path, [0.1, 0.5], columns=["k", "x"])
    assert_frame_equal(found, frame[["k", "x"]].quantile([0.1, 0.5]), rtol=1e-12)


def test_duplicates(frame: pd.DataFrame, path: str, attempt: context.Attempt):
    assert_frame_equal(rows.drop_duplicates(path, "t"), frame.drop_duplicates("t"), check_index_type=False)


def test_joins(frame: pd.DataFrame, path: str, attempt: context.Attempt):
    assert_frame_equal(joins.merge(path, path, on=["k", "t"]), frame.merge(frame, on=["k", "t"]))


def test_pivot_tables(frame: pd.DataFrame, path: str, attempt: context.Attempt, monkeypatch: pytest.MonkeyPatch):
    few = frame.assign(c=frame["k"] % 2)
    few.to_parquet(Path(path).with_name("few.parquet"), index=False)
    monkeypatch.setattr("workbench.operations.data.columns.CELL", 0.01)  # the result may be as large as it is
    found = shapes.pivot_table(str(Path(path).with_name("few.parquet")), "x", "t", "c", "sum")
    assert_frame_equal(found, few.pivot_table("x", "t", "c", "sum"))


@pytest.mark.parametrize(
    "work",
    [
        lambda path: groups.groupby(path, "k", {"x": "sum"}),
        lambda path: groups.value_counts(path, "t"),
        lambda path: shapes.pivot_table(path, "x", "k", "t", "sum"),
    ],
)
def test_more_groups_than_fit_in_memory_are_refused_with_the_cure(
    work, path: str, attempt: context.Attempt, monkeypatch
):
    monkeypatch.setattr(results, "RESULT_SHARE", 1)
    with pytest.raises(InputTooLarge, match=r"the groups take up more than .*1.*MB.*fewer distinct.*data\.sql"):
        work(path)
