"""Finding RabbitMQ and Erlang on this machine. Nothing is started here, and nothing installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

_DEBIAN_WRAPPER = "rabbitmq-script-wrapper"
_ELSEWHERE = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/local/lib/erlang/bin")


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """A RabbitMQ that can be started as the user who runs Python.

    Parameters
    ----------
    server
        The `rabbitmq-server` script that doesn't switch users.
    erl, epmd
        Erlang's emulator and its port mapper.
    version, erlang
        Empty where they can't be told.
    """

    server: Path
    erl: Path
    epmd: Path
    version: str = ""
    erlang: str = ""


def find_rabbitmq(environ: Mapping[str, str] = os.environ) -> Installation | None:
    """Return the RabbitMQ to use: the one beside this Python (conda's), on PATH, or where Debian puts it.

    Debian's `/usr/sbin/rabbitmq-server` is a wrapper that runs as the user rabbitmq only; the real script lies
    beside it.
    """
    search = _search_path(environ)
    server, erl = shutil.which("rabbitmq-server", path=search), shutil.which("erl", path=search)
    if server is None or erl is None:
        return None
    script = _behind_wrapper(Path(server))
    epmd = Path(erl).resolve().with_name("epmd")  # Erlang's own bin directory has both
    on_path = shutil.which("epmd", path=search)
    if not epmd.exists():
        if on_path is None:
            return None
        epmd = Path(on_path)
    return Installation(
        server=script, erl=Path(erl), epmd=epmd, version=_rabbitmq_version(script), erlang=_erlang_version(Path(erl))
    )


def _search_path(environ: Mapping[str, str]) -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath), *_ELSEWHERE])


def _behind_wrapper(server: Path) -> Path:
    real = server.resolve()
    return real.with_name("rabbitmq-server") if real.name == _DEBIAN_WRAPPER else server


def _rabbitmq_version(server: Path) -> str:
    home = server.resolve().parent.parent
    for name in (home.name, *(path.name for path in home.glob("plugins/rabbit-[0-9]*"))):
        if match := re.fullmatch(r"(?:rabbitmq_server|rabbit)-(\d[\w.+-]*?)(?:\.ez)?", name):
            return match[1]
    try:
        answer = subprocess.run(
            [server.with_name("rabbitmqctl"), "version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _erlang_version(erl: Path) -> str:
    root = erl.resolve().parent.parent
    releases = [*root.glob("releases/*/OTP_VERSION"), *root.glob("lib/erlang/releases/*/OTP_VERSION")]
    return releases[-1].read_text().strip() if releases else ""
