"""What a local workbench consists of: plain data, built from what the user asked for. Nothing is started here."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from workbench.broker.topology import LONG
from workbench.core import routing
from workbench.core.errors import InvalidArguments
from workbench.core.settings import RETENTION, Settings, retention_of

TRACKER = "tracker"
DASHBOARD = "dashboard"
_MAX_DELAY = 30.0
_DRAIN = 8.0  # seconds a worker lets its tasks run on; it then still has time to hand back what didn't end


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A program that the supervisor keeps running.

    Parameters
    ----------
    name
        Names its log file, and its pid in `workbench.json`.
    grace
        Seconds it gets between SIGTERM and SIGKILL when everything stops.
    may_leave
        Whether it stays away where it has ended well, as a worker does that was drained. It's otherwise started again,
        whatever it ended with.
    """

    name: str
    command: tuple[str, ...]
    environ: dict[str, str] = {}
    grace: float = 10.0
    may_leave: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole workbench.

    Parameters
    ----------
    directory
        Absolute; the node's data, the store, the tracker's database and the logs lie below it.
    stages
        Services in the order in which they start; they stop in the reverse. Those of one stage go together.
    temporary
        Whether the directory is removed at the end.
    dashboard
        The port at which the dashboard is served; 0 where it isn't.
    """

    directory: str
    stages: tuple[tuple[Service, ...], ...]
    store: str
    database: str
    roots: tuple[str, ...] = ()
    retention: float = RETENTION
    temporary: bool = False
    dashboard: int = 0

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of the workers, as they announce themselves."""
        services = (service.name for stage in self.stages for service in stage)
        return tuple(name for name in services if name not in (TRACKER, DASHBOARD))

    def settings(self, broker_url: str) -> Settings:
        """Return the settings of the services and clients, once the broker's address is known."""
        return Settings(
            broker_url=broker_url,
            store=self.store,
            roots=self.roots,
            database=self.database,
            retention=self.retention,
            ack_timeout=LONG,
        )


def make_plan(
    directory: Path,
    *,
    workers: int | Mapping[str, int] = 1,
    slots: int = 2,
    families: Iterable[str] | None = None,
    include: Iterable[str] = (),
    store: str | None = None,
    database: str | None = None,
    roots: Iterable[str | Path] | None = None,
    temporary: bool = False,
    dashboard: int = 0,
) -> Plan:
    """Plan a tracker and workers around a private node.

    Parameters
    ----------
    workers
        How many worker processes that each serve all families, or how many for each family: `{"image": 1, "data": 2}`.
    slots
        Tasks that one worker runs at the same time.
    families
        The families that workers serve; None for all built-in ones and those of the included modules.
    include
        Modules with operations of the user's own.
    store, database
        By default below `directory`.
    roots
        Directories whose files travel by path; by default the current one.
    dashboard
        The port at which the dashboard is served, on this machine only; 0 for none.

    Raises
    ------
    InvalidArguments
        If a number makes no sense, or `families` is given beside a mapping of workers.
    """
    directory = directory.absolute()
    tracker = Service(name=TRACKER, command=(sys.executable, "-m", "workbench", "tracker"))
    stages: tuple[tuple[Service, ...], ...] = ((tracker,), _workers(workers, slots, families, tuple(include)))
    if dashboard:
        command = (sys.executable, "-m", "workbench", "dashboard", "--port", str(dashboard))
        stages = (*stages, (Service(name=DASHBOARD, command=command),))
    return Plan(
        directory=str(directory),
        stages=stages,
        store=store or str(directory / "store"),
        database=database or f"sqlite:///{directory / 'tracker.sqlite'}",
        roots=tuple(str(Path(root).absolute()) for root in ((Path.cwd(),) if roots is None else roots)),
        retention=retention_of(),
        temporary=temporary,
        dashboard=dashboard,
    )


def _workers(
    workers: int | Mapping[str, int], slots: int, families: Iterable[str] | None, include: tuple[str, ...]
) -> tuple[Service, ...]:
    if slots < 1:
        raise InvalidArguments(f"a worker needs at least one slot, not {slots}")
    served: dict[str, tuple[str, ...]] = {}
    if isinstance(workers, Mapping):
        if families is not None:
            raise InvalidArguments("give either families or a mapping of workers, which names the families itself")
        for family, count in workers.items():
            served |= {f"worker-{family}-{number}": (family,) for number in _count(count)}
    else:
        served = {f"worker-{number}": tuple(families or ()) for number in _count(workers)}
    for family in {family for one in served.values() for family in one}:
        routing.check_word(family, "family")
    included = tuple(word for module in include for word in ("--include", module))
    environ = {"PYTHONPATH": _import_path()} if include else {}
    return tuple(
        Service(
            name=name,
            command=(
                *(sys.executable, "-m", "workbench", "worker", *these),
                *("--slots", str(slots), *included, "--name", name, "--grace", str(_DRAIN)),
            ),
            environ=environ,
            grace=_DRAIN + 2,
            may_leave=True,
        )
        for name, these in served.items()
    )


def _import_path() -> str:
    """Return where this process finds modules, but for its installation's own: workers shall find the user's there."""
    own = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    places = dict.fromkeys(str(Path(entry or ".").absolute()) for entry in sys.path)
    return os.pathsep.join(place for place in places if not place.startswith(own) and Path(place).is_dir())


def _count(number: int) -> range:
    if number < 0:
        raise InvalidArguments(f"there can't be {number} workers")
    return range(1, number + 1)


def restart_delay(failures: int) -> float:
    """Return how many seconds to wait before a service starts again that has just ended `failures` times in a row."""
    return min(_MAX_DELAY, 0.2 * 2.0 ** min(failures - 1, 16)) if failures else 0.0
