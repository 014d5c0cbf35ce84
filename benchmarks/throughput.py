"""How many short tasks a second go from one client through one worker of two slots and back, with everything on.

Everything: quorum queues, publisher confirms, a copy to the tracker and its commits, child processes, outcomes as
events. Run it alone: `make benchmark`. It prints a line a round and the median; the machine's speed is in every number,
so compare only what one run prints.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import workbench as wb

sys.path.insert(0, str(Path(__file__).parent))

import noop_operations  # noqa: F401


def one_round(client: wb.Client, count: int) -> dict[str, float]:
    """Submit `count` tasks and wait for all results; return tasks a second of each stage."""
    before = asyncio.run(client.stats())["succeeded"]
    start = time.perf_counter()
    group = client.map("bench.noop", range(count))
    submitted = time.perf_counter()
    results = group.results(timeout=300)
    returned = time.perf_counter()
    assert results == list(range(count))
    while asyncio.run(client.stats())["succeeded"] - before < count:
        time.sleep(0.01)
    recorded = time.perf_counter()
    return {
        "submitted": count / (submitted - start),
        "returned": count / (returned - start),
        "recorded": count / (recorded - start),
    }


def main() -> int:
    """Print the rates; fail where the median is below what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--at-least", type=float, default=0.0, help="exit 1 where the median rate is lower")
    options = parser.parse_args()
    cluster = wb.LocalCluster(workers=1, slots=options.slots, families=["bench"], include=["noop_operations"])
    with cluster, cluster.client() as client:
        one_round(client, 1000)  # warms up
        rates = []
        for number in range(1, options.rounds + 1):
            rate = one_round(client, options.tasks)
            rates.append(rate["recorded"])
            stages = ", ".join(f"{name} {value:,.0f}/s" for name, value in rate.items())
            print(f"round {number}: {options.tasks:,} tasks: {stages}", flush=True)
    median = statistics.median(rates)
    print(f"median: {median:,.0f} tasks/s submitted, run, returned and recorded")
    return 0 if median >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
