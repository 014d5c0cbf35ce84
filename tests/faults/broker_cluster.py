"""Three RabbitMQ nodes that form one broker on this machine.

A `Node` of the package is alone by design: here they share a port mapper, a cookie and credentials.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

import msgspec

from tests.support import rabbitmqctl, wait_until
from workbench.broker.installation import find_rabbitmq
from workbench.broker.node import LOOPBACK, Identity, Node, environment, free_ports, new_identity


class Member(Node):
    """A node whose port mapper is the cluster's, and whose ports stay."""

    def __init__(self, directory: Path, identity: Identity, cookie: str) -> None:
        super().__init__(directory)
        self.identity = identity
        home = directory / "home"
        home.mkdir(parents=True)
        (home / ".erlang.cookie").write_text(cookie)
        (home / ".erlang.cookie").chmod(0o400)
        (directory / "node.json").write_bytes(msgspec.json.encode(identity))

    def _settle_identity(self) -> Identity:
        return self.identity

    def _start_epmd(self, identity: Identity, installation: object) -> None:
        """Rely on the cluster's."""

    def kill(self) -> None:
        """Kill the node as a power cut would."""
        os.kill(self.processes()["node"], signal.SIGKILL)
        wait_until(lambda: not self.is_running)


class BrokerCluster:
    """Three members, joined; use as a context manager.

    Parameters
    ----------
    directory
        Where they keep their data.
    """

    def __init__(self, directory: Path, size: int = 3) -> None:
        cookie, password = secrets.token_hex(20), secrets.token_hex(24)
        self._directory = directory
        self._epmd_port = free_ports()[2]
        self._epmd: subprocess.Popen[bytes] | None = None
        self.members: list[Member] = []
        taken = {self._epmd_port}
        for number in range(size):
            amqp, distribution, _ = next(ports for ports in iter(free_ports, None) if not taken & {*ports})
            taken |= {amqp, distribution}
            identity = new_identity((amqp, distribution, self._epmd_port))
            identity = msgspec.structs.replace(identity, password=password)
            self.members.append(Member(directory / f"member-{number}", identity, cookie))

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.stop(grace=0)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def leader(self, queue: str) -> Member:
        """Return the member that leads a quorum queue."""
        for line in rabbitmqctl(self._running(), "list_queues", "name", "leader", "--no-table-headers").splitlines():
            name, _, leader = line.partition("\t")  # a queue that is no quorum queue has none
            if name == queue:
                return next(member for member in self.members if member.identity.name == leader)
        raise LookupError(f"there is no queue {queue}")

    def copies(self, queue: str) -> int:
        """Return how many members have a copy of a quorum queue."""
        lines = rabbitmqctl(self._running(), "list_queues", "name", "members", "--no-table-headers").splitlines()
        return next(line.count("@") for line in lines if line.split()[0] == queue)

    def _running(self) -> Member:
        return next(member for member in self.members if member.is_running)

    def _start(self) -> None:
        installation = find_rabbitmq()
        assert installation is not None
        first, *others = self.members
        self._epmd = subprocess.Popen(
            [installation.epmd, "-port", str(self._epmd_port), "-address", LOOPBACK],
            env=environment(self._directory, first.identity, installation, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: _listens(self._epmd_port), what="the port mapper listens")
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_ready(120)
        for member in others:
            rabbitmqctl(member, "stop_app")
            rabbitmqctl(member, "join_cluster", first.identity.name)
            rabbitmqctl(member, "start_app")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
