"""A table of 3 GB in a slot of 1 GB: converted, filtered, grouped, sorted and profiled; a full sheet (`make large`)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import python_calamine

import workbench as wb
from tests.support import wait_until
from workbench import samples

pytestmark = pytest.mark.slow

GIGABYTE = 10**9
SIZE = int(os.environ.get("WORKBENCH_LARGE_SIZE", 3 * GIGABYTE))
PATIENCE = 1500.0
MOST = {"data.sort": 0.8}
"""The part of its slot's memory that an operation may take at most, where that is less than all."""


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return pd.read_csv(samples.flights(tmp_path_factory.mktemp("flights")))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def repeated(shared: Path) -> tuple[Path, int]:
    """The flights, so often that they make up 3 GB, and how often that is."""
    header, _, rows = samples.flights(shared).read_bytes().partition(b"\n")
    times = -(-SIZE // len(rows))
    path = shared / "repeated.csv"
    with path.open("wb") as file:
        file.write(header + b"\n")
        for _ in range(times):
            file.write(rows)
    return path, times


@pytest.fixture(scope="module")
def client(shared: Path) -> Iterator[wb.Client]:
    """A client of a cluster with one worker for data, of one slot that may use a gigabyte."""
    with wb.LocalCluster(workers=1, families=["image"]) as cluster, cluster.client() as client:
        environ = {**os.environ, **cluster.settings.as_environ(), "PYTHONPATH": str(Path.cwd())}
        environ["WORKBENCH_ROOTS"] = str(shared)
        options = ["--memory-limit", "1GB", "--slots", "1", "--name", "small"]
        command = [sys.executable, "-m", "workbench", "worker", "data", "convert", *options]
        worker = subprocess.Popen(command, env=environ)
        try:
            wait_until(lambda: any(w.worker == "small" for w in asyncio.run(client.workbench()).workers))
            yield client
        finally:
            worker.terminate()
            assert worker.wait(30) == 0


def done(client: wb.Client, operation: str, *args: object, **kwargs: object) -> object:
    """Return a task's result, once its record says that it stayed within the slot's memory."""
    began = time.monotonic()
    task = client.submit(operation, *args, **kwargs)
    result = task.result(PATIENCE)
    seconds = time.monotonic() - began
    wait_until(lambda: task.status().peak_memory is not None)
    status = task.status()
    assert status.attempt == 1
    peak = status.peak_memory or 0
    print(f"{operation}: {seconds:.0f} s, at most {peak / 1e6:,.0f} MB; {status.notes}", flush=True)
    assert peak < GIGABYTE * MOST.get(operation, 1)
    return result


def ref(path: Path) -> wb.FileRef:
    """Refer to a file where it is, as it lies below the worker's roots."""
    return wb.FileRef(str(path), path.name, path.stat().st_size)


def test_it_is_converted(client: wb.Client, repeated: tuple[Path, int], shared: Path, flights: pd.DataFrame) -> None:
    path, times = repeated
    done(client, "convert.table", ref(path), "parquet", output=str(shared / "repeated.parquet"))
    assert pq.read_metadata(shared / "repeated.parquet").num_rows == times * len(flights)


def test_it_is_filtered(client: wb.Client, repeated: tuple[Path, int], flights: pd.DataFrame) -> None:
    path, times = repeated
    found = done(client, "data.filter", ref(path), [("carrier", "==", "HA"), ("distance", ">", 2000)])
    assert isinstance(found, pd.DataFrame)
    expected = flights[(flights["carrier"] == "HA") & (flights["distance"] > 2000)]
    assert len(found) == times * len(expected)
    first = found.iloc[: len(expected)]
    assert first.index.tolist() == expected.index.tolist()
    assert first["flight"].tolist() == expected["flight"].tolist()


def test_it_is_grouped(client: wb.Client, repeated: tuple[Path, int], flights: pd.DataFrame) -> None:
    path, times = repeated
    agg = {"arr_delay": ["mean", "median", "count"], "tailnum": ["nunique"]}
    found = done(client, "data.groupby", ref(path), ["carrier", "month"], agg)
    expected = flights.groupby(["carrier", "month"]).agg(agg)
    expected[("arr_delay", "count")] *= times
    pd.testing.assert_frame_equal(found, expected)


def test_it_is_sorted(client: wb.Client, repeated: tuple[Path, int], shared: Path, flights: pd.DataFrame) -> None:
    path, times = repeated
    found = done(client, "data.sort", ref(path), ["arr_delay", "carrier"])
    assert isinstance(found, wb.FileRef)
    expected = flights.sort_values(["arr_delay", "carrier"], kind="stable")
    with pq.ParquetFile(found.path) as file:
        assert file.metadata.num_rows == times * len(flights)
        head = next(file.iter_batches(times * 10)).to_pandas()
    assert head["arr_delay"].tolist() == [delay for delay in expected["arr_delay"].head(10) for _ in range(times)]


def test_it_is_profiled(client: wb.Client, repeated: tuple[Path, int], flights: pd.DataFrame) -> None:
    path, times = repeated
    found = done(client, "data.profile", ref(path))
    assert isinstance(found, pd.DataFrame)
    assert (found["count"] == flights.count() * times).all()
    assert found["unique"].tolist() == flights.nunique().tolist()
    for name in ("arr_delay", "distance"):
        for share, column in ((0.25, "25%"), (0.5, "50%"), (0.75, "75%")):
            assert found.loc[name, column] == flights[name].quantile(share)


SHEET = 1_048_576
"""Rows of a sheet of Excel, its header among them."""


def numbered(path: Path, rows: int) -> wb.FileRef:
    """Write a table of rows that are numbers, and text that looks like a formula."""
    numbers = pa.array(range(rows), pa.int32())
    formulas = pa.array([f"={number}+1" for number in range(rows)])
    pq.write_table(pa.table({"number": numbers, "formula": formulas}), path)
    return ref(path)


def test_a_sheet_holds_as_many_rows_as_excel_does_and_reads_back(client: wb.Client, shared: Path) -> None:
    source = numbered(shared / "full.parquet", SHEET - 1)
    full = shared / "full.xlsx"
    done(client, "convert.table", source, "xlsx", output=str(full))

    sheet = python_calamine.CalamineWorkbook.from_path(str(full)).get_sheet_by_index(0)
    rows = sheet.iter_rows()
    assert next(rows) == ["number", "formula"]
    assert all(row == [number, f"={number}+1"] for number, row in enumerate(rows))
    assert sum(1 for _ in sheet.iter_rows()) == SHEET

    done(client, "convert.table", ref(full), "parquet", output=str(shared / "back.parquet"))
    assert pq.read_metadata(shared / "back.parquet").num_rows == SHEET - 1


def test_a_row_more_than_a_sheet_holds_is_refused_with_the_cure_and_leaves_nothing(
    client: wb.Client, shared: Path
) -> None:
    source = numbered(shared / "over.parquet", SHEET)
    (out := shared / "over").mkdir()
    task = client.submit("convert.table", source, "xlsx", output=str(out / "over.xlsx"))
    with pytest.raises(wb.TaskFailed, match=r"a sheet holds 1,048,576 rows.*convert\.split with rows=1_000_000"):
        task.result(PATIENCE)
    assert not list(out.iterdir())
