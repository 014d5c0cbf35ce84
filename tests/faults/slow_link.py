"""A link that is slow, out of order and lossy: a thread of the test carries its packets between two TUN devices.

The kernel's own means for this (`tc … netem`) is a module that many kernels, of small virtual machines above all, lack.
Needs root, `ip` and /dev/net/tun; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from typing import Self

from tests.faults.namespaces import HERE, Namespace, run
from workbench.core.ids import new_name

NEAR, FAR = "10.231.78.1", "10.231.78.2"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_LARGEST = 65536


def why_not() -> str:
    """Return why there can't be such a link here; empty where there can."""
    try:
        os.close(_device(new_name("x")[-12:]))
    except OSError as error:
        return f"no TUN device can be made here: {error}"
    return ""


class SlowLink:
    """The way from a namespace to `HERE`, in place of its own link; use as a context manager.

    Parameters
    ----------
    far
        The namespace.
    delay, jitter
        Each packet takes `delay` seconds, give or take up to `jitter`, each way; so some overtake others.
    loss
        The share of packets that vanish.
    """

    def __init__(self, far: Namespace, *, delay: float, jitter: float, loss: float) -> None:
        self.carried = 0
        self.lost = 0
        self._far = far
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._devices: list[int] = []
        self._stop, self._stopping = os.pipe()
        self._thread = threading.Thread(target=self._carry)

    def __enter__(self) -> Self:
        near, far = (new_name("x")[-12:] for _ in range(2))
        self._devices = [_device(near), self._far.call(lambda: _device(far))]
        try:
            self._lead_through(near, far)
        except BaseException:
            self._close()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopping)  # which can be read, as the end of the pipe
        self._thread.join()
        self._close()

    def _lead_through(self, near: str, far: str) -> None:
        inside = ("ip", "-n", self._far.name)
        run("ip", "addr", "add", f"{NEAR}/30", "dev", near)
        run("ip", "link", "set", near, "up")
        run(*inside, "addr", "add", f"{FAR}/30", "dev", far)
        run(*inside, "link", "set", far, "up")
        run(*inside, "route", "add", f"{HERE}/32", "dev", far, "src", FAR)  # goes before the namespace's own link

    def _close(self) -> None:
        for descriptor in (*self._devices, self._stop):
            os.close(descriptor)  # a device goes with its descriptor, and its routes with it

    def _carry(self) -> None:
        near, far = self._devices
        other = {near: far, far: near}
        order = itertools.count()
        under_way: list[tuple[float, int, int, bytes]] = []  # due when, a number to tell them apart, to where
        while True:
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            readable, _, _ = select.select([near, far, self._stop], [], [], wait)
            if self._stop in readable:
                return
            for device in readable:
                packet = os.read(device, _LARGEST)
                if random.random() < self._loss:
                    self.lost += 1
                else:
                    due = time.monotonic() + self._delay + random.uniform(-self._jitter, self._jitter)
                    heapq.heappush(under_way, (due, next(order), other[device], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, device, packet = heapq.heappop(under_way)
                with contextlib.suppress(OSError):  # as lost as any other
                    os.write(device, packet)
                    self.carried += 1


def _device(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
