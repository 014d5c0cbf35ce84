"""`python -m tests.faults.failing_worker worker …`: the `workbench` command, whose worker dies at a chosen moment.

The moments lie between the broker's confirm of one message and what follows from it: too short to be hit from outside.
A test arms one for an attempt of an operation; the worker that comes there strikes it, and is gone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from workbench.cli import main
from workbench.core.messages import Status, Task, TaskFinished, decode_task
from workbench.worker.conclusions import Conclusions
from workbench.worker.service import Worker

DIRECTORY = "WORKBENCH_TEST_MOMENTS"
"""The environment variable that says where moments are armed."""


class Moment(StrEnum):
    """When a worker may die."""

    TELL_RETRY = "the next attempt is confirmed, the outcome `retry` not told yet"
    BURY = "the outcome is confirmed, the dead letter not written yet"
    ACK = "all that is to be said is confirmed, the delivery not acknowledged yet"


class Moments:
    """The moments at which a worker dies: armed by a test, struck once.

    Parameters
    ----------
    directory
        Where they are armed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def environ(self) -> dict[str, str]:
        """What a failing worker has to be told."""
        return {DIRECTORY: str(self._directory)}

    def arm(self, moment: Moment, operation: str, attempt: int = 1) -> None:
        """Let the next worker die that comes there with such an attempt."""
        (self._directory / moment.name).write_text(f"{operation}/{attempt}")

    def struck(self, moment: Moment) -> str:
        """Return the id of the task that was struck."""
        return (self._directory / f"{moment.name}.struck").read_text()

    def pass_by(self, moment: Moment, task: Task) -> None:
        """Go on, or die."""
        armed = self._directory / moment.name
        with contextlib.suppress(FileNotFoundError):
            if armed.read_text() == f"{task.operation}/{task.attempt}":
                armed.unlink()
                armed.with_suffix(".struck").write_text(task.task_id)
                os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, method: str, look: Callable[..., None]) -> None:
    """Have `look` called with a method's arguments before it."""
    original = getattr(owner, method)

    @functools.wraps(original)
    def looked(self: Any, *args: Any, **kwargs: Any) -> Any:
        look(*args, **kwargs)
        return original(self, *args, **kwargs)

    setattr(owner, method, looked)


def lay(moments: Moments) -> None:
    """Put the moments into this process's worker."""

    def tell(job: Any, outcome: TaskFinished) -> None:
        if outcome.status is Status.RETRY:
            moments.pass_by(Moment.TELL_RETRY, job.task)

    before(Conclusions, "_tell", tell)
    before(Conclusions, "_letter", lambda body, *_, **__: moments.pass_by(Moment.BURY, decode_task(body)))
    before(Worker, "_settle", lambda job, _done: moments.pass_by(Moment.ACK, job.task))


if __name__ == "__main__":
    lay(Moments(Path(os.environ[DIRECTORY])))
    main()
