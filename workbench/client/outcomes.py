"""Which tasks somebody here waits for, and their outcomes as they arrive. No input or output.

A `Waiting` lives as long as a handle (or a call that waits) holds it: outcomes that nobody holds are not kept, the
tracker has them.
"""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Future

from workbench.core.errors import (
    ResultExpired,
    TaskCancelled,
    TaskEnded,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    Unroutable,
)
from workbench.core.messages import Failure, Status, TaskFinished
from workbench.core.rpc import Outcomes


class Waiting:
    """The outcome of one task, once it is known; of one replay of it, where it was sent again from the dead letters."""

    __slots__ = ("__weakref__", "addressed", "future", "missed", "replay", "task_id", "watched")

    def __init__(self, task_id: str, *, addressed: bool, replay: int = 0) -> None:
        self.task_id = task_id
        self.replay = replay  # outcomes of earlier replays are none of this one
        self.addressed = addressed  # the broker sends its outcome to this client by itself
        self.watched = False  # the tracker is being asked for it
        self.missed = 0  # times the tracker didn't know of it
        self.future: Future[TaskFinished] = Future()


MOST_MISSES = 10
"""Times the tracker may not know of what the broker took from this very client: it may be on its way there."""


class WaitingRoom:
    """Every task that somebody here holds on to. May be used from any thread."""

    def __init__(self) -> None:
        self._waiting: weakref.WeakValueDictionary[str, Waiting] = weakref.WeakValueDictionary()
        self._entering = threading.Lock()

    def __len__(self) -> int:
        return len(self.open())

    def enter(self, task_id: str, *, addressed: bool = False, replay: int = 0) -> Waiting:
        """Return the one `Waiting` of a task, made if there is none for this `replay` or a later one."""
        with self._entering:
            found = self._waiting.get(task_id)
            if found is None or found.replay < replay:
                found = self._waiting[task_id] = Waiting(task_id, addressed=addressed, replay=replay)
            return found

    def enter_anew(self, task_id: str) -> Waiting:
        """As `enter`, but where the task is known to have failed: somebody may have sent it again since."""
        found = self.find(task_id)
        if found is not None and _has_failed(found):
            with self._entering:
                if self._waiting.get(task_id) is found:
                    del self._waiting[task_id]
        return self.enter(task_id, replay=found.replay if found is not None else 0)

    def find(self, task_id: str) -> Waiting | None:
        """Return the task's `Waiting`, where somebody holds one."""
        return self._waiting.get(task_id)

    def open(self) -> list[str]:
        """Return the ids of all tasks that haven't ended as far as is known here."""
        # `valuerefs` is a copy, made at once; to iterate over the values fails where another thread enters a task.
        held = [reference() for reference in self._waiting.valuerefs()]
        return [waiting.task_id for waiting in held if waiting is not None and not waiting.future.done()]

    def ended(self, outcome: TaskFinished) -> None:
        """Take an outcome; a second one for the same task, one that isn't an end or of an earlier replay is ignored."""
        waiting = self._waiting.get(outcome.task_id)
        if waiting is None or outcome.status is Status.RETRY or outcome.replay < waiting.replay:
            return
        if not waiting.future.done():
            waiting.future.set_result(outcome)

    def answered(self, answer: Outcomes) -> None:
        """Take what the tracker answered."""
        for outcome in answer.ended:
            self.ended(outcome)
        for task_id in answer.unknown:
            if not self._is_early(task_id):
                self._fail(
                    task_id,
                    TaskNotFound(
                        f"the tracker has no task {task_id}: it was never submitted to this workbench, or its record "
                        "has been swept"
                    ),
                )
        for task_id in answer.expired:
            if not self._is_early(task_id):
                self._fail(
                    task_id, ResultExpired(f"the result of task {task_id} has been swept after its retention time")
                )

    def _is_early(self, task_id: str) -> bool:
        """Whether the tracker was asked for what this client has sent, and may not have it yet."""
        waiting = self.find(task_id)
        if waiting is None or not (waiting.addressed or waiting.replay) or waiting.missed >= MOST_MISSES:
            return False
        waiting.missed += 1
        return True

    def unanswered(self, task_id: str, error: Exception) -> None:
        """Let whoever waits for somebody else's task know; what is addressed to this client still comes by itself."""
        if (waiting := self.find(task_id)) is not None and not waiting.addressed:
            self._fail(task_id, error)

    def failed(self, task_id: str, error: Exception) -> None:
        """Let whoever waits for a task know that nothing can be learnt about it."""
        self._fail(task_id, error)

    def _fail(self, task_id: str, error: Exception) -> None:
        waiting = self._waiting.pop(task_id, None)
        if waiting is not None and not waiting.future.done():
            waiting.future.set_exception(error)


def _has_failed(waiting: Waiting) -> bool:
    done = waiting.future.done() and waiting.future.exception() is None
    return done and waiting.future.result().status is Status.FAILED


def error_of(outcome: TaskFinished) -> TaskEnded | None:
    """Return the error that a task's end means to whoever wanted its result; None where it succeeded."""
    if outcome.status is Status.SUCCEEDED:
        return None
    failure = outcome.failure or Failure(type=outcome.status.value, message="")
    head = f"{outcome.operation} ({outcome.task_id})"
    match outcome.status:
        case Status.CANCELLED:
            return TaskCancelled(f"{head} was cancelled", task_id=outcome.task_id, failure=failure)
        case Status.EXPIRED:
            return TaskExpired(f"{head}: {failure.message}", task_id=outcome.task_id, failure=failure)
    kind = Unroutable if failure.type == "Unroutable" else TaskFailed
    where = f" on {outcome.worker}" if outcome.worker else ""
    text = f"{head} failed in attempt {outcome.attempt}{where}: {failure}"
    error = kind(text, task_id=outcome.task_id, failure=failure)
    for title, note in (("The worker's traceback", failure.traceback), ("What the task printed", outcome.output)):
        if note.strip():
            error.add_note(f"\n{title}:\n{note.strip()}")
    return error


def result_of(outcome: TaskFinished) -> bytes:
    """Return the encoded result, or raise what the outcome means."""
    if (error := error_of(outcome)) is not None:
        raise error
    assert outcome.result is not None
    return outcome.result
