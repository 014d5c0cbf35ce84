"""A workbench that lives as long as an object: `with wb.LocalCluster() as cluster:`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import NoWorkbench, WorkbenchError
from workbench.core.settings import RunningState, Settings, read_state
from workbench.local.control import launch, resume, status
from workbench.local.plan import make_plan
from workbench.local.processes import is_alive
from workbench.local.readiness import await_workers

if TYPE_CHECKING:
    from workbench.client.client import Client

_CLOSE_TIMEOUT = 20.0


class LocalCluster:
    """A private RabbitMQ node, a tracker and workers, for as long as this object is open.

    Everything runs in processes of its own, and ends with this one, however this one ends.

    Parameters
    ----------
    workers
        How many worker processes that each serve all families, or how many for each family: `{"image": 1, "data": 2}`.
    slots
        Tasks that one worker runs at the same time.
    families
        The families that workers serve; None for all built-in ones and those of the included modules.
    include
        Modules with operations of your own, importable from the current directory or installed.
    directory
        Where the data is kept from one cluster to the next; None for a temporary one, removed at the end.

    Raises
    ------
    NodeFailed
        If RabbitMQ isn't installed, or doesn't start.

    Examples
    --------
    >>> with LocalCluster(workers=2) as cluster:  # doctest: +SKIP
    ...     client = cluster.client()
    """

    def __init__(
        self,
        workers: int | Mapping[str, int] = 1,
        slots: int = 2,
        families: Iterable[str] | None = None,
        include: Iterable[str] = (),
        directory: str | Path | None = None,
    ) -> None:
        include = tuple(include)
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()  # closed first: they'd only report a lost broker
        for module in include:
            _check_module(module)
        where = Path(directory) if directory is not None else Path(tempfile.mkdtemp(prefix="workbench-"))
        self.directory = where.absolute()
        plan = make_plan(
            self.directory,
            workers=workers,
            slots=slots,
            families=families,
            include=include,
            temporary=directory is None,
        )
        try:
            process = launch(plan, lifeline=True)
        except BaseException:
            if plan.temporary:
                shutil.rmtree(self.directory, ignore_errors=True)
            raise
        # Also when the last reference goes, and when the interpreter ends.
        self._close = weakref.finalize(self, _stop, process, os.getpid())
        try:
            await_workers(plan, self.settings)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        state = status(self.directory) if self._close.alive else None
        if state is None:
            return f"<LocalCluster stopped, was in {str(self.directory)!r}>"
        alive = {name: is_alive(pid) for name, pid in state.processes.items()}
        workers = [lives for name, lives in alive.items() if name.startswith("worker")]
        down = [name for name, lives in alive.items() if not lives]
        return (
            f"<LocalCluster {sum(workers)} of {len(workers)} workers running in {str(self.directory)!r}"
            + (f", down: {', '.join(down)}" if down else "")
            + (f", drained: {', '.join(state.drained)}" if state.drained else "")
            + ">"
        )

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything at once; tasks that run are given up. May be called twice."""
        for client in list(self._clients):
            client.close()
        self._close()

    @property
    def settings(self) -> Settings:
        """The settings of the services, and of clients."""
        return self._state().settings

    @property
    def url(self) -> str:
        """The broker's address, credentials included."""
        return self.settings.broker_url

    def processes(self) -> dict[str, int]:
        """Return the pids of `node`, `epmd`, `tracker`, `worker-1` and so on, as they are at this moment."""
        return self._state().processes

    def restarts(self) -> dict[str, int]:
        """Return how often each of them has crashed and been started again, where it has."""
        return self._state().restarts

    def resume(self) -> tuple[str, ...]:
        """Start the workers again that have been drained; return their names."""
        return resume(self.directory)

    def client(self, **options: Any) -> Client:
        """Return a client that is connected to this cluster; the options are `Client`'s own."""
        from workbench.client.client import Client  # pulls in pandas' codecs, which a cluster doesn't need

        client = Client(settings=self.settings, **options)
        self._clients.add(client)
        return client

    def _state(self) -> RunningState:
        state = read_state(self.directory) if self._close.alive else None
        if state is None:
            raise NoWorkbench(f"the cluster in {self.directory} has been stopped. Make another with LocalCluster()")
        return state


def _check_module(module: str) -> None:
    """Find out before anything is started what the workers would find out later, each for itself."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise WorkbenchError(
            f"there is no module {module!r} to include: it has to be installed, on PYTHONPATH or in {Path.cwd()}"
        )


def _stop(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the owner ends, not the owner
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_CLOSE_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()  # its guard ends the rest
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
