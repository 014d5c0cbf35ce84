"""What the dashboard shows, folded from what the tracker told. No Bokeh, no I/O: it's tested by itself.

A `Picture` is all of it at one moment. It's never changed, but replaced as a whole; the blocks it refers to grow at
their end, by another thread, and are read by number, up to the last one that it has a place for.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from workbench.core.errors import BrokerUnavailable, TrackerUnavailable, WorkbenchError
from workbench.core.live import FORGET, Bucket, Execution, Mark, QueueFacts
from workbench.core.rpc import Changes, Queues, WorkerRecord
from workbench.dashboard import series
from workbench.dashboard.blocks import MINUTE, Block, Blocks, Layout
from workbench.dashboard.series import Lines, Second, Summary
from workbench.dashboard.styles import Style, style

KEPT = 3600
"""Seconds of the charts that are remembered."""
RATES = 10
"""Seconds that a rate is the mean of."""
LATELY = 300
"""Seconds that latencies are of."""
BEHIND = 10.0
"""Seconds of lag from which on the tracker is said to be behind."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Health:
    """Whether what is shown can be believed."""

    kind: str  # good, warn or bad
    word: str
    sentence: str = ""  # what is wrong, and what to do; empty where nothing is


@dataclass(frozen=True)
class Picture:
    """All that is shown, at one moment."""

    serial: int = 0
    life: int = 0  # goes up where all that was told before is void
    at: datetime = _BEGINNING  # when the tracker told it, by its clock
    now: datetime = _BEGINNING  # by the tracker's clock as well, and goes on where it tells nothing
    address: str = ""
    known: bool = False  # whether a tracker has ever answered
    heard: bool = False  # whether one has answered just now
    health: Health = Health("warn", "connecting", "Connecting to the broker.")
    blocked: str = ""
    states: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0  # tasks that have failed and weren't discarded, as the view of failures counts them
    tracker: str = ""
    started_at: datetime = _BEGINNING
    last_event_at: datetime | None = None  # when it recorded a message last, be it a worker's heartbeat
    lag: float = 0.0
    pending: int = 0
    workers: tuple[WorkerRecord, ...] = ()
    operations: tuple[str, ...] = ()
    styles: Mapping[str, Style] = field(default_factory=dict)
    blocks: Blocks = field(default_factory=Blocks)
    layout: Layout = field(default_factory=Layout)
    running: tuple[Block, ...] = ()
    skipped: int = 0  # starts and ends of attempts that nobody has told, and that may be of the last minute
    families: Mapping[str, Mapping[int, Second]] = field(default_factory=dict)
    lately: Summary = field(default_factory=Summary)
    rates: Summary = field(default_factory=Summary)  # of the last `RATES` whole seconds
    queues: tuple[QueueFacts, ...] = ()
    _lines: dict[tuple[str, int], Lines] = field(default_factory=dict, compare=False, repr=False)

    @property
    def recorded(self) -> int:
        """How many tasks there are in all."""
        return sum(self.states.values())

    @property
    def dead(self) -> int:
        """How many dead letters there are."""
        return sum(queue.ready or 0 for queue in self.queues if queue.kind == "dead")

    def seconds(self, family: str | None, length: int) -> list[Second]:
        """Return the whole seconds of the last `length` in which something happened, of one family or of all."""
        end = int(self.at.timestamp())
        chosen = self.families.values() if family is None else [self.families.get(family, {})]
        # The feed may take away what is older than it keeps, just now.
        found = (known.get(at) for known in chosen for at in range(end - length, end))
        return [second for second in found if second is not None]

    def lines(self, family: str | None, length: int, points: int) -> Lines:
        """Return the lines of a chart; made once, however many pages draw them."""
        key = (family or "", length)
        if key not in self._lines:
            end = int(self.at.timestamp())
            self._lines[key] = series.lines(self.seconds(family, length), end - length, end, points)
        return self._lines[key]


class Model:
    """Folds answers, and their absence, into pictures."""

    def __init__(self) -> None:
        self.picture = Picture()
        self.mark: Mark | None = None
        self._forget()

    def _forget(self) -> None:
        self._operations: set[str] = set()
        self._buckets: dict[tuple[str, int], dict[str, Bucket]] = {}
        self._families: dict[str, dict[int, Second]] = defaultdict(dict)
        self._workers: dict[str, WorkerRecord] = {}
        self._running: dict[tuple[str, int, int, str, datetime], Execution] = {}
        self._blocks = Blocks()
        self._styles: dict[str, Style] = {}
        self._skipped: deque[tuple[datetime, int]] = deque()  # how many were, and when that was told

    def take(self, told: Changes, queues: Queues | None, *, address: str) -> None:
        """Take in what the tracker told; `queues` is None where it wasn't asked for them."""
        if told.anew:
            self._forget()
        self.mark = told.mark
        now = told.health.now
        self._operations.update(counter.operation for counter in told.counters if counter.operation)
        self._workers.update((worker.worker, worker) for worker in told.workers)
        self._blocks.slots.update((worker.worker, worker.slots) for worker in told.workers)
        self._take_buckets(told.buckets, int(now.timestamp()))
        for name, known in list(self._workers.items()):
            if (now - known.last_heartbeat_at).total_seconds() > FORGET:  # as the tracker has, which says no word of it
                del self._workers[name]
        if told.skipped:
            self._running.clear()  # some may have ended with what was left out; what runs is told once more
        self._take_executions(told.executions, now)
        self._take_skipped(told)
        running = self._blocks.under_way(self._running.values(), now.timestamp())
        picture = Picture(
            serial=self.picture.serial + 1,
            life=self.picture.life + told.anew,
            at=now,
            now=now,
            address=address,
            known=True,
            heard=True,
            health=_health(told),
            blocked=told.health.blocked,
            states={state.value: count for state, count in told.states.items()},
            failures=told.failures,
            tracker=told.health.tracker,
            started_at=told.health.started_at,
            last_event_at=told.health.last_event_at,
            lag=told.health.lag,
            pending=told.health.pending,
            workers=tuple(self._workers.values()),
            operations=tuple(sorted(self._operations)),
            styles=dict(self._styles),
            blocks=self._blocks,
            layout=self._blocks.layout(),
            running=running,
            skipped=sum(count for _, count in self._skipped),
            families=dict(sorted(self._families.items())),
            queues=self.picture.queues if queues is None else queues.queues,
        )
        self.picture = replace(
            picture,
            lately=series.summary(picture.seconds(None, LATELY)),
            rates=series.summary(picture.seconds(None, RATES)),
        )

    def miss(self, error: WorkbenchError, *, address: str, silence: float = 0.0) -> None:
        """Take in that nothing was told, and why; `silence` are the seconds since something was."""
        self.picture = replace(
            self.picture,
            serial=self.picture.serial + 1,
            now=self.picture.at + timedelta(seconds=silence),
            address=address or self.picture.address,
            heard=False,
            health=diagnosis(error, self.picture),
        )

    def _take_buckets(self, buckets: Iterable[Bucket], now: int) -> None:
        changed = set()
        for bucket in buckets:
            self._buckets.setdefault((bucket.family, bucket.second), {})[bucket.lane] = bucket
            changed.add((bucket.family, bucket.second))
        for family, at in changed:
            # A new dictionary for each second that changes would cost more than it's worth: pages only read it.
            self._families[family][at] = series.second_of(at, self._buckets[family, at].values())
        for key in [key for key in self._buckets if key[1] < now - KEPT]:
            del self._buckets[key]
            self._families[key[0]].pop(key[1], None)

    def _take_executions(self, executions: Iterable[Execution], now: datetime) -> None:
        ended = []
        for execution in executions:
            if execution.operation not in self._styles:
                self._styles[execution.operation] = style(len(self._styles))
            if execution.finished_at is None:
                self._running[execution.key] = execution
            else:
                self._running.pop(execution.key, None)
                ended.append(execution)
        self._blocks.add(ended, now.timestamp())

    def _take_skipped(self, told: Changes) -> None:
        """Count what was left out, for as long as it would be seen."""
        now, minute = told.health.now, timedelta(seconds=MINUTE)
        # What was left out is older than what was told.
        oldest = next((each.finished_at for each in told.executions if each.finished_at is not None), now)
        if told.skipped and now - oldest < minute:
            self._skipped.append((now, told.skipped))
        while self._skipped and now - self._skipped[0][0] >= minute:
            self._skipped.popleft()


def _health(told: Changes) -> Health:
    health = told.health
    if health.blocked:
        words = "Tasks that are sent now wait, or are refused; those on the queues go on."
        return Health("bad", "blocked", f"The broker takes nothing in: {health.blocked}. {words}")
    if health.lag > BEHIND and health.pending:  # what came late, and is recorded, was told late
        words = f"{health.pending:,} messages wait to be recorded; what is shown is {health.lag:.0f} s old."
        return Health("warn", "behind", f"The tracker is behind: {words}")
    return Health("good", "live")


def diagnosis(error: WorkbenchError, last: Picture) -> Health:
    """Say what is wrong where no answer came, as a reader of the page has to know it."""
    old = f" What is shown is from {last.at:%H:%M:%S} UTC." if last.known else ""
    match error:
        case TrackerUnavailable():
            words = "Tasks go on without it, and it records what it missed when it's back."
            return Health("warn", "no tracker", f"No tracker answers. {words}{old}")
        case BrokerUnavailable():
            return Health("bad", "no broker", f"{error}. The page goes on by itself when it's back.{old}")
        case _:
            return Health("bad", type(error).__name__, f"{error}.{old}")
