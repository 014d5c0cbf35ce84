"""Serving the dashboard the way `panel serve` does: its options are Panel's, so that its logins and prefixes work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from panel.command import main as panel

from workbench.dashboard.ports import free_port

APP = Path(__file__).with_name("app.py")
DOOR = Path(__file__).with_name("door.html")
"""Who comes in, is turned away or leaves sees this: Panel's own pages have fonts and pictures from elsewhere."""
_DOORS = ("--basic-login-template", "--oauth-error-template", "--logout-template")
_HERE = ("127.0.0.1", "::1", "localhost")


def serve(address: str, port: int, options: Sequence[str], say: Callable[[str], None]) -> None:
    """Serve until the process is told to end.

    Parameters
    ----------
    address, port
        Where to listen; port 0 takes any that is free.
    options
        Further options of `panel serve`.
    say
        Told the address, before it is served.
    """
    port = port or free_port(address)
    say(f"The dashboard is at {url_of(address, port, options)}")
    sys.argv = ["panel", *arguments(address, port, options)]  # Panel reads its options from there
    panel()


def end_with_input() -> None:
    """Have this process end when its standard input does: when who started it has gone, however that went."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        # Who read what this process prints has gone, too: Bokeh's handler of the signal prints, and would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="workbench lifeline", daemon=True).start()


def url_of(address: str, port: int, options: Sequence[str] = ()) -> str:
    """Return the address for a browser on this machine, with the prefix that `options` name."""
    host = "127.0.0.1" if address in ("0.0.0.0", "") else address  # noqa: S104 - compared, not listened on
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{_prefix(options)}/"


def arguments(address: str, port: int, options: Sequence[str]) -> list[str]:
    """Return the command line for Panel.

    A page of another site may not talk to the server through its reader's browser: the web socket's origin has to be
    named. For a server on this machine alone its own addresses are.
    """
    given = [
        "serve",
        str(APP),
        "--index",
        APP.stem,
        "--address",
        address,
        "--port",
        str(port),
        "--plugins",
        "workbench.dashboard.routes",
    ]
    if address in _HERE:
        given += [
            word for host in ("127.0.0.1", "localhost") for word in ("--allow-websocket-origin", f"{host}:{port}")
        ]
    named = {option.partition("=")[0] for option in options}
    if "--log-level" not in named:
        given += ["--log-level", "warning"]
    given += [word for name in _DOORS if name not in named for word in (name, str(DOOR))]
    return [*given, *options]


def _prefix(options: Sequence[str]) -> str:
    for number, option in enumerate(options):
        name, _, value = option.partition("=")
        if name == "--prefix":
            text = value or next(iter(options[number + 1 :]), "")
            return f"/{text.strip('/')}" if text.strip("/") else ""
    return ""
