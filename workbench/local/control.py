"""Starting, asking after and stopping a workbench that outlives whoever started it: `up`, `status`, `down`."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from workbench.broker.files import private_directory, tail
from workbench.core.errors import NodeFailed, NoWorkbench, WorkbenchError
from workbench.core.settings import RunningState, default_directory, read_state
from workbench.local import supervisor
from workbench.local.plan import Plan, make_plan
from workbench.local.processes import start_time
from workbench.local.readiness import await_workers
from workbench.local.supervisor import AlreadyRunning, Report

logger = logging.getLogger(__name__)

_START_TIMEOUT = 90.0
_STOP_TIMEOUT = 60.0

_detached: list[subprocess.Popen[bytes]] = []  # a `Popen` that goes while its process lives is warned of


def status(directory: str | Path | None = None) -> RunningState | None:
    """Return the workbench that runs in a directory (by default the user's own); None where none does.

    What a killed workbench has left there isn't believed. Of the processes named, some may just be starting again.
    """
    state = read_state(directory or default_directory())
    return state if state is not None and start_time(state.pid) == state.started else None


def up(
    directory: str | Path | None = None,
    *,
    workers: int | Mapping[str, int] = 1,
    slots: int = 2,
    families: Iterable[str] | None = None,
    include: Iterable[str] = (),
    store: str | None = None,
    database: str | None = None,
    roots: Iterable[str | Path] | None = None,
    dashboard: int = 0,
    detach: bool = True,
    on_ready: Callable[[RunningState], None] = lambda _state: None,
) -> None:
    """Start a workbench.

    Detached, it returns when the workbench is ready, and the workbench lives on. Otherwise the workbench is this
    process, until SIGTERM or Ctrl-C. The data in `directory` is kept from one `up` to the next; the other parameters
    are those of `make_plan`, and `on_ready` is called when everything has been started.

    Raises
    ------
    AlreadyRunning
        If one runs in this directory.
    NodeFailed
        If RabbitMQ isn't installed, or doesn't start.
    """
    where = Path(directory or default_directory()).absolute()
    if (running := status(where)) is not None:
        raise AlreadyRunning(f"a workbench is already running in {where} (process {running.pid})")
    plan = make_plan(
        where,
        workers=workers,
        slots=slots,
        families=families,
        include=include,
        store=store,
        database=database,
        roots=roots,
        dashboard=dashboard,
    )
    if detach:
        _reap()
        _detached.append(launch(plan))
        if (state := status(where)) is not None:
            try:
                await_workers(plan, state.settings)
            except BaseException:
                down(where)
                raise
            on_ready(state)
    else:
        _make_directories(where)
        # In a thread, as the supervisor goes on: it is its workers that are waited for.
        announce = threading.Thread(target=_announce, args=(plan, on_ready), daemon=True)
        supervisor.run(plan, announce.start)


def _announce(plan: Plan, on_ready: Callable[[RunningState], None]) -> None:
    if (state := status(plan.directory)) is not None:
        try:
            await_workers(plan, state.settings)
        except WorkbenchError as error:
            logger.error("%s", error)
        else:
            on_ready(state)


def down(directory: str | Path | None = None, *, timeout: float = _STOP_TIMEOUT) -> bool:
    """Stop the workbench in a directory, and wait until it has. Return whether one was running.

    Raises
    ------
    WorkbenchError
        If it had to be killed after `timeout` seconds. Its guard then ends what it left.
    """
    running = status(directory)
    if running is None:
        return False
    deadline = time.monotonic() + timeout
    _signal(running, signal.SIGTERM)
    while start_time(running.pid) == running.started:
        if time.monotonic() > deadline:
            _signal(running, signal.SIGKILL)
            raise WorkbenchError(
                f"the workbench didn't stop in {timeout:.0f} s, so its process {running.pid} was killed"
            )
        time.sleep(0.05)
    _reap()
    return True


def resume(directory: str | Path | None = None) -> tuple[str, ...]:
    """Start the workers again that have been drained; return their names.

    Raises
    ------
    NoWorkbench
        If none runs in this directory.
    """
    running = status(directory)
    if running is None:
        raise NoWorkbench(f"no workbench is running in {Path(directory or default_directory()).absolute()}")
    if running.drained:
        _signal(running, signal.SIGUSR1)
    return running.drained


def _reap() -> None:
    """Forget the supervisors of this process that have ended."""
    _detached[:] = [process for process in _detached if process.poll() is None]


def _signal(running: RunningState, number: int) -> None:
    if start_time(running.pid) == running.started:
        try:
            os.kill(running.pid, number)
        except ProcessLookupError:
            return


def launch(plan: Plan, *, lifeline: bool = False, timeout: float = _START_TIMEOUT) -> subprocess.Popen[bytes]:
    """Start a supervisor in a session of its own, and wait until it is ready.

    With a lifeline, the supervisor stops when the returned process's `stdin` is closed, or the caller ends.

    Raises
    ------
    AlreadyRunning, NodeFailed
        What the supervisor reported.
    WorkbenchError
        If the directory can't be used.
    """
    directory = Path(plan.directory)
    log = directory / "logs" / "supervisor.log"
    _make_directories(directory)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", supervisor.__name__, msgspec.json.encode(plan).decode(), str(writing)]
    with os.fdopen(reading, "rb") as reports:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [*command, *(["lifeline"] if lifeline else [])],
                    stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(writing,),
                )
        finally:
            os.close(writing)
        try:
            _await_report(reports.fileno(), timeout, log)
        except BaseException:
            process.kill()  # where it lives still: its guard ends the rest
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
            raise
    return process


def _make_directories(directory: Path) -> None:
    try:
        private_directory(directory)
        private_directory(directory / "logs")
    except OSError as error:
        raise WorkbenchError(f"a workbench can't keep its data in {directory}: {error}") from error


def _await_report(descriptor: int, timeout: float, log: Path) -> None:
    ready, _, _ = select.select([descriptor], [], [], timeout)
    text = os.read(descriptor, 1 << 20) if ready else b""
    if not text:
        what = "ended without a word" if ready else f"was not ready in {timeout:.0f} s"
        raise NodeFailed(f"the workbench {what}. The end of {log}:\n{tail(log)}")
    report = msgspec.json.decode(text, type=Report)
    if report.already_running:
        raise AlreadyRunning(report.error)
    if report.error:
        raise NodeFailed(report.error)
