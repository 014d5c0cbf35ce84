"""The supervisor's end of the pipe to its guard, which ends the children of a supervisor that was killed."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys

from workbench.local import guard

logger = logging.getLogger(__name__)


class Guard:
    """Starts a guard, and another where that ends. May be used from any thread: a line is one small write."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: set[int] = set()

    def __enter__(self) -> None:
        # The bare file and an isolated interpreter: nothing of the package, nothing of the user's environment.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"bye\n")
            process.stdin.close()
            process.wait()

    def watch(self, group: int) -> None:
        """Have this process group ended if the supervisor dies."""
        self._watched.add(group)
        self._tell(f"watch {group}")

    def forget(self, group: int) -> None:
        """Take a group off the list: it has ended, and its number may be given to another."""
        self._watched.discard(group)
        self._tell(f"forget {group}")

    def check(self, groups: set[int]) -> None:
        """See that the guard itself is alive, and watches these and no others."""
        for group in self._watched - groups:
            self.forget(group)
        if self._process is not None and self._process.poll() is not None:
            logger.warning("the guard ended with %s, starting another", self._process.returncode)
            self.__exit__()
            self.__enter__()
            for group in groups:
                self.watch(group)

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # `check` starts another
                self._process.stdin.write(f"{line}\n".encode())
