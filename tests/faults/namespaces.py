"""A network namespace with one link to this machine, whose packets can be made to vanish without a word.

Needs root, `ip` (iproute2) and `iptables`; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from workbench.core.ids import new_name

T = TypeVar("T")

HERE, THERE = "10.231.77.1", "10.231.77.2"  # a private network of two addresses
_CLONE_NEWNET = 0x40000000


def why_not() -> str:
    """Return why no namespace can be made here; empty where one can."""
    name = new_name("probe")[-12:]
    try:
        run("ip", "netns", "add", name)
        try:
            run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", "-j", "DROP")
        finally:
            run("ip", "netns", "del", name)
        return ""
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        return f"network namespaces can't be made here: {detail.strip()}"


def _clear() -> None:
    """Take away what tests that were killed have left: of two links with one address, only the older would be used."""
    for line in run("ip", "-o", "addr", "show", "to", HERE).splitlines():
        near = line.split()[1]
        if near.startswith("wbn"):
            run("ip", "link", "del", near)
            run("ip", "netns", "del", f"wb-{near.removeprefix('wbn')}")


class Namespace:
    """The far end of a link; use as a context manager.

    What runs in it reaches this machine at `HERE`, and nothing else.
    """

    def __init__(self) -> None:
        tail = new_name("x")[-8:]
        self.name = f"wb-{tail}"
        self._near, self._far = f"wbn{tail}", f"wbf{tail}"

    def __enter__(self) -> Self:
        _clear()
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
            run("ip", "addr", "add", f"{HERE}/30", "dev", self._near)
            run("ip", "link", "set", self._near, "up")
            run("ip", "-n", self.name, "addr", "add", f"{THERE}/30", "dev", self._far)
            run("ip", "-n", self.name, "link", "set", self._far, "up")
            run("ip", "-n", self.name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", self._near)
        run("ip", "netns", "del", self.name)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)

    @contextlib.contextmanager
    def blackholed(self) -> Iterator[None]:
        """Let every packet of either direction vanish in here: nobody is told, as where a cable is pulled elsewhere."""
        chains = ("INPUT", "OUTPUT")  # the namespace's own: this machine's rules are left alone
        for chain in chains:
            run(*self.prefix, "iptables", "-A", chain, "-j", "DROP")
        try:
            yield
        finally:
            for chain in chains:
                run(*self.prefix, "iptables", "-D", chain, "-j", "DROP")

    def call(self, make: Callable[[], T]) -> T:
        """Call `make` in a thread whose sockets, and those of the threads it starts, are in the namespace."""
        made: list[T] = []
        failed: list[BaseException] = []

        def inside() -> None:
            try:
                descriptor = os.open(Path("/var/run/netns", self.name), os.O_RDONLY)
                try:
                    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                finally:
                    os.close(descriptor)
                made.append(make())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]


def run(*command: str) -> str:
    """Run a command and return what it prints; raise where it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
