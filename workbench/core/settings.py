"""Settings: one frozen object, built in one place from the environment and what the caller gives.

A workbench that runs on this machine leaves a small file in its directory (`workbench.json`, readable by its owner
only); `Settings.load` finds it where no broker address is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from workbench.core.errors import NoWorkbench, WorkbenchError

STATE_FILE = "workbench.json"
RETENTION = 7 * 24 * 3600.0
DASHBOARD_READ_ONLY = "WORKBENCH_DASHBOARD_READ_ONLY"
"""The variable that, where it isn't empty, has the dashboard leave out everything that changes something."""
DASHBOARD_USERS = "WORKBENCH_DASHBOARD_USERS"
"""The variable that, where it isn't empty, names the users who may see the dashboard, with commas between them."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is.

    Parameters
    ----------
    broker_url
        `amqp://user:password@host:port/vhost`, or `amqps://…`.
    namespace
        The prefix of every exchange's and queue's name, so that several workbenches can share a broker.
    store
        Where values too large for a message lie: any fsspec URL, or an absolute local path.
        Empty where it isn't known yet: a client then asks the tracker.
    roots
        Absolute directories that notebook and workers share: files below them travel by path.
    database
        The tracker's, as an SQLAlchemy URL.
    retention
        Seconds a result is kept after its task has ended; the record stays.
    ack_timeout
        Seconds the broker lets a delivery go unacknowledged (its `consumer_timeout`); None to go by what the broker's
        version has by default, and by what it says where it ends a consumer for it.
    """

    broker_url: str
    namespace: str = "workbench."
    store: str = ""
    roots: tuple[str, ...] = ()
    database: str = ""
    retention: float = RETENTION
    ack_timeout: float | None = None

    @classmethod
    def load(
        cls,
        broker_url: str | None = None,
        *,
        directory: str | Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Build the settings from what is given, then the environment, then a workbench running on this machine.

        Raises
        ------
        NoWorkbench
            If none of them tells the broker's address.
        """
        url = broker_url or (None if directory else environ.get("WORKBENCH_BROKER_URL"))
        state = None if url else read_state(directory or default_directory(environ))
        if url is None and state is None:
            where = directory or default_directory(environ)
            raise NoWorkbench(
                f"no workbench is running in {where}, and no broker address is given. "
                "Start one with `workbench up --detach` or `with wb.LocalCluster() as cluster:`, "
                "or set WORKBENCH_BROKER_URL=amqp://user:password@host:5672/"
            )
        base = state.settings if state else cls(broker_url=url or "")
        return msgspec.structs.replace(
            base,
            namespace=environ.get("WORKBENCH_NAMESPACE", base.namespace),
            store=environ.get("WORKBENCH_STORE", base.store),
            roots=_roots(environ["WORKBENCH_ROOTS"]) if "WORKBENCH_ROOTS" in environ else base.roots,
            database=environ.get("WORKBENCH_DATABASE", base.database),
            retention=_seconds(environ, "WORKBENCH_RETENTION") or base.retention,
            ack_timeout=_seconds(environ, "WORKBENCH_ACK_TIMEOUT") or base.ack_timeout,
        )

    def as_environ(self) -> dict[str, str]:
        """Return the variables from which `load` builds these settings again, in another process."""
        return {
            "WORKBENCH_BROKER_URL": self.broker_url,
            "WORKBENCH_NAMESPACE": self.namespace,
            "WORKBENCH_STORE": self.store,
            "WORKBENCH_ROOTS": os.pathsep.join(self.roots),
            "WORKBENCH_DATABASE": self.database,
            "WORKBENCH_RETENTION": str(self.retention),
            "WORKBENCH_ACK_TIMEOUT": "" if self.ack_timeout is None else str(self.ack_timeout),
        }


class RunningState(msgspec.Struct, frozen=True, kw_only=True):
    """What a running workbench writes beside its data: its settings, and the supervisor to ask."""

    settings: Settings
    pid: int
    started: str = ""  # the supervisor's start time as the kernel tells it, so that a reused pid isn't mistaken for it
    processes: dict[str, int] = {}  # pids by name: node, epmd, tracker, worker-1 …
    restarts: dict[str, int] = {}  # how often each has been started again, where it has been
    drained: tuple[str, ...] = ()  # workers that were told to stop, and stay away until `workbench resume`
    dashboard: str = ""  # where a browser on this machine finds it


def default_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where this user's workbench keeps its data: `WORKBENCH_DIRECTORY`, or below the XDG state directory."""
    if "WORKBENCH_DIRECTORY" in environ:
        return Path(environ["WORKBENCH_DIRECTORY"]).absolute()
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".local" / "state"
    return Path(state) / "workbench"


def read_state(directory: str | Path) -> RunningState | None:
    """Return what the workbench in `directory` wrote when it came up; None where none did."""
    path = Path(directory) / STATE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunningState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise WorkbenchError(f"{path} can't be read: {error}. If no workbench runs there, remove the file") from error


def _roots(text: str) -> tuple[str, ...]:
    return tuple(str(Path(part).absolute()) for part in text.split(os.pathsep) if part)


def retention_of(environ: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that results are kept: `WORKBENCH_RETENTION`, or seven days.

    Raises
    ------
    WorkbenchError
        If it isn't a number above zero.
    """
    return _seconds(environ, "WORKBENCH_RETENTION") or RETENTION


def users_of(environ: Mapping[str, str]) -> frozenset[str] | None:
    """Return who may see the dashboard, as they are called where they log in; None where nobody is left out."""
    named = environ.get(DASHBOARD_USERS, "")
    return frozenset(filter(None, map(str.strip, named.split(",")))) if named else None


def _seconds(environ: Mapping[str, str], name: str) -> float | None:
    text = environ.get(name, "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise WorkbenchError(f"{name} takes a number of seconds above zero, got {text!r}")
    return seconds
