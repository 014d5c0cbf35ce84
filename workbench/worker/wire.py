"""What a worker and its child processes say to each other, and how: length-prefixed frames over one socket each.

Nothing here is pickled: a frame is a task's own body on the way down, and one of these structs on the way up.
"""

from __future__ import annotations

import socket
import struct

import msgspec

from workbench.core.messages import Failure, OperationSpec, Status
from workbench.core.settings import Settings

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 18


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


class Report(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt has ended by itself."""

    task_id: str
    status: Status
    result: bytes | None = None  # encoded by values.codecs
    summary: str = ""
    failure: Failure | None = None
    peak_memory: int | None = None  # bytes


encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Ready | NotReady | Report] = msgspec.msgpack.Decoder(Ready | NotReady | Report)


def decode(frame: bytes) -> Ready | NotReady | Report:
    """Read what a child says."""
    return _decoder.decode(frame)


def pack(payload: bytes) -> bytes:
    """Return a frame."""
    return _LENGTH.pack(len(payload)) + payload


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
    """The child's end: it has nothing else to do than to wait for the next frame."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = FrameReader()
        self._ready: list[bytes] = []

    def receive(self) -> bytes | None:
        """Return the next frame; None once the other end is gone."""
        while not self._ready:
            data = self._sock.recv(_CHUNK)
            if not data:
                return None
            self._ready = self._reader.feed(data)
        return self._ready.pop(0)

    def send(self, payload: bytes) -> None:
        """Send a frame."""
        self._sock.sendall(pack(payload))
