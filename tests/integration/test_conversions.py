"""Conversions in real workers: folders, globs and partitions, and what a worker leaves that is killed as it writes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.dataset
import pytest
from PIL import Image

import workbench as wb
from tests.support import is_alive, wait_until
from workbench.core.errors import InputNotFound
from workbench.core.messages import Status
from workbench.core.states import State
from workbench.local import control
from workbench.operations import convert
from workbench.values.refs import FileRef

PATIENCE = 120.0
ROWS = 2_000_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Path]:
    """A workbench of one worker and one slot, which may write below `shared`."""
    directory = tmp_path_factory.mktemp("workbench")
    control.up(directory, workers={"convert": 1}, slots=1, roots=[shared])
    yield directory
    control.down(directory)


@pytest.fixture
def client(directory: Path) -> Iterator[wb.Client]:
    with wb.Client(directory=directory) as client:
        yield client


@pytest.fixture
def folder(shared: Path, request: pytest.FixtureRequest) -> Path:
    folder = shared / request.node.name
    folder.mkdir()
    return folder


# --- many files ---------------------------------------------------------------------------------------


def test_a_folder_is_converted_and_what_is_wrong_with_one_file_is_told_of_that_one(
    client: wb.Client, folder: Path
) -> None:
    source, out = folder / "in", folder / "out"
    (source / "deep").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "deep/c.csv"):
        (source / name).write_text("x,y\n1,one\n2,two\n")
    (source / "broken.csv").write_text("x,y\n1,one\n1,2,3\n")
    task = client.submit("convert.batch", source, out, "parquet", pattern="**/*.csv")

    told = task.result(PATIENCE)
    assert told["file"].tolist() == ["a.csv", "b.csv", "broken.csv", "deep/c.csv"]
    assert told["status"].tolist() == ["converted", "converted", "failed", "converted"]
    assert "line 3" in told.loc[2, "error"]
    assert told["error"].notna().tolist() == [False, False, True, False]
    assert told["output"].dropna().tolist() == [str(out / f"{name}.parquet") for name in ("a", "b", "deep/c")]
    for path in told["output"].dropna():
        assert pd.read_parquet(path)["y"].tolist() == ["one", "two"]
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "a.parquet",
        "b.parquet",
        "deep/c.parquet",
    ]
    wait_until(lambda: task.status().state is State.SUCCEEDED)


def test_a_folder_of_pictures_is_converted_but_for_the_one_that_is_none(client: wb.Client, folder: Path) -> None:
    (source := folder / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.linear_gradient("L").save(source / name)
    (source / "broken.png").write_bytes((source / "a.png").read_bytes()[:200])

    told = client.submit("convert.batch", source, folder / "out", "webp").result(PATIENCE).set_index("file")
    assert told["status"].to_dict() == {"a.png": "converted", "b.png": "converted", "broken.png": "failed"}
    assert "broken.png" in told.loc["broken.png", "error"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.webp", "b.webp"]


def test_the_files_of_a_glob_become_one_in_the_order_of_their_names(
    client: wb.Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (10, 1, 2):
        (folder / f"part-{number:02}.csv").write_text(f"x\n{number}\n")
    (folder / "other.csv").write_text("z\n0\n")
    monkeypatch.chdir(folder)

    made = client.submit("convert.concat", "part-*.csv", "parquet", output="whole.parquet").result(PATIENCE)
    assert made.path == folder / "whole.parquet"
    assert pd.read_parquet("whole.parquet")["x"].tolist() == [1, 2, 10]

    listed = client.submit("convert.concat", ["part-10.csv", Path("part-0*.csv")], "csv").result(PATIENCE)
    assert listed.path.read_text() == "x\n10\n1\n2\n"
    with pytest.raises(InputNotFound, match=r"no file matches none-\*\.csv"):
        client.submit("convert.concat", "none-*.csv", "parquet")
    (folder / "part-03.csv").write_text("y\n3\n")
    with pytest.raises(wb.TaskFailed, match="differ in the columns"):
        client.submit("convert.concat", "part-*.csv", "parquet").result(PATIENCE)


def test_one_table_becomes_a_directory_of_partitions_and_a_second_one_is_refused(
    client: wb.Client, folder: Path
) -> None:
    frame = pd.DataFrame({"n": range(9), "year": [2013, 2014, 2015] * 3, "place": ["a/b", "c", "c"] * 3})
    frame.to_csv(folder / "t.csv", index=False)
    by = {"partition_by": ["year", "place"], "output": folder / "out"}

    made = client.submit("convert.partition", folder / "t.csv", **by).result(PATIENCE)
    places = ["year=2013/place=a%2Fb", "year=2014/place=c", "year=2015/place=c"]
    assert list(made) == [f"{place}/t.parquet" for place in places]
    assert {str(file.path) for file in made.values()} == {str(folder / "out" / place) for place in made}
    read = pyarrow.dataset.dataset(folder / "out", partitioning="hive").to_table().to_pandas()
    assert read.sort_values("n")[["n", "year", "place"]].to_numpy().tolist() == frame.to_numpy().tolist()

    with pytest.raises(wb.TaskFailed, match="is there already"):
        client.submit("convert.partition", folder / "t.csv", overwrite="error", **by).result(PATIENCE)


# --- killed in the middle -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(shared: Path) -> Path:
    path = shared / "large.csv"
    with path.open("w") as file:
        file.write("number,text\n")
        file.writelines(f"{number},some text of row {number}\n" for number in range(ROWS))
    return path


@pytest.fixture(scope="module")
def expected(large: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = tmp_path_factory.mktemp("expected") / "large.jsonl"
    return convert.table(FileRef(str(large), "large.csv"), "jsonl", output=str(made)).read_bytes()


def writers(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield files in the making in a directory, a part of which is written, and the processes that write them."""
    for part in directory.glob(".*.part"):
        if part.stat().st_size < 1 << 20:
            continue
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):  # gone, or another user's
                if link.readlink() == part:
                    yield part, int(link.parts[2])


@pytest.mark.parametrize("victim", ["slot", "worker"])
def test_an_output_whose_writer_is_killed_is_absent_and_then_complete_and_nothing_is_left_beside_it(
    client: wb.Client, directory: Path, folder: Path, large: Path, expected: bytes, victim: str
) -> None:
    target = folder / "large.jsonl"
    task = client.submit("convert.table", large, "jsonl", output=target)
    found: list[tuple[Path, int]] = []
    wait_until(lambda: found or found.extend(writers(folder)), timeout=PATIENCE, what="it is in the middle of writing")
    part, writer = found[0]
    state = control.status(directory)
    assert state is not None
    with part.open("rb") as half:  # which the next attempt may remove any moment
        os.kill(writer if victim == "slot" else state.processes["worker-convert-1"], signal.SIGKILL)
        wait_until(lambda: not is_alive(writer), what="the writer is dead")
        assert not target.exists()
        assert os.fstat(half.fileno()).st_size < len(expected)  # in the middle, indeed

    def over() -> bool:
        done = task.status().state is State.SUCCEEDED  # looked at first, so that the file is looked at once more
        if target.exists():
            assert target.read_bytes() == expected
        assert task.status().state is not State.FAILED
        return done

    wait_until(over, timeout=PATIENCE)
    assert list(folder.iterdir()) == [target]
    ends = [each.outcome.status for each in task.attempts() if each.outcome is not None]
    assert ends == ([Status.RETRY, Status.SUCCEEDED] if victim == "slot" else [Status.SUCCEEDED])
