"""`convert.partition` and `convert.batch`: one table into a directory of files, and a folder into another one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from PIL import Image

from workbench.core.errors import InputNotFound, InvalidArguments, PathRefused, SoftTimeLimit
from workbench.operations import context, partitions
from workbench.operations.convert import batch, folder, partition
from workbench.values.files import Files
from workbench.values.refs import FileRef

ROWS = {
    "n": list(range(8)),
    "year": [2013, 2014, 2013, None, 2013, 2014, 2013, 2014],
    "place": ["a/b", "c", "a/b", "c", "", "c", "=x", "c"],
    "day": [date(2013, 1, 1)] * 4 + [None] * 4,
}


def ref(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


@pytest.fixture
def told(tmp_path: Path):
    """How far the attempt says it is."""
    told: list[tuple[float, str]] = []
    with context.attempt(tmp_path / "scratch", None, context.Attempt(tell=lambda *each: told.append(each))):
        yield told


@pytest.fixture(autouse=True)
def _scratch(told: list):
    """Every test runs in an attempt."""


@pytest.fixture
def source(tmp_path: Path) -> FileRef:
    pq.write_table(pa.table(ROWS), tmp_path / "t.parquet", row_group_size=3)
    return ref(tmp_path / "t.parquet")


# --- partitions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["parquet", "feather", "orc"])
def test_a_partitioned_table_reads_back_as_one_dataset(tmp_path: Path, source: FileRef, to: str):
    made = partition(source, ["year", "place"], to=to, output=str(tmp_path / "out"))
    assert list(made) == sorted(made)
    assert set(made) == {
        f"year=2013/place=a%2Fb/t.{to}",
        f"year=2014/place=c/t.{to}",
        f"year=__HIVE_DEFAULT_PARTITION__/place=c/t.{to}",
        f"year=2013/place=__HIVE_DEFAULT_PARTITION__/t.{to}",
        f"year=2013/place=%3Dx/t.{to}",
    }
    assert all(path == tmp_path / "out" / place for place, path in made.items())
    found = pyarrow.dataset.dataset(tmp_path / "out", format=to, partitioning="hive").to_table().sort_by("n")
    expected = ROWS | {"place": [place or None for place in ROWS["place"]]}
    assert {name: found[name].to_pylist() for name in expected} == expected


def test_partitions_without_an_output_are_files_of_the_result(tmp_path: Path, source: FileRef):
    made = partition(source, ["year"], to="jsonl")
    assert list(made) == ["year=2013/t.jsonl", "year=2014/t.jsonl", "year=__HIVE_DEFAULT_PARTITION__/t.jsonl"]
    assert all(path.is_relative_to(tmp_path / "scratch") for path in made.values())
    assert [len(pd.read_json(path, lines=True)) for path in made.values()] == [4, 3, 1]


def test_rows_keep_their_order_however_often_they_are_flushed(
    tmp_path: Path, source: FileRef, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(partitions, "GATHERED", 1)
    made = partition(source, ["year"])
    assert [pq.read_table(path)["n"].to_pylist() for path in made.values()] == [[0, 2, 4, 6], [1, 5, 7], [3]]


def test_partitions_that_cannot_be_are_refused(tmp_path: Path, source: FileRef, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidArguments, match="no column 'x'"):
        partition(source, ["x"])
    with pytest.raises(InvalidArguments, match="leaves no column"):
        partition(source, list(ROWS))
    for by in ([], ["n", "n"]):
        with pytest.raises(InvalidArguments, match="one or more different"):
            partition(source, by)
    monkeypatch.setattr(partitions, "MOST", 3)
    with pytest.raises(InvalidArguments, match="more than 3 partitions"):
        partition(source, ["n"], output=str(tmp_path / "out"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_partition_that_is_there_is_replaced_or_refused(tmp_path: Path, source: FileRef):
    out = str(tmp_path / "out")
    partition(source, ["year"], to="csv", output=out)
    partition(source, ["year"], to="csv", output=out)
    with (
        context.attempt(tmp_path / "another"),
        pytest.raises(InvalidArguments, match=r"year=2013/t\.csv is there already"),
    ):
        partition(source, ["year"], to="csv", output=out, overwrite="error")


# --- folders --------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    (place / "below").mkdir(parents=True)
    (place / "a.csv").write_text("x\n1\n")
    (place / "b.jsonl.gz").write_bytes(b"rubbish")
    (place / "c.txt").write_text("x")
    (place / ".hidden.csv").write_text("x\n1\n")
    (place / "below" / "a.csv").write_text("y\n2\n")
    return place


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, tables: Path, told: list):
    made = batch(str(tables), str(tmp_path / "out"), "parquet", pattern="**/*", compression="zstd")
    assert made["file"].tolist() == ["a.csv", "b.jsonl.gz", "below/a.csv", "c.txt"]
    assert made["status"].tolist() == ["converted", "failed", "converted", "failed"]
    assert [Path(path).relative_to(tmp_path / "out").as_posix() for path in made["output"].dropna()] == [
        "a.parquet",
        "below/a.parquet",
    ]
    assert "can't be unzipped" in made["error"][1]
    assert "Known extensions" in made["error"][3]
    assert pd.isna(made["error"][0])
    assert pq.read_table(tmp_path / "out" / "below" / "a.parquet").to_pydict() == {"y": [2]}
    assert told[0] == (0.0, "a.csv (1 of 4)")
    assert told[-1] == (1.0, "2 converted, 2 failed")


def test_pictures_are_converted_as_well(tmp_path: Path):
    place = tmp_path / "in"
    place.mkdir()
    Image.new("RGBA", (8, 8)).save(place / "a.png")
    (place / "b.png").write_bytes(b"no picture")
    for overwrite, error in (("error", None), ("replace", None), ("error", "is there already")):
        with context.attempt(tmp_path / f"another {overwrite} {error}"):
            made = batch(str(place), str(tmp_path / "out"), "jpeg", quality=50, overwrite=overwrite)
        assert made["status"].tolist() == ["failed" if error else "converted", "failed"]
        assert error is None or error in made["error"][0]
    with Image.open(tmp_path / "out" / "a.jpeg") as image:
        assert image.size == (8, 8)


def test_two_files_never_become_one(tmp_path: Path, tables: Path):
    (tables / "a.jsonl").write_text('{"x": 5}\n')
    made = batch(str(tables), str(tmp_path / "out"), "csv", pattern="a.*")
    assert made["status"].tolist() == ["converted", "failed"]
    assert made["error"][1].startswith("a.csv has become a.csv already")


def test_a_folder_inside_the_folder_takes_the_results_and_is_no_input(tables: Path):
    for _ in range(2):
        made = batch(str(tables), str(tables / "new"), "csv", pattern="**/*.csv")
        assert made["file"].tolist() == ["a.csv", "below/a.csv"]


def test_links_and_patterns_that_lead_out_of_the_folder_are_refused(tmp_path: Path, tables: Path):
    (tmp_path / "secret.csv").write_text("s\n1\n")
    (tables / "link.csv").symlink_to(tmp_path / "secret.csv")
    made = batch(str(tables), str(tmp_path / "out"), "jsonl", pattern="*.csv")
    assert made["status"].tolist() == ["converted", "failed"]
    assert "leads out of the folder" in made["error"][1]
    for pattern in ("../*", "/etc/*", ""):
        with pytest.raises(InvalidArguments, match="leads out of the folder"):
            batch(str(tables), str(tmp_path / "out"), "jsonl", pattern=pattern)
    with pytest.raises(InvalidArguments, match="is the folder itself"):
        batch(str(tables), str(tables), "jsonl")
    with pytest.raises(InputNotFound, match="holds no file that matches"):
        batch(str(tables), str(tmp_path / "out"), "jsonl", pattern="*.orc")
    with pytest.raises(InputNotFound, match="isn't there"):
        batch(str(tmp_path / "no"), str(tmp_path / "out"), "jsonl")


def test_options_that_do_not_fit_the_format_are_refused(tmp_path: Path, tables: Path):
    for to, options in (
        ("csv", {"quality": 5}),
        ("csv", {"compression": "snappy"}),
        ("png", {"compression": "zstd"}),
        ("csv", {"overwrite": "append"}),
    ):
        with pytest.raises(InvalidArguments, match=next(iter(options))):
            batch(str(tables), str(tmp_path / "out"), to, **options)


def test_a_time_limit_is_no_files_fault(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch):
    def slow(*args: object, **options: object) -> None:
        raise SoftTimeLimit("over")

    monkeypatch.setattr(folder, "table", slow)
    with pytest.raises(SoftTimeLimit):
        batch(str(tables), str(tmp_path / "out"), "jsonl")


def test_a_directory_travels_as_a_path_below_a_root(tmp_path: Path):
    files = Files("", [str(tmp_path)])
    (tmp_path / "file").write_text("")
    assert files.directory_path(str(tmp_path)) == tmp_path
    assert files.directory_path(str(tmp_path / "new")) == tmp_path / "new"
    with pytest.raises(PathRefused, match="lies outside"):
        files.directory_path(str(tmp_path / ".." / "else"))
    with pytest.raises(PathRefused, match="is a file"):
        files.directory_path(str(tmp_path / "file"))
    with pytest.raises(InputNotFound, match="make it first"):
        files.directory_path(str(tmp_path / "no" / "new"))
