"""How many short tasks a second go from one client through one worker and back, with everything on.

Everything: quorum queues, publisher confirms, a copy of each task to the tracker and its commits, child processes,
outcomes as events. Run it alone: `make benchmark`. It prints a line a round, the median, and what a task costs each
process. The machine's speed is in every number, so compare only what one run prints.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import psutil

import workbench as wb

sys.path.insert(0, str(Path(__file__).parent))

import noop_operations  # noqa: F401


def one_round(client: wb.Client, count: int) -> dict[str, float]:
    """Submit `count` tasks, wait for all results and records; return tasks a second up to each of these."""
    before = asyncio.run(client.stats())["succeeded"]
    start = time.perf_counter()
    group = client.map("bench.noop", range(count))
    submitted = time.perf_counter()
    results = group.results(timeout=300)
    returned = time.perf_counter()
    assert results == list(range(count)), "a result is wrong"
    while asyncio.run(client.stats())["succeeded"] - before < count:
        time.sleep(0.01)
    recorded = time.perf_counter()
    return {
        "submitted": count / (submitted - start),
        "returned": count / (returned - start),
        "recorded": count / (recorded - start),
    }


def cpu_seconds(cluster: wb.LocalCluster) -> dict[str, float]:
    """Return the processor time each process has used so far, user and system, its children included."""
    used = {}
    for name, pid in {**cluster.processes(), "client": os.getpid()}.items():
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)] if name.startswith("worker") else [process]
        for member in family:
            label = name if member is process else f"{name}'s slots"
            used[label] = used.get(label, 0.0) + sum(member.cpu_times()[:2])
    return used


def main() -> int:
    """Print the rates; fail where the median is below what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--slots", type=int, default=2, help="of the one worker (default: %(default)s)")
    parser.add_argument("--at-least", type=float, default=0.0, help="exit with 1 where the median rate is lower")
    options = parser.parse_args()
    cluster = wb.LocalCluster(workers=1, slots=options.slots, families=["bench"], include=["noop_operations"])
    with cluster, cluster.client() as client:
        one_round(client, 1000)  # warms up
        before, rates = cpu_seconds(cluster), []
        for number in range(1, options.rounds + 1):
            rate = one_round(client, options.tasks)
            rates.append(rate["recorded"])
            stages = ", ".join(f"{name} {value:,.0f}/s" for name, value in rate.items())
            print(f"round {number}: {options.tasks:,} tasks: {stages}", flush=True)
        after = cpu_seconds(cluster)
    median = statistics.median(rates)
    print(f"median: {median:,.0f} tasks/s submitted, run, returned and recorded")
    total = options.tasks * options.rounds
    costs = {name: (after[name] - before.get(name, 0.0)) / total * 1e6 for name in after}
    print("processor time a task: " + ", ".join(f"{name} {cost:,.0f} µs" for name, cost in costs.items() if cost >= 1))
    return 0 if median >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
