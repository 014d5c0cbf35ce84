"""The dead letters as a client sees them: which of them are meant, and what came of sending them again.

How they are taken off their queue is `broker.deadletters`' part. The coroutines run on the engine's loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Self

import msgspec

from workbench.broker.deadletters import Sent
from workbench.broker.letters import Letter
from workbench.client.engine import Engine
from workbench.client.outcomes import Waiting
from workbench.core.errors import InvalidArguments, TaskNotFound

TIMEOUT = 120.0
MOST = 10_000
ALL = sys.maxsize
ON_ITS_WAY = 1.0
"""Seconds in which a letter that isn't there may come."""
PAUSE = 0.2


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant."""

    ids: frozenset[str] | None = None
    operation: str | None = None
    reason_type: str | None = None

    @classmethod
    def of(
        cls, ids: Sequence[str] | None, everything: bool, operation: str | None = None, reason_type: str | None = None
    ) -> Self:
        """Check that something was chosen, and not twice."""
        filtered = operation is not None or reason_type is not None
        if (ids is not None) + (everything or filtered) != 1:
            raise InvalidArguments("takes either the ids of dead letters, or all=True, or what they have in common")
        return cls(ids=None if ids is None else frozenset(ids), operation=operation, reason_type=reason_type)

    def __call__(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return (
            (self.ids is None or not self.ids.isdisjoint(letter.ids))
            and self.operation in (None, letter.operation)
            and self.reason_type in (None, letter.reason_type)
        )


async def browse(engine: Engine, choice: Choice, limit: int) -> list[Letter]:
    """Return the letters that are meant, the oldest first."""
    if not 1 <= limit <= MOST:
        raise InvalidArguments(f"limit takes a number from 1 to {MOST:,}, got {limit!r}")
    return await engine.dead_letters.browse(choice, limit=limit, timeout=TIMEOUT)


async def find(engine: Engine, letter_id: str) -> Letter:
    """Return one letter."""
    return (await _named(engine, frozenset({letter_id}), TIMEOUT))[0]


async def replay(engine: Engine, choice: Choice, timeout: float) -> list[tuple[Sent, Waiting]]:
    """Send letters again; return each with what waits for its new outcome.

    Letters that were named are looked at first, so that none is sent where one of them can't be.
    """
    if choice.ids is not None:
        for letter in await _named(engine, choice.ids, timeout):
            if letter.kind == "other":
                raise InvalidArguments(
                    f"the dead letter {letter.message_id or letter.task_id} can't be sent again: it is neither a task "
                    f"nor an outcome ({letter.reason_type}: {letter.reason}). Nothing was sent. It can be purged"
                )
    sent = await engine.dead_letters.replay(choice, timeout=timeout)
    # Never "addressed", though it may be this client's own: its outcome may have come before this line.
    waiting = [(each, engine.room.enter(each.task_id, replay=each.replay)) for each in sent]
    engine.watch(*(each for _, each in waiting))
    return waiting


async def purge(engine: Engine, choice: Choice, timeout: float) -> int:
    """Remove letters for good; return how many."""
    if choice.ids is not None:
        await _named(engine, choice.ids, timeout)
    return await engine.dead_letters.purge(choice, timeout=timeout)


async def _named(engine: Engine, ids: frozenset[str], timeout: float) -> list[Letter]:
    """Return the letters with these ids.

    Workers tell how a task ended before they put it among the dead letters: who has just heard of it may come early.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + min(ON_ITS_WAY, timeout)
    while True:
        found = await engine.dead_letters.browse(Choice(ids=ids), limit=ALL, timeout=timeout)
        missing = sorted(ids.difference(*(letter.ids for letter in found)))
        if not missing:
            return found
        if clock() >= end:
            raise TaskNotFound(f"no dead letter is called {', '.join(missing[:5])}; nothing was changed")
        await asyncio.sleep(PAUSE)
