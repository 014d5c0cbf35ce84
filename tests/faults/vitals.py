"""What processes use while they live: memory and open files, sampled each second, and whether either grows."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

import psutil

EVERY = 1.0
MIB = 2**20


class Sample(NamedTuple):
    """One look at a process."""

    at: float
    memory: int  # bytes, resident
    files: int  # open file descriptors
    threads: int


class Life(NamedTuple):
    """What is known of one process."""

    name: str
    pid: int
    samples: list[Sample]

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.samples[-1].at - self.samples[0].at

    def quarters(self) -> tuple[Sample, Sample]:
        """Return the medians of the second and of the last quarter of its life: the first is for warming up."""
        began, fourth = self.samples[0].at, self.seconds / 4
        second = [s for s in self.samples if began + fourth <= s.at < began + 2 * fourth]
        last = [s for s in self.samples if s.at >= began + 3 * fourth]
        return _median(second), _median(last)


def _median(samples: Iterable[Sample]) -> Sample:
    return Sample(*(round(statistics.median(column)) for column in zip(*samples, strict=True)))


class Vitals:
    """Samples from entering to leaving its context.

    Parameters
    ----------
    processes
        Returns the names and pids of the processes that are there. A process begins another life with each change of
        its name.
    families
        The names of those whose descendants are looked at, too.
    """

    def __init__(self, processes: Callable[[], Mapping[str, int]], *, families: Iterable[str] = ()) -> None:
        self._processes = processes
        self._families = frozenset(families)
        self._lives: dict[tuple[int, float], list[Life]] = {}  # a pid may be used again
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def lives(self, at_least: float) -> list[Life]:
        """Return those that lived for so many seconds, by name."""
        lives = itertools.chain.from_iterable(self._lives.values())
        return sorted(life for life in lives if len(life.samples) > 8 and life.seconds >= at_least)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            for name, pid in self._processes().items():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(pid)
                    self._look(name, process)
                    if name in self._families:
                        self._look_below(name, process)

    def _look_below(self, name: str, process: psutil.Process) -> None:
        for child in process.children():
            self._look(f"{name}/helper", child)
            for grandchild in child.children():
                self._look(f"{name}/slot", grandchild)

    def _look(self, name: str, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied), process.oneshot():
            sample = Sample(time.monotonic(), process.memory_info().rss, process.num_fds(), process.num_threads())
            lives = self._lives.setdefault((process.pid, process.create_time()), [])
            if not lives or lives[-1].name != name:
                lives.append(Life(name, process.pid, []))
            lives[-1].samples.append(sample)


def table(lives: Iterable[Life]) -> str:
    """Return the second and the last quarters of lives as text, with what they would grow by in an hour."""
    lines = [f"{'process':<16}{'pid':>8}{'lived':>8}{'memory, MiB':>18}{'MiB/h':>9}{'files':>13}{'threads':>11}"]
    for life in lives:
        second, last = life.quarters()
        grown = (last.memory - second.memory) / MIB / (last.at - second.at) * 3600
        lines.append(
            f"{life.name:<16}{life.pid:>8}{life.seconds:>6.0f} s{second.memory / MIB:>9.1f} →{last.memory / MIB:>7.1f}"
            f"{grown:>9.0f}{second.files:>7} →{last.files:>4}{second.threads:>6} →{last.threads:>3}"
        )
    return "\n".join(lines)
