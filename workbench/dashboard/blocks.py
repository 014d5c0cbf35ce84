"""What the task stream draws: attempts as blocks on lanes. Attempts too short to be seen are drawn together. Pure.

At 2,000 tasks a second nobody could see, and no browser draw, each of them for long. Neighbours on a lane that went
well become one block, as long as that spans less than `MERGED` seconds, or more where there are so many lanes that a
minute of them wouldn't be kept. A failure never hides in one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from workbench.core.live import Execution

MERGED = 0.1
KEPT = 12_000
MINUTE = 60.0
IDLE = 60.0
"""Seconds after which a lane is given to a new slot of the same worker: a slot that is replaced has a new number."""
FORGOTTEN = 600.0
"""Seconds after which it's given to anybody's."""

_WORDS = {"retry": "retrying"}
_GOOD = "succeeded"


@dataclass(frozen=True, slots=True)
class Block:
    """One rectangle: an attempt, or `count` of them in a row; `task_id` is the last one's."""

    serial: int  # from 1, without gaps; 0 until it's closed
    lane: int
    start: float  # seconds since 1970
    end: float
    operation: str  # the longest one's
    state: str
    worker: str
    slot: int
    task_id: str
    count: int = 1
    longest: float = 0.0  # seconds
    mixed: bool = False  # whether there are several operations in it
    busy: float = 0.0  # seconds, of all of them
    failure: str = ""


@dataclass(slots=True)
class Lane:
    """Whose attempts are drawn in it now, and when the last of them ended."""

    worker: str
    slot: int
    end: float
    place: int  # among its worker's: the slot that it was made for


@dataclass(frozen=True, slots=True)
class Layout:
    """Where blocks are drawn at one moment: it stays as it is while more of them come."""

    lanes: tuple[tuple[str, int], ...] = ()  # the worker and the slot of each
    rows: tuple[int, ...] = ()  # of each lane, from the top
    serial: int = 0  # of the last block


class Blocks:
    """The latest blocks, and which lanes there are.

    Parameters
    ----------
    kept
        How many blocks are remembered.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.lanes: list[Lane] = []
        self.slots: dict[str, int] = {}  # how many each worker has, where that's known: it needs no more lanes
        self._kept = kept
        self.serial = 0
        self._open: dict[int, Block] = {}  # by lane
        self._blocks: deque[Block] = deque(maxlen=kept)

    @property
    def merged(self) -> float:
        """Seconds that a block of several attempts spans at most."""
        return max(MERGED, len(self.lanes) * MINUTE / (0.8 * self._kept))

    @property
    def rows(self) -> tuple[int, ...]:
        """The row of each lane, from the top: in the order of workers, then of their slots."""
        lanes = self.lanes
        order = sorted(range(len(lanes)), key=lambda number: (_natural(lanes[number].worker), lanes[number].place))
        return tuple(sorted(range(len(order)), key=order.__getitem__))

    def add(self, ended: Iterable[Execution], now: float) -> None:
        """Take in attempts that have ended; close the blocks to which none was added for a while."""
        for execution in sorted(ended, key=lambda each: each.started_at):
            self._add(execution)
        for lane in [lane for lane, block in self._open.items() if now - block.end > self.merged]:
            self._close(lane)

    def under_way(self, running: Iterable[Execution], now: float) -> tuple[Block, ...]:
        """Return what runs now, as blocks that end now."""
        return tuple(self._running(each, each.slot, now) for each in running if each.slot is not None)

    def layout(self) -> Layout:
        """Return where they are drawn now; asked by who adds them."""
        return Layout(tuple((lane.worker, lane.slot) for lane in self.lanes), self.rows, self.serial)

    def since(self, serial: int, until: int | None = None) -> list[Block]:
        """Return the blocks after `serial`, up to `until`, as far as they are remembered, the oldest first."""
        blocks = list(self._blocks)
        before = blocks[0].serial if blocks else 0
        return blocks[max(0, serial + 1 - before) : None if until is None else max(0, until + 1 - before)]

    def within(self, since: float) -> list[Block]:
        """Return the blocks that have ended since a time (seconds since 1970), as far as they are remembered."""
        return [block for block in list(self._blocks) if block.end >= since]

    def lane_of(self, worker: str, slot: int, at: float) -> int:
        """Return the lane of a slot, at a time: its own, one that is free again, or a new one."""
        own, idle = [], None
        for number, lane in enumerate(self.lanes):
            if lane.worker == worker and lane.slot == slot:
                return number
            if lane.worker == worker:
                own.append(number)
            free = at - lane.end > (IDLE if lane.worker == worker else FORGOTTEN)
            if free and idle is None:
                idle = number
        if len(own) >= self.slots.get(worker, len(own) + 1):
            idle = min(own, key=lambda number: self.lanes[number].end)
        if idle is None:
            self.lanes.append(Lane(worker, slot, at, slot))
            return len(self.lanes) - 1
        place = self.lanes[idle].place if self.lanes[idle].worker == worker else slot
        self.lanes[idle] = Lane(worker, slot, at, place)
        return idle

    def _add(self, execution: Execution) -> None:
        if execution.slot is None or execution.finished_at is None:
            return  # nobody knows where it ran, or it still runs
        start, end = execution.started_at.timestamp(), execution.finished_at.timestamp()
        number = self.lane_of(execution.worker, execution.slot, start)
        self.lanes[number].end = max(self.lanes[number].end, end)
        state = _WORDS.get(execution.status, execution.status)
        block = self._open.get(number)
        if (
            block is not None
            and state == block.state == _GOOD
            and (execution.worker, execution.slot) == (block.worker, block.slot)
            and end - block.start <= self.merged
            and start >= block.start
        ):
            longer = end - start > block.longest
            self._open[number] = replace(
                block,
                end=max(block.end, end),
                operation=execution.operation if longer else block.operation,
                longest=end - start if longer else block.longest,
                mixed=block.mixed or execution.operation != block.operation,
                task_id=execution.task_id,
                count=block.count + 1,
                busy=block.busy + end - start,
            )
            return
        if block is not None:
            self._close(number)
        self._open[number] = Block(
            serial=0,
            lane=number,
            start=start,
            end=end,
            operation=execution.operation,
            state=state,
            worker=execution.worker,
            slot=execution.slot,
            task_id=execution.task_id,
            busy=end - start,
            longest=end - start,
            failure=execution.failure,
        )

    def _running(self, execution: Execution, slot: int, now: float) -> Block:
        start = execution.started_at.timestamp()
        number = self.lane_of(execution.worker, slot, start)
        self.lanes[number].end = max(self.lanes[number].end, now)
        return Block(
            serial=0,
            lane=number,
            start=start,
            end=now,
            operation=execution.operation,
            state="running",
            worker=execution.worker,
            slot=slot,
            task_id=execution.task_id,
            busy=max(0.0, now - start),
        )

    def _close(self, lane: int) -> None:
        self.serial += 1
        self._blocks.append(replace(self._open.pop(lane), serial=self.serial))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what to sort names by, so that `worker-2` comes before `worker-10`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
