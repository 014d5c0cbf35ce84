"""What a worker and its child processes say to each other, and how: length-prefixed frames over one socket each.

Nothing here is pickled: a frame is a task's own body or an order on the way down, told apart by its first byte, and one
of these structs on the way up.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import Literal

import msgspec

from workbench.core.messages import Failure, OperationSpec, Status, read
from workbench.core.settings import Settings

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 18

TASK = b"t"
ORDER = b"o"
"""What a frame on the way down begins with."""


class ChildConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a child has to know when it starts."""

    settings: Settings
    include: tuple[str, ...] = ()  # modules with a user's operations
    families: tuple[str, ...] | None = None  # whose operations are announced; None for all
    scratch: str  # where attempts make files
    memory_limit: int | None = None  # bytes


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child has loaded its operations."""

    operations: tuple[OperationSpec, ...]
    families: tuple[str, ...]


class NotReady(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child could not load its operations, and ends."""

    failure: Failure


class Order(msgspec.Struct, frozen=True):
    """What the worker wants of the attempt that runs; followed by SIGTERM, so that it is read. See `interrupts`."""

    task_id: str
    attempt: int
    kind: Literal["cancel", "soft_limit"]


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How far the attempt that runs is."""

    task_id: str
    fraction: float  # from 0 to 1
    message: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt has ended by itself."""

    task_id: str
    status: Status
    result: bytes | None = None  # encoded by values.codecs
    summary: str = ""
    failure: Failure | None = None
    peak_memory: int | None = None  # bytes
    notes: dict[str, str] = {}  # what the operation noted of how it worked


encode = msgspec.msgpack.Encoder().encode
Said = Ready | NotReady | Progress | Report
_decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
_order_decoder = msgspec.msgpack.Decoder(Order)


def decode(frame: bytes) -> Said:
    """Read what a child says; raise `msgspec.DecodeError` where `frame` isn't anything that it may say."""
    return read(_decoder, frame)


def pack(payload: bytes, kind: bytes = b"") -> bytes:
    """Return a frame; `kind` is what it begins with."""
    return _LENGTH.pack(len(kind) + len(payload)) + kind + payload


class FrameReader:
    """Cuts a stream of bytes into frames, however it is chopped."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete with `data`."""
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return frames


class BlockingFrames:
    """The child's end: it has nothing else to do than to wait for the next task."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = FrameReader()
        self._tasks: list[bytes] = []
        self._orders: list[Order] = []
        self._sending = threading.Lock()  # an operation may tell its progress from any thread

    def task(self) -> bytes | None:
        """Wait for the next task; return its body, or None once the other end is gone."""
        while not self._tasks:
            data = self._sock.recv(_CHUNK)
            if not data:
                return None
            self._sort(data)
        return self._tasks.pop(0)

    def quiet(self, seconds: float) -> bool:
        """Tell whether no task comes, nor anything else, for so long; return as soon as it does."""
        return not self._tasks and not select.select([self._sock], [], [], seconds)[0]

    def orders(self) -> list[Order]:
        """Return the orders that have come, without waiting for any."""
        with contextlib.suppress(BlockingIOError):
            while data := self._sock.recv(_CHUNK, socket.MSG_DONTWAIT):
                self._sort(data)
        orders, self._orders = self._orders, []
        return orders

    def send(self, payload: bytes) -> None:
        """Send a frame."""
        with self._sending:
            self._sock.sendall(pack(payload))

    def _sort(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if frame.startswith(TASK):
                self._tasks.append(frame[1:])
            else:
                self._orders.append(_order_decoder.decode(frame[1:]))
