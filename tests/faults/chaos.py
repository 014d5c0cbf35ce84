"""`Chaos`: faults drawn at random, one every few seconds, and `Supervisor`: starts again what dies of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Self

import psutil

from tests.faults.scene import lasting
from tests.support import is_alive, rabbitmqctl, wait_until
from workbench.broker.node import Node

PAUSE = 0.3  # until something that died is started again


class Supervisor:
    """Keeps processes and a node alive, from entering to leaving its context.

    Parameters
    ----------
    node
        Running.
    starts
        What starts each process, by name.
    """

    def __init__(self, node: Node, starts: Mapping[str, Callable[[], subprocess.Popen[bytes]]]) -> None:
        self.node = node
        self.deaths: list[tuple[str, int]] = []  # with the exit status
        self.failure: BaseException | None = None
        self._starts = dict(starts)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._dropped: set[str] = set()  # not to be started again
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(what,)) for what in (self._mend, self._mend_node)]

    def __enter__(self) -> Self:
        for name in self._starts:
            self._running[name] = self._starts[name]()
        self._ready.set()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """Return a process: of those that bore the name the latest."""
        return self._running[name]

    def pids(self) -> dict[str, int]:
        """Return the pids of all that live."""
        alive = {name: process.pid for name, process in self._running.items() if process.poll() is None}
        node = self.node.processes()
        return alive | ({"broker": node["node"]} if "node" in node else {})

    def await_broker(self) -> None:
        """Wait until the node answers."""

        def answers() -> bool:
            return self.node.is_running and self._ready.is_set()

        wait_until(lambda: answers() or self.failure, timeout=120.0, what="the node answers")

    def end(self, names: Iterable[str], timeout: float) -> dict[str, int]:
        """Let processes end in order, for good; return their exit status."""
        self._dropped.update(names)
        for name in names:
            self._running[name].terminate()
        return {name: self._running[name].wait(timeout) for name in names}

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            while not self._stop.wait(0.05):
                what()
        except BaseException as error:
            self.failure = error
            raise

    def _mend(self) -> None:
        for name, process in list(self._running.items()):
            if process.poll() is not None and name not in self._dropped:
                self.deaths.append((name, process.returncode))
                self._stop.wait(PAUSE)
                self._running[name] = self._starts[name]()

    def _mend_node(self) -> None:
        if not self.node.is_running:
            self._ready.clear()
            url = self.node.url
            self.node.start()
            assert self.node.url == url, "somebody took the node's port"
            self._ready.set()


class Fault(NamedTuple):
    """Something that goes wrong, for as long as its context is held."""

    name: str
    begin: Callable[[], contextlib.AbstractContextManager[None]]
    seconds: tuple[float, float] = (0.0, 0.0)  # how long, at least and at most
    share: int = 1  # how many of them in a deck
    of_broker: bool = False  # these exclude each other
    parts: tuple[str, ...] = ()  # the workers that it may part from the deliveries they hold


class Chaos:
    """Draws faults from decks in which each kind has its share.

    Parameters
    ----------
    faults
        What may happen.
    supervisor
        Mends it.
    chance
        Draws.
    say
        Told what happens.
    """

    def __init__(
        self, faults: Iterable[Fault], supervisor: Supervisor, chance: random.Random, say: Callable[[str], None]
    ) -> None:
        self.done: Counter[str] = Counter()
        self.parted: Counter[str] = Counter()  # how often each worker may have lost its deliveries
        self._faults = tuple(faults)
        self._supervisor = supervisor
        self._chance = chance
        self._say = say
        self._deck: list[Fault] = []
        self._held: list[threading.Thread] = []

    def run(self, until: float) -> None:
        """Let things go wrong until a time of the monotonic clock; return when all of it is over."""
        while time.monotonic() < until:
            fault = self._draw()
            seconds = self._chance.uniform(*fault.seconds)
            if fault.of_broker:
                self._supervisor.await_broker()
                self._let_happen(fault, seconds)
            else:  # others may happen while it lasts
                thread = threading.Thread(target=self._let_happen, args=(fault, seconds))
                thread.start()
                self._held.append(thread)
            if self._supervisor.failure is not None:
                raise self._supervisor.failure
            # Most come one at a time, with time to recover; some fall upon what still recovers from another.
            lasting(self._chance.choice([0.2, 2.0, 4.0, 6.0]))
        for thread in self._held:
            thread.join()

    def _draw(self) -> Fault:
        if not self._deck:
            self._deck = [fault for fault in self._faults for _ in range(fault.share)]
            self._chance.shuffle(self._deck)
        return self._deck.pop()

    def _let_happen(self, fault: Fault, seconds: float) -> None:
        self._say(f"{fault.name}{f' for {seconds:.1f} s' if seconds else ''}")
        self.done[fault.name] += 1
        self.parted.update(fault.parts)
        with fault.begin():
            lasting(seconds)


# --- what may happen -------------------------------------------------------------------------------


@contextlib.contextmanager
def killed(process: Callable[[], subprocess.Popen[bytes]]) -> Iterator[None]:
    """Kill a process."""
    process().kill()
    yield


@contextlib.contextmanager
def ended(process: Callable[[], subprocess.Popen[bytes]]) -> Iterator[None]:
    """Ask a process to end."""
    process().terminate()
    yield


@contextlib.contextmanager
def paused(process: Callable[[], subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop a process where it is."""
    found = process()  # it may have been started again when this is over
    found.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        found.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def child_killed(process: Callable[[], subprocess.Popen[bytes]], *, depth: int) -> Iterator[None]:
    """Kill one of a worker's helpers (depth 1: its fork server, or what tracks resources) or slots (depth 2)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process().pid).children()
        if depth == 2:
            children = [grandchild for child in children for grandchild in child.children()]
        if children:  # it may have been started a moment ago
            random.choice(children).kill()
    yield


@contextlib.contextmanager
def node_killed(node: Node) -> Iterator[None]:
    """Kill the broker, and return when it is gone: whoever waits for it to be back would find it as it was."""
    with contextlib.suppress(KeyError, ProcessLookupError):
        pid = node.processes()["node"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), what="the broker is gone")
    yield


@contextlib.contextmanager
def node_paused(node: Node) -> Iterator[None]:
    """Stop the broker where it is."""
    pid = node.processes()["node"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def ordered(node: Node, order: tuple[str, ...], back: tuple[str, ...] | None = None) -> Iterator[None]:
    """Give the broker an order, and another to take it back."""
    rabbitmqctl(node, *order)
    try:
        yield
    finally:
        if back is not None:
            rabbitmqctl(node, *back)
