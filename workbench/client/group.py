"""`TaskGroup`: the handles of many tasks, in the order they were submitted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import Any, overload

from workbench.client import cancel
from workbench.client.cancel import TIMEOUT as CANCEL_TIMEOUT
from workbench.client.cancel import Cancellation
from workbench.client.handle import TaskHandle


class TaskGroup(Sequence[TaskHandle]):
    """The handles that `Client.map` returns. `await` the group for all results, or call `results`."""

    def __init__(self, handles: Sequence[TaskHandle]) -> None:
        self._handles = tuple(handles)

    def __repr__(self) -> str:
        return f"<TaskGroup of {len(self)}: {sum(handle.done() for handle in self)} done>"

    def __len__(self) -> int:
        return len(self._handles)

    @overload
    def __getitem__(self, index: int) -> TaskHandle: ...
    @overload
    def __getitem__(self, index: slice) -> TaskGroup: ...
    def __getitem__(self, index: int | slice) -> TaskHandle | TaskGroup:
        if isinstance(index, slice):
            return TaskGroup(self._handles[index])
        return self._handles[index]

    def __iter__(self) -> Iterator[TaskHandle]:
        return iter(self._handles)

    def __await__(self) -> Generator[Any, Any, list[Any]]:
        return self.wait().__await__()

    @property
    def ids(self) -> list[str]:
        """The tasks' ids, in order."""
        return [handle.id for handle in self]

    async def wait(self, timeout: float | None = None) -> list[Any]:
        """Wait for all results in a coroutine; raise the first failure in order. `timeout` is for all together."""
        deadline = _Deadline(timeout)
        return [await handle.wait(deadline.left()) for handle in self]

    def results(self, timeout: float | None = None) -> list[Any]:
        """Wait for all results, blocking the calling thread; as `wait` in all else."""
        deadline = _Deadline(timeout)
        return [handle.result(deadline.left()) for handle in self]

    def cancel(self, *, reason: str = "", timeout: float = CANCEL_TIMEOUT) -> list[Cancellation]:
        """Ask for the end of all tasks and wait for it, blocking the calling thread.

        Parameters
        ----------
        reason
            What their records say.
        timeout
            Seconds for all together. The intents stay when they are over.

        Returns
        -------
        list of Cancellation
            What came of each, in order; one that had ended before is told as such.
        """
        if not self._handles:
            return []
        engine = self._handles[0].attached().engine
        return engine.run(cancel.cancel(engine, self.ids, reason=reason, timeout=timeout)).result()

    def counts(self) -> Counter[str]:
        """Return how many tasks are done and how many are open."""
        return Counter("done" if handle.done() else "open" for handle in self)


class _Deadline:
    """A time-out that several waits share."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())
