"""A producer of the soak, as a program: submits tasks at a pace, writes down what was accepted, checks what comes back.

SIGTERM ends its submitting; it then waits for every task whose handle it holds. What it finds wrong it prints, and its
exit status is 1. `NOT_NOW` is its exit status where there is no broker to begin with.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import logging
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import workbench as wb
from tests.faults import soak_tasks
from tests.faults.soak_tasks import BRIEF, Plan
from tests.support import wait_until
from workbench.core.settings import Settings
from workbench.core.states import State

NOT_NOW = 75
BLOCK = 50  # tasks submitted in one go
MOST_OPEN = 2_000  # tasks submitted and not ended
PATIENCE = 240.0
AWAY = (wb.BrokerUnavailable, wb.TrackerUnavailable)
"""What a client may be told while something is away."""


class Ledger:
    """What a producer has written down, so that it outlives its being killed."""

    def __init__(self, directory: Path, name: str) -> None:
        self._intended = (directory / f"{name}.intended").open("a+", buffering=1)
        self._accepted = (directory / f"{name}.accepted").open("a", buffering=1)
        self._intended.seek(0)
        self.first = max((int(line.split()[1]) + 1 for line in self._intended), default=0)

    def intend(self, first: int, last: int) -> None:
        """Note numbers before they are submitted."""
        self._intended.write(f"{first} {last}\n")

    def accept(self, tasks: list[tuple[int, str]]) -> None:
        """Note tasks whose submission has returned."""
        self._accepted.write("".join(f"{number} {task_id}\n" for number, task_id in tasks))


class Submitter:
    """Submits blocks of numbers and settles what has ended."""

    def __init__(self, client: wb.Client, directory: Path, ledger: Ledger, confirm_timeout: float) -> None:
        self.wrong: list[str] = []
        self.stopping = threading.Event()
        self._client = client
        self._directory = directory
        self._ledger = ledger
        self._open: collections.deque[tuple[Plan, wb.TaskHandle]] = collections.deque()
        self._helpers = ThreadPoolExecutor(2)
        self._confirm_timeout = confirm_timeout

    def run(self, numbers: itertools.count[int], pace: float) -> None:
        """Submit until told to stop: so many tasks a second, and what was missed is made up for."""
        began, done = time.monotonic(), 0
        while not self.stopping.is_set():
            self._settle()
            if done + BLOCK > pace * (time.monotonic() - began) or len(self._open) > MOST_OPEN:
                self.stopping.wait(0.05)
                continue
            self._block([next(numbers) for _ in range(BLOCK)])
            done += BLOCK

    def finish(self) -> None:
        """Wait for what is open."""
        deadline = time.monotonic() + PATIENCE
        while self._open and time.monotonic() < deadline:
            self._settle()
            time.sleep(0.1)
        self.wrong += [f"{plan.kind} {plan.number} ({handle.id}) never ended here" for plan, handle in self._open]
        self._helpers.shutdown()

    def _block(self, numbers: list[int]) -> None:
        self._ledger.intend(numbers[0], numbers[-1])
        plans = [soak_tasks.plan(number, self._directory) for number in numbers]
        brief = [plan for plan in plans if plan.kind == BRIEF]
        handles = self._try(lambda: self._client.map("text.brief", [p.number for p in brief], directory=self._where))
        self._accepted(list(zip(brief, handles or [], strict=False)))
        for plan in plans:
            if plan.kind != BRIEF:
                soak_tasks.make_input(plan, self._directory / "inputs")
                client = self._client.with_options(**plan.options)
                handle = self._try(lambda: client.submit(plan.operation, **plan.kwargs))  # noqa: B023 - called at once
                self._accepted([(plan, handle)] if handle is not None else [])

    @property
    def _where(self) -> str:
        return str(self._directory)

    def _try(self, submit):
        """Submit; None where that failed: what was sent then may run as a whole, or not at all."""
        while True:
            try:
                return submit()
            except wb.TrackerUnavailable:  # nobody knows what the operation takes, so nothing was sent
                if self.stopping.is_set():
                    return None
            except wb.BrokerUnavailable as error:
                print(f"given up: {error}", flush=True)
                return None

    def _accepted(self, tasks: list[tuple[Plan, wb.TaskHandle]]) -> None:
        self._ledger.accept([(plan.number, handle.id) for plan, handle in tasks])
        self._open.extend(tasks)
        for plan, handle in tasks:
            if plan.cancel_after is not None:
                self._helpers.submit(self._cancel, handle, plan.cancel_after)

    def _cancel(self, handle: wb.TaskHandle, after: float) -> None:
        self.stopping.wait(after)
        try:
            handle.cancel(reason="the soak", timeout=10.0)
        except AWAY as error:
            print(f"{handle.id} could not be cancelled: {error}", flush=True)
        except Exception as error:
            self.wrong.append(f"{handle.id}: to cancel it raised {error!r}")

    def _settle(self) -> None:
        for _ in range(len(self._open)):
            plan, handle = self._open.popleft()
            if handle.done():
                self._check(plan, handle)
            else:
                self._open.append((plan, handle))

    def _check(self, plan: Plan, handle: wb.TaskHandle) -> None:
        what = f"{plan.kind} {plan.number} ({handle.id})"
        try:
            value = handle.result(0)
        except wb.TaskCancelled:
            end = State.CANCELLED
        except wb.TaskExpired:
            end = State.EXPIRED
        except wb.TaskFailed as error:
            end = State.FAILED
            if error.failure.type != plan.failure:
                self.wrong.append(f"{what} failed: {error}")
        except Exception as error:
            self.wrong.append(f"{what}: {error!r}")
            return
        else:
            end = State.SUCCEEDED
            if not soak_tasks.is_right(plan, value):
                self.wrong.append(f"{what} returned {value!r:.200}")
        if end not in plan.ends:
            self.wrong.append(f"{what} ended here as {end}")


def await_announced(client: wb.Client) -> None:
    """Wait until a worker has told what it can do."""

    def known() -> bool:
        try:
            return any(spec.name == "text.brief" for spec in asyncio.run(client.workbench()).operations)
        except AWAY:
            return False

    wait_until(known, timeout=PATIENCE, what="a worker announces the operations")


def ask(
    client: wb.Client, others: list[Path], stopping: threading.Event, wrong: list[str], chance: random.Random
) -> None:
    """Ask for this and that, as a notebook does, until told to stop."""
    while not stopping.wait(chance.uniform(0.5, 2.0)):
        try:
            match chance.randrange(4):
                case 0:
                    stats = asyncio.run(client.stats())
                    if stats.total != sum(stats.states.values()):
                        wrong.append(f"the total isn't the sum: {stats}")
                case 1:
                    asyncio.run(client.tasks(limit=50))
                case _:
                    _ask_for_another(client, chance.choice(others), wrong)
        except AWAY:
            pass
        except Exception as error:
            wrong.append(f"a question raised {error!r}")


def _ask_for_another(client: wb.Client, ledger: Path, wrong: list[str]) -> None:
    if not ledger.exists():
        return
    with ledger.open("rb") as file:
        file.seek(max(0, ledger.stat().st_size - 2_000))
        lines = file.read().split(b"\n")[1:-1]
    if not lines:
        return
    number, task_id = lines[-1].decode().split()
    plan = soak_tasks.plan(int(number), ledger.parent)
    handle = client.get(task_id)
    try:
        value = handle.result(60.0)
    except (wb.TaskFailed, wb.TaskCancelled, wb.TaskExpired, wb.ResultTimeout, wb.TaskNotFound):
        return
    if not soak_tasks.is_right(plan, value):
        wrong.append(f"another's {plan.kind} {plan.number} ({task_id}) returned {value!r:.200}")


def main() -> int:
    """Run one producer; return its exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("name")
    parser.add_argument("others", nargs="*")
    parser.add_argument("--offset", type=int, required=True, help="its numbers are from here on")
    parser.add_argument("--pace", type=float, required=True, help="tasks a second")
    parser.add_argument("--confirm-timeout", type=float, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ledger = Ledger(options.directory, options.name)
    try:
        client = wb.Client(settings=Settings.load(), confirm_timeout=options.confirm_timeout)
    except wb.BrokerUnavailable as error:
        print(f"no broker: {error}", flush=True)
        return NOT_NOW
    with client:
        submitter = Submitter(client, options.directory, ledger, options.confirm_timeout)
        signal.signal(signal.SIGTERM, lambda *_: submitter.stopping.set())
        others = [options.directory / f"{other}.accepted" for other in options.others]
        chance = random.Random(os.getpid())
        asking = threading.Thread(target=ask, args=(client, others, submitter.stopping, submitter.wrong, chance))
        await_announced(client)
        asking.start()
        first = max(ledger.first, options.offset)
        print(f"submits from {first}", flush=True)
        try:
            submitter.run(itertools.count(first), options.pace)
            submitter.finish()
        finally:
            submitter.stopping.set()
            asking.join()
    for line in submitter.wrong:
        print(f"WRONG: {line}", flush=True)
    return 1 if submitter.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
