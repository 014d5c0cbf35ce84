"""Operations find the same with pandas as on disk, and choose by the slot's memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.operations import context
from workbench.operations.data import groups, joins, rows, shapes, statistics, summaries


@pytest.mark.parametrize(
    "work",
    [
        lambda data: rows.drop_duplicates(data, ["k"], keep="last"),
        lambda data: rows.drop_duplicates(data),
        lambda data: statistics.quantile(data, [0.1, 0.5]),
        lambda data: statistics.quantile(data, 0.3, columns="x", interpolation="nearest"),
        lambda data: joins.merge(data, pd.DataFrame({"k": [1, 2], "name": ["a", "b"]}), on="k", validate="m:1"),
        lambda data: joins.merge(data, data, "outer", left_on="x", right_on="x"),
        lambda data: shapes.pivot_table(data, "x", "k", "word", "max"),
        lambda data: shapes.pivot_table(data, ["x", "k"], "word", "few", {"x": "mean", "k": "count"}, fill_value=0),
    ],
)
@pytest.mark.parametrize("index", [False, True])
def test_both_engines_find_the_same(tmp_path: Path, work, index: bool):
    frame = pd.DataFrame({"k": np.arange(30_000) % 7, "x": np.arange(30_000.0), "few": np.arange(30_000) % 3})
    frame["word"] = pd.Series(["a", "b", "ä", "z"]).take(np.arange(30_000) % 4).to_numpy()
    if index:
        frame.index = pd.Index(np.arange(30_000) * 2, name="label")
    path = tmp_path / "t.parquet"
    frame.to_parquet(path, index=index)
    results = {}
    for limit, engine in ((200_000_000, "pandas"), (1_000_000, "duckdb")):
        attempt = context.Attempt(memory_limit=limit)
        with context.attempt(tmp_path / engine, None, attempt):
            found = work(str(path))
            results[engine] = found if isinstance(found, pd.DataFrame) else pd.read_parquet(found)
        assert attempt.notes["engine"].startswith(f"{engine}: about")
    pd.testing.assert_frame_equal(results["duckdb"], results["pandas"], check_dtype=False, check_index_type=False)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    "work",
    [
        lambda data: summaries.profile(data)[["count", "unique", "top", "freq"]],
        lambda data: summaries.describe(data, include="all"),
        lambda data: groups.groupby(data, ["size"], {"x": "sum"}),
        lambda data: groups.value_counts(data, "size"),
    ],
)
def test_both_engines_know_the_categories(tmp_path: Path, work, ordered: bool):
    words = np.array(["small"] * 3 + ["large"] * 2 + ["medium", None], dtype=object).take(np.arange(30_000) % 7)
    sizes = pd.Categorical(words, categories=["small", "medium", "large", "huge"], ordered=ordered)
    pd.DataFrame({"size": sizes, "x": np.arange(30_000.0)}).to_parquet(tmp_path / "t.parquet")
    results = {}
    for limit, engine in ((200_000_000, "pandas"), (600_000, "duckdb")):
        attempt = context.Attempt(memory_limit=limit)
        with context.attempt(tmp_path / engine, None, attempt):
            results[engine] = work(str(tmp_path / "t.parquet"))
        assert attempt.notes["engine"].startswith(f"{engine}: about")
    pd.testing.assert_frame_equal(
        pd.DataFrame(results["duckdb"]),
        pd.DataFrame(results["pandas"]),
        check_dtype=False,
        check_index_type=False,
        check_categorical=False,
    )
