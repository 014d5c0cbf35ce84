from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from workbench.tracker import batcher as room
from workbench.tracker.batcher import Batcher


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST_PAUSE", 0.001)


def test_what_gathers_while_a_batch_is_handled_makes_the_next_one() -> None:
    async def run() -> list[list[int]]:
        batches: list[list[int]] = []
        gate = asyncio.Event()
        first = asyncio.Event()

        async def handle(batch: Sequence[int]) -> None:
            batches.append(list(batch))
            first.set()
            await gate.wait()

        batcher = Batcher("numbers", handle, size=3)
        batcher.start()
        batcher.put(0)
        await first.wait()
        for number in range(1, 6):
            batcher.put(number)
        assert batcher.behind
        gate.set()
        assert await batcher.close(10)
        return batches

    assert asyncio.run(run()) == [[0], [1, 2, 3], [4, 5]]


def test_a_batch_that_fails_is_tried_again_until_it_is_handled_and_order_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> list[int]:
        handled: list[int] = []
        failures = iter([OSError("disk full"), OSError("disk full")])

        async def handle(batch: Sequence[int]) -> None:
            if error := next(failures, None):
                raise error
            handled.extend(batch)

        batcher = Batcher("numbers", handle, size=2)
        batcher.start()
        for number in range(5):
            batcher.put(number)
        assert await batcher.close(10)
        return handled

    assert asyncio.run(run()) == [0, 1, 2, 3, 4]
    assert caplog.text.count("disk full") >= 2


def test_closing_gives_up_on_a_batch_that_never_succeeds() -> None:
    async def run() -> bool:
        async def handle(batch: Sequence[int]) -> None:
            raise OSError("disk full")

        batcher = Batcher("numbers", handle, size=2)
        batcher.start()
        batcher.put(1)
        finished = await batcher.close(0.05)
        assert await batcher.close(0.05)  # a second time is nothing
        return finished

    assert not asyncio.run(run())


def test_what_is_forgotten_is_not_handled() -> None:
    async def run() -> list[int]:
        handled: list[int] = []

        async def handle(batch: Sequence[int]) -> None:
            handled.extend(batch)

        batcher = Batcher("numbers", handle, size=2)
        batcher.put(1)
        batcher.forget()
        batcher.put(2)
        batcher.start()
        assert await batcher.close(10)
        return handled

    assert asyncio.run(run()) == [2]


def test_a_batcher_has_stalled_for_as_long_as_something_waits_and_nothing_is_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        now = 100.0
        monkeypatch.setattr(room.time, "monotonic", lambda: now)

        async def handle(batch: Sequence[int]) -> None:
            pass

        batcher = Batcher("numbers", handle, size=2)
        batcher.put(1)
        now = 107.0
        batcher.put(2)
        assert batcher.stalled == 7.0
        batcher.start()
        await batcher.caught_up()
        now = 200.0
        assert batcher.stalled == 0.0
        batcher.put(3)
        assert batcher.stalled == 0.0
        assert await batcher.close(10)

    asyncio.run(run())


def test_catching_up_takes_what_was_put_before_and_no_longer() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        handled: list[int] = []

        async def handle(batch: Sequence[int]) -> None:
            await gate.wait()
            gate.clear()
            handled.extend(batch)

        batcher = Batcher("numbers", handle, size=1)
        batcher.start()
        await batcher.caught_up()  # nothing was put
        batcher.put(1)
        waiting = asyncio.ensure_future(batcher.caught_up())
        await asyncio.sleep(0)
        batcher.put(2)
        assert not waiting.done()
        gate.set()
        await asyncio.wait_for(waiting, 10)
        assert handled == [1]
        batcher.put(3)
        waiting = asyncio.ensure_future(batcher.caught_up())
        await asyncio.sleep(0)
        batcher.forget()  # 3, and maybe 2, will be delivered again
        gate.set()
        await asyncio.wait_for(waiting, 10)
        assert not await batcher.close(0) or 3 not in handled

    asyncio.run(run())
