"""`Screen`: a dashboard of one client's workbench, in a process of its own, for as long as the client is open.

A process rather than a thread of the kernel: a cell that computes for an hour, or holds Python's lock in C code, leaves
it alone. Nothing here knows of Panel; the kernel only shows a frame with the process's address.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from typing import IO

from workbench.client import frame
from workbench.core.errors import WorkbenchError
from workbench.core.settings import DASHBOARD_READ_ONLY, DASHBOARD_USERS, Settings

START_TIMEOUT = 60.0
_PREFIX = "The dashboard is at "
_ANY_ORIGIN = ("--allow-websocket-origin", "*")  # the proxy's name isn't known here; who knows the path may come in
_OF_OTHERS = ("BOKEH_ALLOW_WS_ORIGIN", "PANEL_OAUTH_", "PANEL_BASIC_AUTH", DASHBOARD_USERS)


class Screen:
    """The dashboard in a notebook cell. Show it again, and it is shown there instead.

    Parameters
    ----------
    settings
        Of the client whose workbench it shows.
    read_only
        Whether everything that changes something is left out.
    height
        Of the frame, in pixels.
    proxy
        The base path of the notebook server by way of which the browser reaches it; nothing where it's on this machine.

    Raises
    ------
    WorkbenchError
        If Panel isn't installed, or the process doesn't come up.
    """

    def __init__(self, settings: Settings, *, read_only: bool = False, height: int = 760, proxy: str = "") -> None:
        if importlib.util.find_spec("panel") is None:
            raise WorkbenchError("the dashboard needs Panel: pip install 'workbench[dashboard]'")
        self.height = height
        self.read_only = read_only
        self.proxy = proxy
        # Whoever else is on this machine can reach the port, but doesn't know the path.
        self._path = secrets.token_urlsafe(16)
        log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        command = [sys.executable, "-m", "workbench", "dashboard", "--port", "0", "--until-eof"]
        process = subprocess.Popen(
            [*command, f"--prefix={self._path}", *(_ANY_ORIGIN if proxy else ())],  # a path may begin with a dash
            env=_environ(settings, read_only=read_only),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        self._process = process
        self._close = weakref.finalize(self, _end, process, log, os.getpid())
        try:
            self.port = _await_port(process, log)
        except BaseException:
            self._close()
            raise

    @property
    def url(self) -> str:
        """The address in a browser: on this machine, or below the notebook server's proxy where there is one."""
        return frame.address(self.proxy, self.port, self._path)

    @property
    def open(self) -> bool:
        """Whether it is there to be shown."""
        return self._close.alive and self._process.poll() is None

    def close(self) -> None:
        """End its process. May be called twice."""
        self._close()

    def __repr__(self) -> str:
        return f"<Screen at {self.url}>" if self.open else "<Screen, closed>"

    def _repr_html_(self) -> str:
        """Return the frame that shows it; a frame of it that is shown elsewhere on the page gives way."""
        if not self.open:
            return frame.CLOSED
        return frame.frame(self.url, self._path, self.height, proxied=bool(self.proxy))


def _environ(settings: Settings, *, read_only: bool) -> dict[str, str]:
    """Return its environment, without what is meant for a dashboard that others log in to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OF_OTHERS)}
    return {**inherited, **settings.as_environ(), DASHBOARD_READ_ONLY: "1" if read_only else ""}


def _await_port(process: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    """Read the address that it prints, and wait until somebody answers there."""
    assert process.stdout is not None
    line = process.stdout.readline().decode(errors="replace")
    if line.startswith(_PREFIX):
        port = int(line.removeprefix(_PREFIX).split("/")[2].rpartition(":")[2])
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if _answers(port):
                return port
            time.sleep(0.05)
    process.kill()
    process.wait()
    log.seek(0)
    said = log.read()[-2000:].decode(errors="replace")
    raise WorkbenchError(f"the dashboard didn't come up. What it said:\n{line}{said}")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def _end(process: subprocess.Popen[bytes], log: IO[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the owner ends, not the owner
    log.close()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
