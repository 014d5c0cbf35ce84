"""What several tests need: a condition to wait for, and RabbitMQ's own command line."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from workbench.broker.installation import find_rabbitmq
from workbench.broker.node import Node, environment


def wait_until(condition: Callable[[], object], *, timeout: float = 30.0, what: str = "") -> None:
    """Poll until `condition` holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it never held within {timeout:g} s: {what or condition}")
        time.sleep(0.02)


async def until(condition: Callable[[], object], *, timeout: float = 30.0, what: str = "") -> None:
    """As `wait_until`, on an event loop."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it never held within {timeout:g} s: {what or condition}")
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


_started: set[int] = set()  # the pids of nodes that have booted


def rabbitmqctl(node: Node, *arguments: str) -> str:
    """Run `rabbitmqctl` against a private node and return what it prints."""
    pid = node.processes()["node"]
    if pid not in _started:  # a node takes connections shortly before it takes commands
        _run_rabbitmqctl(node, "await_startup")
        _started.add(pid)
    return _run_rabbitmqctl(node, *arguments)


def _run_rabbitmqctl(node: Node, *arguments: str) -> str:
    installation = find_rabbitmq()
    assert installation is not None
    environ = environment(node.directory, node._identity(), installation, os.environ)
    command = [installation.server.with_name("rabbitmqctl"), "--quiet", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout
