"""pika's connection, two costly habits mended: three sends for a publish, a look for callbacks at each frame.

It overrides methods of pika's that are internal (1.3 and 1.4 have them alike), and nothing but how bytes become frames
and frames bytes: `tests/integration/test_connection.py` runs everything through it.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pika
import pika.frame
from pika.adapters.asyncio_connection import AsyncioConnection

_HEADER = struct.Struct(">BHL")
_FRAME_END = 1
_READ = 1 << 16
"""Bytes to read at once; pika's 4 KiB are a system call for every ten deliveries."""


class StreamConnection(AsyncioConnection):  # type: ignore[misc]
    """Joins the frames that one turn of the loop writes, and hands deliveries to their channels without a detour."""

    _held: list[bytes]
    _frame_buffer: bytes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held = []
        super().__init__(*args, **kwargs)

    # --- writing ----------------------------------------------------------------------------------

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._held:
            asyncio.get_running_loop().call_soon(self._release)
        self._held.append(data)

    def _release(self) -> None:
        held, self._held = self._held, []
        if held and self._transport is not None:
            super()._adapter_emit_data(b"".join(held))

    def _adapter_disconnect_stream(self) -> None:
        self._release()
        super()._adapter_disconnect_stream()

    # --- reading ----------------------------------------------------------------------------------

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = _READ
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        data = self._frame_buffer + data_in if self._frame_buffer else data_in
        if not self._opened and data.startswith(b"AMQP"):  # the broker speaks another version, and says so
            super()._on_data_available(data_in)
            return
        start, available = 0, len(data)
        while available - start >= _HEADER.size:
            end = start + _HEADER.size + _HEADER.unpack_from(data, start)[2] + _FRAME_END
            if end > available:
                break
            # Each frame is cut out once; pika cuts off what it has read from what it hasn't, again and again.
            _, frame = pika.frame.decode_frame(data[start:end])
            start = end
            if _is_content(frame):
                self.frames_received += 1
                self._deliver_frame_to_channel(frame)
            else:
                self._process_frame(frame)
        self._frame_buffer = data[start:]
        self.bytes_received += len(data_in)


def _is_content(frame: Any) -> bool:
    """Whether a frame is a part of a delivery, which pika keeps no callbacks for."""
    return isinstance(frame, pika.frame.Header | pika.frame.Body) or (
        isinstance(frame, pika.frame.Method) and isinstance(frame.method, pika.spec.Basic.Deliver)
    )
