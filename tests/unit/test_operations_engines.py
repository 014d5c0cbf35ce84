"""Operations find the same with pandas as on disk, and choose by the slot's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.core.errors import InvalidArguments
from workbench.operations import context, datasets
from workbench.operations.data import derived, filters, groups, joins, rows, shapes, sql, statistics, summaries


@pytest.fixture
def streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An attempt in which nothing fits in memory."""
    monkeypatch.setattr(datasets, "FRAME_SHARE", 0)
    with context.attempt(tmp_path / "scratch", None, context.Attempt()):
        yield


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


LONG = 2**53


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda data, out: filters.filter(data, [("id", "in", [LONG + 3])], output=out), [LONG + 3]),
        (lambda data, out: filters.filter(data, [("id", ">", LONG)], output=out), [LONG + 1, LONG + 3]),
        (lambda data, out: derived.astype(data, {"id": "Int64"}, output=out), [LONG + 1, None, LONG + 3]),
        (lambda data, out: derived.assign(data, {"id": "id + 1"}, output=out), [LONG + 2, None, LONG + 4]),
        (lambda data, out: rows.sort(data, "id", output=out), [LONG + 1, LONG + 3, None]),
        (lambda data, out: sql.sql("SELECT id FROM t ORDER BY id NULLS LAST", t=data), [LONG + 1, LONG + 3, None]),
    ],
)
@pytest.mark.parametrize("written", [False, True])
def test_no_engine_loses_a_digit(tmp_path: Path, work, expected: list[int | None], written: bool):
    (tmp_path / "t.csv").write_text(f"id,g\n{LONG + 1},a\n,b\n{LONG + 3},a\n")
    with context.attempt(tmp_path / "scratch", None, context.Attempt()):
        found = work(tmp_path / "t.csv", str(tmp_path / "out.parquet") if written else None)
        ids = pq.read_table(found)["id"].to_pylist() if isinstance(found, Path) else found["id"]
    assert [None if pd.isna(each) else int(each) for each in ids] == expected


def test_whole_numbers_that_no_type_holds_together_are_refused(tmp_path: Path):
    pq.write_table(pa.table({"k": pa.array([2**63 + 5], pa.uint64())}), tmp_path / "u.parquet")
    pq.write_table(pa.table({"k": [7]}), tmp_path / "v.parquet")
    both = [tmp_path / "u.parquet", tmp_path / "v.parquet"]
    with context.attempt(tmp_path / "scratch", None, context.Attempt()):
        with pytest.raises(InvalidArguments, match=r"k.*uint64.*Convert one"):
            joins.concat(both, output=str(tmp_path / "out.parquet"))
        with pytest.raises(InvalidArguments, match=r"k \(uint64, and int64 with the others\)"):
            rows.head(both)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("by", ["v", "size", ["kind", "size"]])
@pytest.mark.parametrize("ascending", [False, True])
def test_sorting_knows_the_order_of_categories(tmp_path: Path, streaming, by, ordered: bool, ascending: bool):
    sizes = pd.CategoricalDtype(["S", "M", "it's L", "XL"], ordered=ordered)
    words = pd.Series(["S", "it's L", None, "M", "S"] * 50, dtype=sizes)
    frame = pd.DataFrame({"size": words, "v": np.arange(250) % 90})
    frame["kind"] = pd.Categorical(["b", "a"] * 125)
    frame["none"] = pd.Categorical([None] * 250, categories=["z"], ordered=ordered)
    frame["year"] = pd.Categorical([2025, 2024] * 125, categories=[2025, 2024], ordered=ordered)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=60)
    expected = rows.sort(frame, by, ascending=ascending)

    found = rows.sort(str(tmp_path / "t.parquet"), by, ascending=ascending)
    rows.sort(frame, by, ascending=ascending, output=str(tmp_path / "out.parquet"))
    written = pd.read_parquet(tmp_path / "out.parquet")

    stored = expected.astype({"year": "int64"})  # Parquet has categories of text only
    pd.testing.assert_frame_equal(found, stored)
    pd.testing.assert_frame_equal(written, stored.reset_index(drop=True))


def test_sorting_knows_categories_that_come_later(tmp_path: Path, streaming, monkeypatch):
    for name, words in (("a", ["b", "a", "b"]), ("b", ["c", "a", "d"])):
        kinds = pd.Categorical(words, categories=list(dict.fromkeys(words)))
        pd.DataFrame({"kind": kinds, "v": [3, 1, 2]}).to_parquet(tmp_path / f"{name}.parquet")
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    found = rows.sort(paths, "kind")
    assert found["kind"].tolist() == ["b", "b", "a", "a", "c", "d"]
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "FRAME_SHARE", 1)
        pd.testing.assert_frame_equal(found, rows.sort(paths, "kind"))


@pytest.mark.parametrize("name", ["t", None])
def test_an_index_that_is_stored_is_no_column(tmp_path: Path, streaming, monkeypatch, name: str | None):
    path, output = str(tmp_path / "t.parquet"), tmp_path / "out.parquet"
    frame = pd.DataFrame({"v": [3, 1], "w": [1.5, 2.5]}, index=pd.date_range("2024-01-01", periods=2, name=name))
    frame.to_parquet(path)
    for ignore_index in (True, False):
        expected = frame.sort_values("v", ignore_index=ignore_index)
        pd.testing.assert_frame_equal(rows.sort(path, "v", ignore_index=ignore_index), expected, check_freq=False)
        for data in (frame, path):
            rows.sort(data, "v", ignore_index=ignore_index, output=str(output))
            pd.testing.assert_frame_equal(pd.read_parquet(output), expected, check_freq=False)
    found = [summaries.profile(path), summaries.describe(path), summaries.describe(path, include="all")]
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "FRAME_SHARE", 1)
        known = [summaries.profile(path), summaries.describe(path), summaries.describe(path, include="all")]
    for one, other in zip(found, known, strict=True):
        pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_a_table_that_is_only_an_index_is_not_described(tmp_path: Path, streaming):
    pd.DataFrame(index=pd.Index(["a"], name="t")).to_parquet(tmp_path / "t.parquet")
    for describe in (summaries.profile, summaries.describe):
        with pytest.raises(InvalidArguments, match="no columns"):
            describe(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize("fits", [False, True])
def test_rows_are_sorted_by_columns_that_are_not_named_by_text(tmp_path: Path, streaming, monkeypatch, fits: bool):
    monkeypatch.setattr(datasets, "FRAME_SHARE", int(fits))
    several = pd.DataFrame({("a", "x"): [2, 1], ("a", "y"): [3, 4]})
    several.to_parquet(tmp_path / "several.parquet")
    numbered = pd.DataFrame({2024: [2, 1, 1], 2025: [3, 4, 4]}, index=["p", "q", "r"])
    numbered.to_parquet(tmp_path / "numbered.parquet")
    found = rows.sort(str(tmp_path / "several.parquet"), "('a', 'x')")
    pd.testing.assert_frame_equal(found, several.iloc[::-1])
    for call in (groups.value_counts, lambda data, by: groups.groupby(data, by, {"x": "sum"})):
        with pytest.raises(InvalidArguments, match=r"whose name is text.* of type tuple"):
            call(str(tmp_path / "several.parquet"), "('a', 'x')")
    for data in (numbered, str(tmp_path / "numbered.parquet")):
        rows.sort(data, "2024", output=str(tmp_path / "out.parquet"))
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), numbered.iloc[[1, 2, 0]])
        pd.testing.assert_frame_equal(rows.sort(data, ["2025", "2024"]), numbered)
        pd.testing.assert_frame_equal(rows.drop_duplicates(data, "2025"), numbered.iloc[:2])


def test_what_is_left_of_a_column_with_gaps_loses_no_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "FRAME_SHARE", 0)
    (tmp_path / "t.csv").write_text(f"id\n{LONG + 1}\nNA\n{LONG + 3}\n")
    with context.attempt(tmp_path / "scratch", None, context.Attempt()):
        found = filters.filter(tmp_path / "t.csv", [("id", ">", LONG)])
    assert found["id"].tolist() == [LONG + 1, LONG + 3]
