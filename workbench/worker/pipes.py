"""The worker's ends of a slot's two sockets: frames from the child, and what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from workbench.worker import wire

MAX_OUTPUT = 64 * 1024


class Frames(asyncio.Protocol):
    """Hands on the frames that come from a child."""

    def __init__(self, on_frame: Callable[[bytes], None]) -> None:
        self._on_frame = on_frame
        self._reader = wire.FrameReader()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        for frame in self._reader.feed(data):
            self._on_frame(frame)


class Output:
    """What a child prints and logs, its last 64 KiB. Read as it comes, so that a child never blocks on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._kept = bytearray()
        self._cut = 0

    def start(self) -> None:
        """Begin to read."""
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    def take(self) -> str:
        """Return what was printed since the last time."""
        self._read()
        if not self._kept:
            return ""
        text = self._kept.decode("utf-8", errors="replace")
        if self._cut:
            text = f"… ({self._cut:,} bytes before this are cut)\n{text}"
        self._kept.clear()
        self._cut = 0
        return text

    def close(self) -> None:
        """Read no more."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _read(self) -> None:
        while True:
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                with contextlib.suppress(ValueError, OSError):
                    asyncio.get_running_loop().remove_reader(self._sock)
                return
            self._kept += data
            if (over := len(self._kept) - MAX_OUTPUT) > 0:
                del self._kept[:over]
                self._cut += over
