"""How long a large frame takes to a worker and back, beside writing and reading it twice as an Arrow file.

Twice, as the frame goes two ways: from the notebook to the worker, and from the worker to the notebook. The worker
changes one cell, so that nothing is saved by the store having the bytes already. Run it alone:
`python benchmarks/frames.py`. The machine's speed is in every number, so compare only what one run prints.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather

import workbench as wb

sys.path.insert(0, str(Path(__file__).parent))

import frame_operations  # noqa: F401


def numbers(rows: int) -> pd.DataFrame:
    """Return floats, integers and moments: what Arrow takes without a copy."""
    chance = np.random.default_rng(0)
    data: dict[str, object] = {f"f{index}": chance.random(rows) for index in range(8)}
    data |= {f"i{index}": chance.integers(0, 1_000_000, rows) for index in range(4)}
    data["t"] = pd.Timestamp("2020") + pd.to_timedelta(chance.integers(0, 10**9, rows), unit="s")
    return pd.DataFrame(data)


def mixed(rows: int) -> pd.DataFrame:
    """Return numbers with texts and categories, as a table of flights has them."""
    chance = np.random.default_rng(1)
    texts = pd.Series([f"flight {number}" for number in range(1000)]).astype("str")
    frame = numbers(rows).iloc[:, :9]
    frame["text"] = texts.take(chance.integers(0, 1000, rows)).reset_index(drop=True)
    frame["more"] = texts.take(chance.integers(0, 1000, rows)).reset_index(drop=True)
    frame["kind"] = pd.Categorical(chance.choice(["a", "b", "c"], rows))
    return frame


def sized(make: Callable[[int], pd.DataFrame], megabytes: float) -> pd.DataFrame:
    """Return a frame of so many megabytes."""
    each = make(10_000).memory_usage(deep=True).sum() / 10_000
    return make(int(megabytes * 1e6 / each))


def by_hand(frame: pd.DataFrame, directory: Path) -> float:
    """Write and read the frame twice as an Arrow file; return the seconds."""
    start = time.perf_counter()
    for number in range(2):
        path = directory / f"{number}.arrow"
        pyarrow.feather.write_feather(pa.Table.from_pandas(frame), str(path), compression="uncompressed")
        back = pyarrow.feather.read_table(str(path)).to_pandas()
        if not number:
            back.iloc[0, 0] = number
    seconds = time.perf_counter() - start
    _emptied(directory)
    assert len(back) == len(frame)
    return seconds


def by_worker(frame: pd.DataFrame, client: wb.Client, number: int) -> float:
    """Send the frame to the worker and get it back; return the seconds."""
    start = time.perf_counter()
    back = client.submit("bench.touch", frame, number).result(300)
    seconds = time.perf_counter() - start
    _emptied(client.files.need_store().directory / "blake3")
    assert back.iloc[0, 0] == number
    assert back.shape == frame.shape
    return seconds


def _emptied(directory: Path) -> None:
    """Remove the files, so that each round finds the same memory for its own: a virtual machine's first use is slow."""
    for path in directory.rglob("*"):
        if path.is_file():
            path.unlink()


def main() -> int:
    """Print the seconds and their ratio; fail where the median ratio is above what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=300, help="of the frame in memory (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--at-most", type=float, default=1.5, help="exit with 1 where a ratio is above (%(default)s)")
    options = parser.parse_args()
    fine = True
    cluster = wb.LocalCluster(workers=1, slots=1, families=["bench"], include=["frame_operations"])
    with cluster, cluster.client() as client, tempfile.TemporaryDirectory(dir=cluster.directory) as directory:
        for make in (numbers, mixed):
            frame = sized(make, options.megabytes)
            by_worker(frame, client, -1)  # warms up
            by_hand(frame, Path(directory))
            ratios = []
            for number in range(1, options.rounds + 1):
                hand, worker = by_hand(frame, Path(directory)), by_worker(frame, client, number)
                ratios.append(worker / hand)
                print(f"{make.__name__} {number}: {hand:.2f} s by hand, {worker:.2f} s by a worker", flush=True)
            median = statistics.median(ratios)
            print(f"{make.__name__}: {options.megabytes:.0f} MB there and back in {median:.2f} times the time by hand")
            fine = fine and median <= options.at_most
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
