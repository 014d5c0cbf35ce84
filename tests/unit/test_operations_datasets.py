"""Datasets: what they are made of, how they travel, which engine works on them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InputNotFound, InvalidArguments, PathRefused
from workbench.operations import context, datasets, registry, signature
from workbench.operations.data import groups
from workbench.operations.data.filters import filter as filter_rows
from workbench.operations.datasets import Dataset
from workbench.operations.tabular import NULLS
from workbench.values import arguments, codecs
from workbench.values.files import Files
from workbench.values.refs import FileRef


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "shared").mkdir()
    return Files(str(tmp_path / "store"), [str(tmp_path / "shared")])


def travelled(value: object, files: Files) -> Dataset:
    spec = signature.describe("data.look", look)
    args, _ = signature.bind(spec, [value], {}, lambda kind, each: arguments.to_wire(kind, each, files))
    there = [codecs.decode(codecs.encode(each, files), files) for each in args]
    (found,), _ = signature.bind(spec, there, {}, lambda kind, each: datasets.from_wire(kind, each, files))
    assert isinstance(found, Dataset)
    return found


def look(data: Dataset) -> int:
    return len(data.frame())


def test_the_operations_take_a_table_of_any_size():
    spec = registry.get("data.filter").spec
    assert spec.parameters[0].type.kind == "dataset"
    assert "of any size" in signature.type_text(spec.parameters[0].type)


def test_frames_paths_globs_and_lists_travel(files: Files, tmp_path: Path, monkeypatch):
    frame = pd.DataFrame({"x": [1, 2]})
    for number in (1, 2, 10):
        (tmp_path / "shared" / f"{number:02}.csv").write_text(f"x\n{number}\n")
    monkeypatch.chdir(tmp_path / "shared")

    assert_frame_equal(travelled(frame, files).frame(), frame)
    assert_frame_equal(travelled(pa.table({"x": [1, 2]}), files).frame(), frame)
    for value, expected in (
        ("01.csv", [1]),
        (tmp_path / "shared" / "02.csv", [2]),
        ("*.csv", [1, 2, 10]),
        ("**/0[12].csv", [1, 2]),
        (["10.csv", "01.csv"], [10, 1]),
        (["10.csv", Path("0?.csv")], [10, 1, 2]),
        (FileRef(str(tmp_path / "shared" / "01.csv"), "01.csv"), [1]),
    ):
        with context.attempt(tmp_path / "scratch", files.local_path):
            assert travelled(value, files).frame()["x"].tolist() == expected


def test_a_glob_that_matches_nothing_is_refused_where_it_is_submitted(files: Files, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputNotFound, match=r"no file matches \*.parquet"):
        travelled("*.parquet", files)


def test_what_is_no_table_is_refused(files: Files):
    for value, reason in ((3, "a table of any size"), ([], "at least one"), ([3], "a table of any size")):
        with pytest.raises(InvalidArguments, match=reason):
            travelled(value, files)


def test_a_file_outside_the_roots_is_refused_in_the_worker(files: Files):
    with pytest.raises(PathRefused):
        datasets.from_wire("dataset", ["/etc/passwd"], files)


def test_csv_is_read_as_pandas_reads_it(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(
        "i,f,maybe,t,when,none,b\n" + '1,1.5,1,"a,b",2013-01-01,,True\n2,inf,NA,n/a,2013-01-02,,False\n' * 9
    )

    expected = pd.read_csv(path, na_values=list(NULLS), keep_default_na=False)

    assert_frame_equal(Dataset.of(path).frame(), expected)


def test_a_later_row_that_contradicts_the_first_ones_widens_the_types(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("k,x\n" + "a,1\n" * 400_000 + "b,1.5\nc,2013-01-01\n")
    attempt = context.Attempt()
    with context.attempt(tmp_path / "scratch", None, attempt):
        frame = Dataset.of(path).frame()

    assert frame["x"].iloc[[0, -2, -1]].tolist() == ["1", "1.5", "2013-01-01"]
    assert "widened" in attempt.notes["types"]


def test_files_of_several_types_are_one_table(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x,y\n1,a\n")
    pd.DataFrame({"y": ["b"], "x": [1.5]}).to_parquet(tmp_path / "b.parquet")

    frame = Dataset.of([tmp_path / "a.csv", tmp_path / "b.parquet"]).frame()

    assert_frame_equal(frame, pd.DataFrame({"x": [1.0, 1.5], "y": ["a", "b"]}))


def test_the_engine_is_chosen_by_size_against_the_slots_memory_and_noted(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("k,x\n" + "a,1\nb,2\n" * 100_000)
    results = {}
    for limit, engine in ((200_000_000, "pandas"), (1_000_000, "duckdb")):
        attempt = context.Attempt(memory_limit=limit)
        with context.attempt(tmp_path / "scratch", None, attempt):
            results[engine] = groups.groupby(str(path), "k", {"x": "sum"})
        assert attempt.notes["engine"].startswith(f"{engine}: about 3.2 MB")
        assert os.listdir(tmp_path / "scratch") == [] if (tmp_path / "scratch").exists() else True  # noqa: PTH208
    assert_frame_equal(results["pandas"], results["duckdb"])


def test_a_parquet_file_counts_for_what_it_becomes_in_memory(tmp_path: Path):
    path = tmp_path / "same.parquet"
    pd.DataFrame({"x": [1] * 1_000_000}).to_parquet(path)

    assert path.stat().st_size < 100_000
    assert Dataset.of(path).size >= 8_000_000


def test_a_large_filter_checks_its_types_before_it_reads(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("k,x\n" + "a,1\nb,2\n" * 100_000)
    with context.attempt(tmp_path / "scratch", None, context.Attempt(memory_limit=1_000_000)):
        with pytest.raises(InvalidArguments, match="can't compare"):
            filter_rows(str(path), [("x", ">", "a")])
        with pytest.raises(InvalidArguments, match=r"'kk'.*'k'"):
            filter_rows(str(path), [("kk", "==", "a")])
        found = filter_rows(str(path), [("x", ">", 1)])
        assert isinstance(found, Path)  # a tenth of a megabyte is all that a frame may take up here
        assert pd.read_parquet(found)["x"].tolist() == [2] * 100_000
