"""The process behind `workbench up`: keeps the node, the tracker and the workers running, and stops them in order.

It decides nothing about tasks and speaks no AMQP beyond the node's first handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from workbench.broker.files import private_directory, write_private
from workbench.broker.node import Node
from workbench.core.errors import WorkbenchError
from workbench.core.settings import STATE_FILE, RunningState, Settings
from workbench.local.guarding import Guard
from workbench.local.plan import Plan, Service, restart_delay
from workbench.local.processes import kill_group, rotate, start_time

logger = logging.getLogger(__name__)

PROMPT = 1.0
"""Seconds a service gets to end where nobody is left to wait for its tasks."""

_STEADY = 60.0  # a process that has lived for so long didn't fail in a row with the one before it
_TICK = 0.25


class AlreadyRunning(WorkbenchError):
    """A workbench is running in this directory already."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor tells the process that started it, once: it is ready, or why it isn't."""

    error: str = ""
    already_running: bool = False


class Supervisor:
    """Runs a plan until it is told to stop.

    Parameters
    ----------
    plan
        What to run.
    on_ready
        Called once, when the node answers and every service has been started.
    """

    def __init__(self, plan: Plan, on_ready: Callable[[], None] = lambda: None) -> None:
        self._plan = plan
        self._directory = Path(plan.directory)
        self._on_ready = on_ready
        self._guard = Guard()
        self._node = Node(self._directory / "broker", on_spawn=self._guard.watch)
        self._settings: Settings | None = None
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._restarts: dict[str, int] = {}
        self._moving: set[int] = set()  # pids that were told to end because the broker has moved
        self._drained: dict[str, asyncio.Event] = {}  # by name: set where one is asked back
        self._stop = asyncio.Event()
        self._prompt = False

    def stop(self, *, prompt: bool = False) -> None:
        """Begin to stop. A prompt one, also in the midst of an ordinary one, doesn't wait for tasks to end."""
        self._prompt = self._prompt or prompt
        self._stop.set()

    def resume(self) -> None:
        """Start the workers again that have been drained."""
        for asked_back in self._drained.values():
            asked_back.set()

    async def run(self) -> None:
        """Start everything, keep it running, and stop it all after `stop`.

        Raises
        ------
        AlreadyRunning
            If another supervisor holds the directory.
        NodeFailed
            If the node doesn't come up.
        """
        private_directory(self._directory)
        with _locked(self._directory), self._guard:
            (self._directory / STATE_FILE).unlink(missing_ok=True)
            for name in ("logs", "store"):
                (self._directory / name).mkdir(mode=0o700, exist_ok=True)
            stages: list[_Stage] = []
            try:
                if await self._start_node():
                    stages = await self._start_services()
                    watch = [asyncio.create_task(self._keep_node()), asyncio.create_task(self._keep_logs_short())]
                    self._on_ready()
                    await self._stop.wait()
                    await asyncio.gather(*watch, return_exceptions=True)
            finally:
                await self._end_all(stages)
        logger.info("everything has stopped")

    async def _end_all(self, stages: list[_Stage]) -> None:
        self._stop.set()
        for stage in reversed(stages):  # workers before the tracker, which records what they still say; the node last
            stage.stop.set()
            await asyncio.gather(*stage.keepers, return_exceptions=True)
        grace = 20.0
        if self._prompt:
            grace = 0.0 if self._plan.temporary else 5.0  # a node whose data is removed next may as well be killed
        await asyncio.to_thread(self._node.stop, grace)
        (self._directory / STATE_FILE).unlink(missing_ok=True)

    # --- the node ---------------------------------------------------------------------------------

    async def _start_node(self) -> bool:
        """Start the node; return False where a stop came first."""
        began = time.monotonic()
        starting = asyncio.create_task(asyncio.to_thread(self._node.start))
        await _first(starting, self._stop)
        while self._stop.is_set() and not starting.done():
            await asyncio.to_thread(self._node.stop, 0)  # makes the start fail; again, as it may have just begun
            await asyncio.wait({starting}, timeout=_TICK)
        if self._stop.is_set():
            await asyncio.gather(starting, return_exceptions=True)
            return False
        await starting
        logger.info("the RabbitMQ node answered after %.1f s", time.monotonic() - began)
        self._renew_settings()
        return True

    async def _keep_node(self) -> None:
        failures, began = 0, time.monotonic()
        while not await _within(_TICK, self._stop):
            self._guard.check({*self._node.processes().values(), *(child.pid for child in self._children.values())})
            try:
                code = self._node.poll()
            except WorkbenchError:
                logger.exception("the RabbitMQ node's port mapper could not be started again")
                continue
            if code is None:
                continue
            failures = 1 if time.monotonic() - began > _STEADY else failures + 1
            logger.warning("the RabbitMQ node ended with %s, starting it again", code)
            if await _within(restart_delay(failures), self._stop):
                return
            began = time.monotonic()
            self._restarts["node"] = self._restarts.get("node", 0) + 1
            try:
                await self._start_node()
            except WorkbenchError:
                logger.exception("the RabbitMQ node could not be started again")

    def _renew_settings(self) -> None:
        before, self._settings = self._settings, self._plan.settings(self._node.url)
        if before is not None and before != self._settings:  # somebody had taken the port in the meantime
            logger.warning("the RabbitMQ node has moved to another port, so every service starts again")
            for child in self._children.values():
                self._moving.add(child.pid)
                child.terminate()
        self._publish()

    # --- the services -----------------------------------------------------------------------------

    async def _start_services(self) -> list[_Stage]:
        stages = []
        for services in self._plan.stages:
            stop = asyncio.Event()
            children = [(service, await self._spawn(service)) for service in services]
            keepers = [asyncio.create_task(self._keep(service, child, stop)) for service, child in children]
            stages.append(_Stage(stop, keepers))
        self._publish()
        return stages

    async def _spawn(self, service: Service) -> asyncio.subprocess.Process:
        assert self._settings is not None
        with (self._directory / "logs" / f"{service.name}.log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *service.command,
                env={**os.environ, **self._settings.as_environ(), **service.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard.watch(child.pid)
        self._children[service.name] = child
        return child

    async def _keep(self, service: Service, child: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            ending = asyncio.create_task(child.wait())
            await _first(ending, stop)
            if not ending.done():
                await self._end(service, child, ending)
            kill_group(child.pid)  # whatever it had started and left behind
            self._guard.forget(child.pid)
            if stop.is_set():
                return
            moved = child.pid in self._moving
            self._moving.discard(child.pid)
            drained = service.may_leave and child.returncode == 0 and not moved
            if drained:
                await self._stay_away(service, stop)
                failures = 0
            else:
                failures = 1 if time.monotonic() - began > _STEADY else failures + 1
                logger.warning("%s ended with %s, starting it again", service.name, child.returncode)
            while True:
                if await _within(restart_delay(failures), stop):
                    return
                try:
                    child = await self._spawn(service)
                    break
                except OSError:  # no memory, no room for its log
                    failures += 1
                    logger.exception("%s could not be started again", service.name)
            if not drained:
                self._restarts[service.name] = self._restarts.get(service.name, 0) + 1
            self._publish()

    async def _stay_away(self, service: Service, stop: asyncio.Event) -> None:
        """Leave a service alone that was told to end by somebody else, until it's asked back."""
        logger.info("%s has been drained: it stays away until it is asked back", service.name)
        asked_back = self._drained[service.name] = asyncio.Event()
        del self._children[service.name]
        self._publish()
        coming = asyncio.create_task(asked_back.wait())
        await _first(coming, stop)
        coming.cancel()
        del self._drained[service.name]

    async def _end(self, service: Service, child: asyncio.subprocess.Process, ending: asyncio.Task[int]) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        began = time.monotonic()
        while not ending.done():
            if time.monotonic() - began > (PROMPT if self._prompt else service.grace):
                logger.warning("%s didn't end in time, killing it", service.name)
                kill_group(child.pid)
                await ending
            await asyncio.wait({ending}, timeout=_TICK)

    # --- what others see --------------------------------------------------------------------------

    def _publish(self) -> None:
        """Tell everybody on this machine, through the file that `Settings.load` reads."""
        assert self._settings is not None
        state = RunningState(
            settings=self._settings,
            pid=os.getpid(),
            started=start_time(os.getpid()),
            processes={**self._node.processes(), **{name: child.pid for name, child in self._children.items()}},
            restarts=self._restarts,
            drained=tuple(self._drained),
            dashboard=f"http://127.0.0.1:{self._plan.dashboard}/" if self._plan.dashboard else "",
        )
        try:
            write_private(self._directory / STATE_FILE, msgspec.json.format(msgspec.json.encode(state)))
        except OSError:
            logger.exception("%s could not be written", self._directory / STATE_FILE)

    async def _keep_logs_short(self) -> None:
        while not await _within(5.0, self._stop):
            for path in (self._directory / "logs").glob("*.log"):
                try:
                    rotate(path)
                except OSError:
                    logger.exception("%s could not be moved aside", path)


class _Stage:
    """Services that start and stop together."""

    def __init__(self, stop: asyncio.Event, keepers: list[asyncio.Task[None]]) -> None:
        self.stop = stop
        self.keepers = keepers


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AlreadyRunning(f"a workbench is already running in {directory}") from None
    try:
        yield
    finally:
        os.close(descriptor)


async def _first(task: asyncio.Task[Any], event: asyncio.Event) -> None:
    """Wait until the task is done or the event set."""
    happening = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, happening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happening.cancel()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for the event, for so long at most; return whether it came."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


# --- the program ----------------------------------------------------------------------------------


def run(plan: Plan, on_ready: Callable[[], None] = lambda: None, *, lifeline: int | None = None) -> None:
    """Run a plan in this process until SIGTERM, SIGINT or SIGHUP; a second one makes the stop prompt.

    SIGUSR1 asks the workers back that have been drained.

    Parameters
    ----------
    lifeline
        A descriptor whose end, or the end of the parent process, stops everything promptly.
    """
    try:
        asyncio.run(_run(plan, on_ready, lifeline))
    finally:
        if plan.temporary:
            shutil.rmtree(plan.directory, ignore_errors=True)


async def _run(plan: Plan, on_ready: Callable[[], None], lifeline: int | None) -> None:
    supervisor = Supervisor(plan, on_ready)
    loop = asyncio.get_running_loop()
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        supervisor.stop(prompt=signalled)
        signalled = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGUSR1, supervisor.resume)
    running = asyncio.create_task(supervisor.run())
    if lifeline is not None:
        await _first(running, _cut(lifeline, loop))
        supervisor.stop(prompt=True)
    await running


def _cut(lifeline: int, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """Return an event that is set once the lifeline ends or the parent is gone.

    The parent's end alone wouldn't do, as a notebook may let go of its cluster and live on; nor would the pipe's, as a
    process that the notebook has forked keeps it open.
    """
    parent, cut = os.getppid(), asyncio.Event()

    def on_readable() -> None:
        if not os.read(lifeline, 1024):
            loop.remove_reader(lifeline)
            cut.set()

    def look_for_parent() -> None:
        if os.getppid() != parent:
            cut.set()
        else:
            loop.call_later(_TICK, look_for_parent)

    loop.add_reader(lifeline, on_readable)
    look_for_parent()
    return cut


def main(arguments: list[str]) -> int:
    """Run the plan given as JSON, report on a descriptor: `supervisor PLAN REPORT_FD [lifeline]`."""
    plan = msgspec.json.decode(arguments[0], type=Plan)
    reports = os.fdopen(int(arguments[1]), "wb")

    def report(what: Report) -> None:
        with contextlib.suppress(BrokenPipeError), reports:
            reports.write(msgspec.json.encode(what))

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pika").setLevel(logging.WARNING)
    try:
        run(plan, lambda: report(Report()), lifeline=0 if "lifeline" in arguments[2:] else None)
    except WorkbenchError as error:
        logger.error("%s", error)
        if not reports.closed:
            report(Report(error=str(error), already_running=isinstance(error, AlreadyRunning)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
