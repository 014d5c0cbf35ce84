"""What the dashboard shows, folded from what the tracker told. No Bokeh, no I/O: it's tested by itself.

A `Picture` is all of it at one moment. It's never changed, but replaced as a whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from workbench.core.errors import BrokerUnavailable, TrackerUnavailable, WorkbenchError
from workbench.core.rpc import Stats, Workbench, WorkerRecord
from workbench.core.states import TERMINAL

OVER = 10.0
"""Seconds that a rate is the mean of."""
KEPT = 900
"""Points of the chart of rates."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Health:
    """Whether what is shown can be believed."""

    kind: str  # good, warn or bad
    word: str
    sentence: str = ""  # what is wrong, and what to do; empty where nothing is


@dataclass(frozen=True)
class Pace:
    """How fast tasks came and went at one time."""

    at: float  # seconds since 1970
    arriving: float  # a second
    ending: float


@dataclass(frozen=True)
class Picture:
    """All that is shown, at one moment."""

    serial: int = 0
    at: datetime = _BEGINNING
    address: str = ""
    known: bool = False  # whether a tracker has ever answered
    health: Health = Health("warn", "connecting", "Connecting to the broker.")
    states: dict[str, int] = field(default_factory=dict)
    recorded: int = 0
    tracker: str = ""
    tracker_started_at: datetime = _BEGINNING
    last_event_at: datetime | None = None
    workers: tuple[WorkerRecord, ...] = ()
    operations: tuple[str, ...] = ()
    paces: tuple[Pace, ...] = ()

    @property
    def pace(self) -> Pace:
        """The latest."""
        return self.paces[-1] if self.paces else Pace(self.at.timestamp(), 0.0, 0.0)


class Model:
    """Folds answers, and their absence, into pictures."""

    def __init__(self) -> None:
        self.picture = Picture()
        self._totals: deque[tuple[float, int, int]] = deque()
        self._paces: deque[Pace] = deque(maxlen=KEPT)

    def take(self, stats: Stats, facts: Workbench, *, address: str, now: datetime) -> None:
        """Take in what the tracker told."""
        at, ended = now.timestamp(), sum(stats.states.get(state, 0) for state in TERMINAL)
        if self.picture.tracker != stats.tracker:
            self._totals.clear()  # another's counts may be behind: a difference to them would say nothing
        self._totals.append((at, stats.total, ended))
        while len(self._totals) > 2 and at - self._totals[1][0] >= OVER:
            self._totals.popleft()
        first = self._totals[0]
        passed = max(at - first[0], 1.0)
        self._paces.append(
            Pace(at, max(0, stats.total - first[1]) / passed, max(0, ended - first[2]) / passed),
        )
        self.picture = Picture(
            serial=self.picture.serial + 1,
            at=now,
            address=address,
            known=True,
            health=Health("good", "live"),
            states={state.value: number for state, number in stats.states.items()},
            recorded=stats.total,
            tracker=stats.tracker,
            tracker_started_at=stats.started_at,
            last_event_at=stats.last_event_at,
            workers=facts.workers,
            operations=tuple(sorted(spec.name for spec in facts.operations)),
            paces=tuple(self._paces),
        )

    def miss(self, error: WorkbenchError, *, address: str, now: datetime) -> None:
        """Take in that nothing was told, and why."""
        self.picture = replace(
            self.picture,
            serial=self.picture.serial + 1,
            address=address or self.picture.address,
            health=diagnosis(error, self.picture, now),
        )


def diagnosis(error: WorkbenchError, last: Picture, now: datetime) -> Health:
    """Say what is wrong, as a reader of the page has to know it."""
    old = f" What is shown is from {last.at:%H:%M:%S} UTC." if last.known else ""
    match error:
        case TrackerUnavailable():
            return Health(
                "warn",
                "no tracker",
                f"No tracker answers. Tasks go on without it, and it records what it missed when it's back.{old}",
            )
        case BrokerUnavailable():
            return Health("bad", "no broker", f"{error}. The page goes on by itself when it's back.{old}")
        case _:
            return Health("bad", type(error).__name__, f"{error}.{old}")
