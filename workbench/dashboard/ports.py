"""Ports to serve at. Needs nothing of Panel, so that a command may look before it is loaded."""

from __future__ import annotations

import socket


def free_port(address: str, wanted: int = 0) -> int:
    """Return `wanted` if it is free, else a port that is, at this moment."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                if port == 0:
                    raise
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("unreachable")
