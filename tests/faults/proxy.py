"""A proxy in front of a broker: it passes bytes on, until it is told to hold them, to swallow them, or to cut.

Nobody is told of what it holds or swallows, as where a firewall forgets a connection.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from enum import Enum
from typing import Self

from workbench.broker.node import LOOPBACK

_OPENING = 4096  # bytes of a client's in which its connection's name is looked for: it is in the second frame it sends


class Way(Enum):
    """A direction."""

    TO_BROKER = "to the broker"
    TO_CLIENT = "to the client"


class Link:
    """One connection through a proxy.

    Parameters
    ----------
    client, broker
        Its two ends.
    """

    def __init__(self, client: socket.socket, broker: socket.socket) -> None:
        self.kept = dict.fromkeys(Way, 0)
        """How many bytes were held or swallowed, each way."""
        self._ends = {Way.TO_BROKER: (client, broker), Way.TO_CLIENT: (broker, client)}
        self._open = {way: threading.Event() for way in Way}
        self._left: dict[Way, int | None] = dict.fromkeys(Way)  # bytes that still pass; None where all do
        self._opening = b""
        for event in self._open.values():
            event.set()

    def start(self) -> None:
        """Begin to pass bytes on."""
        for way in Way:
            threading.Thread(target=self._copy, args=(way,), daemon=True).start()

    @property
    def is_open(self) -> bool:
        """Whether neither end has gone."""
        return all(end.fileno() >= 0 for end in self._ends[Way.TO_BROKER])

    def is_named(self, name: str) -> bool:
        """Whether this is the connection of a client whose connection's name has this in it."""
        return name.encode() in self._opening

    def hold(self, way: Way) -> None:
        """Keep from now on what comes this way, until `release`."""
        self._open[way].clear()

    def release(self, way: Way) -> None:
        """Pass on what was held, and what comes."""
        self._open[way].set()

    def swallow(self, way: Way, *, after: int = 0) -> None:
        """Let this way pass so many bytes more; all others vanish. A stream with a gap can only be cut then."""
        self._left[way] = after

    def cut(self) -> None:
        """End the connection, both ends of it; what is held is gone."""
        for way in Way:
            self.swallow(way)
            self.release(way)
        for end in self._ends[Way.TO_BROKER]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _copy(self, way: Way) -> None:
        source, sink = self._ends[way]
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if way is Way.TO_BROKER and len(self._opening) < _OPENING:
                    self._opening += data
                if not self._open[way].is_set():
                    self.kept[way] += len(data)
                    self._open[way].wait()
                if (left := self._left[way]) is not None:
                    data, rest = data[:left], data[left:]
                    self._left[way] = left - len(data)
                    self.kept[way] += len(rest)
                sink.sendall(data)
        self.cut()


class Proxy:
    """Hands each connection to one of some ports, in turn, passing over those where nobody listens.

    Use it as a context manager.

    Parameters
    ----------
    ports
        On loopback.
    """

    def __init__(self, *ports: int) -> None:
        self._ports = ports
        self._turn = 0
        self._server = socket.create_server((LOOPBACK, 0))
        self._port: int = self._server.getsockname()[1]
        self._links: list[Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for link in self._links:
            link.cut()

    def through(self, url: str) -> str:
        """Return a broker's URL with the proxy's port in place of its own."""
        return re.sub(r":\d+/", f":{self._port}/", url)

    def links(self, name: str = "") -> list[Link]:
        """Return the connections that are open and whose name has this in it."""
        return [link for link in self._links if link.is_open and link.is_named(name)]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            broker = self._connect()
            if broker is None:
                client.close()
                continue
            broker.settimeout(None)
            link = Link(client, broker)
            self._links.append(link)
            link.start()

    def _connect(self) -> socket.socket | None:
        for _ in self._ports:
            self._turn += 1
            with contextlib.suppress(OSError):
                return socket.create_connection((LOOPBACK, self._ports[self._turn % len(self._ports)]), timeout=2)
        return None
