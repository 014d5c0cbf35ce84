"""A private RabbitMQ node: its files, its environment, its two processes, from start to stop.

It listens on loopback only, reads nothing of the machine's own RabbitMQ, and runs as whoever runs Python. Restarting
it after a crash is the supervisor's part (`workbench.local`).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import pika
import pika.exceptions

from workbench.broker.files import private_directory, tail, write_private
from workbench.broker.installation import Installation, find_rabbitmq
from workbench.broker.topology import LONG
from workbench.core.errors import NodeFailed

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
BOOT_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
FORWARD_AGAIN = 10.0
"""Seconds after which the node tries again to hand on what has waited for its next attempt. RabbitMQ's default is 180:
as long a retry could stall where the node was restarted, and a delay queue came up before the exchange behind it (see
`settle_timeout` in RabbitMQ's rabbit_fifo_dlx_worker.erl)."""

_PORTS = range(
    20_000, 32_000
)  # below Linux's ephemeral range, so that nobody's outgoing connection takes one meanwhile
_LOCK_TIMEOUT = 10.0  # as long as the guard takes to end the node of a supervisor that was killed
_INHERITED = ("LD_LIBRARY_PATH", "TMPDIR", "TZ")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stays with a node's data: its queues belong to its name, its user to its database."""

    name: str
    user: str
    password: str
    amqp_port: int
    distribution_port: int
    epmd_port: int

    @property
    def ports(self) -> tuple[int, int, int]:
        """All three, as `free_ports` hands them out."""
        return (self.amqp_port, self.distribution_port, self.epmd_port)

    @property
    def url(self) -> str:
        """The address for clients, credentials included."""
        return f"amqp://{self.user}:{self.password}@{LOOPBACK}:{self.amqp_port}/%2F"


def new_identity(ports: tuple[int, int, int]) -> Identity:
    """Make a name that no other node on this machine has, and credentials that nobody can guess."""
    return Identity(
        name=f"wb-{secrets.token_hex(6)}@localhost",
        user="workbench",
        password=secrets.token_hex(24),
        amqp_port=ports[0],
        distribution_port=ports[1],
        epmd_port=ports[2],
    )


def configuration(identity: Identity) -> str:
    """Return the node's `rabbitmq.conf`.

    What isn't named keeps RabbitMQ's default: the memory watermark, heartbeats, limits of channels.
    """
    lines = {
        "listeners.tcp.local": f"{LOOPBACK}:{identity.amqp_port}",
        "default_user": identity.user,
        "default_pass": identity.password,
        "consumer_timeout": str(int(LONG * 1000)),
        "disk_free_limit.absolute": "200MB",  # the default of 50 MB leaves no room for a write-ahead log (64 MB a file)
        "log.console": "false",
        "log.file": "rabbitmq.log",
        "log.file.level": "info",
        "log.file.rotation.size": str(10 * 1024 * 1024),
        "log.file.rotation.count": "2",
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def environment(
    directory: Path, identity: Identity, installation: Installation, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of the node's processes: nothing set for another RabbitMQ or Erlang gets through.

    Every file that rabbitmq-server would look for below /etc and /var is named here, and lies in `directory`.
    """
    paths = [str(installation.erl.parent), str(installation.server.parent), inherited.get("PATH", os.defpath)]
    return {
        **{name: inherited[name] for name in _INHERITED if name in inherited},
        "PATH": os.pathsep.join(paths),
        "HOME": str(directory / "home"),
        "LANG": "C.UTF-8",
        # For every Erlang that is started here, the short-lived one that looks for epmd included.
        "ERL_AFLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(identity.epmd_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S {_schedulers()}:{_schedulers()} "
        f"-rabbit dead_letter_worker_publisher_confirm_timeout {int(FORWARD_AGAIN * 1000)}",
        "RABBITMQ_NODENAME": identity.name,
        "RABBITMQ_USE_LONGNAME": "false",
        "RABBITMQ_DIST_PORT": str(identity.distribution_port),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "conf" / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(directory / "conf" / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(directory / "conf" / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "conf" / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "conf" / "enabled_plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "conf" / "generated"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_MNESIA_DIR": str(directory / "data" / "node"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(directory / "data" / "feature_flags"),
        "RABBITMQ_PLUGINS_EXPAND_DIR": str(directory / "data" / "plugins"),
        "RABBITMQ_PID_FILE": str(directory / "data" / "pid"),
        # The start script then becomes the emulator instead of waiting for it, so that our child is the node itself.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _schedulers() -> int:
    """Half of the machine's cores: the other half is for the workers that this node feeds.

    With fewer schedulers a node batches more and spends less on waking others: on two cores, one of them made a third
    less work of each task than two (`make benchmark`).
    """
    return max(1, (os.cpu_count() or 1) // 2)


class Node:
    """A RabbitMQ node in a directory of its own.

    The data, the name and the credentials stay in `directory` from one start to the next; the ports do unless somebody
    else has taken one. Start and stop may come from different threads: a stop makes a start that waits fail.

    Parameters
    ----------
    directory
        Where everything of the node lies. It is made where it doesn't exist, readable for its owner only.
    installation
        The RabbitMQ to run; by default the one that `find_rabbitmq` finds.
    on_spawn
        Called with the pid of every process as soon as it exists. Each leads a process group of its own.

    Examples
    --------
    >>> with Node(Path("/tmp/example")) as node:  # doctest: +SKIP
    ...     connection = pika.BlockingConnection(pika.URLParameters(node.url))
    """

    def __init__(
        self,
        directory: Path,
        installation: Installation | None = None,
        *,
        on_spawn: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self._installation = installation
        self._on_spawn = on_spawn
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<Node {state} in {str(self.directory)!r}>"

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The node's address, `amqp://user:password@127.0.0.1:port/%2F`. Known once it has been started."""
        return self._identity().url

    @property
    def is_running(self) -> bool:
        """Whether the node's process is alive; it may not be ready yet."""
        return self._node is not None and self._node.poll() is None

    def processes(self) -> dict[str, int]:
        """Return the pids of `node` and `epmd`, as far as they are alive. Each leads a process group of its own."""
        named = {"node": self._node, "epmd": self._epmd}
        return {name: process.pid for name, process in named.items() if process is not None and process.poll() is None}

    def start(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Start the node and wait until it answers.

        Raises
        ------
        NodeFailed
            If there is no RabbitMQ here, or the node ends, or doesn't answer in time. The message has its log's tail.
        """
        for last_try in (False, False, True):
            try:
                self.launch()
                self.wait_ready(timeout)
                return
            except BaseException as error:
                self.stop(grace=0)
                if last_try or not isinstance(error, NodeFailed) or not self._lost_a_port():
                    raise
                logger.info("a port was taken while the node started, trying others")

    def launch(self) -> None:
        """Start the processes, without waiting for the node to boot; raise `NodeFailed` where that isn't possible."""
        if self.is_running:
            return
        try:
            self._launch()
        except OSError as error:
            raise NodeFailed(f"the RabbitMQ node in {self.directory} can't be started: {error}") from error

    def _launch(self) -> None:
        self.stop(grace=0)  # what is left of a node that crashed: its port mapper
        installation = self._find()
        private_directory(self.directory)
        with self._lock() as lock:
            identity = self._settle_identity()
            self._write_files(identity)
            self._start_epmd(identity, installation)
            environ = environment(self.directory, identity, installation, os.environ)
            with (self.directory / "log" / "boot.log").open("wb") as output:
                # The node inherits the lock, so that it is held for exactly as long as something writes to the data.
                self._node = _spawn([installation.server], environ, self.directory, output, keep=(lock,))
            self._on_spawn(self._node.pid)

    def wait_ready(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait until an AMQP handshake with the credentials succeeds; raise `NodeFailed` where it can't."""
        deadline = time.monotonic() + timeout
        identity = self._identity()
        while not _answers(identity):
            node = self._node
            code = node.poll() if node is not None else 0
            if node is None or code is not None:
                raise NodeFailed(f"the RabbitMQ node in {self.directory} ended with {code}.{self._tails()}")
            if time.monotonic() > deadline:
                raise NodeFailed(
                    f"the RabbitMQ node in {self.directory} didn't answer in {timeout:g} s.{self._tails()}"
                )
            time.sleep(0.05)

    def poll(self) -> int | None:
        """Return None while the node runs, its exit status afterwards. An epmd that died is replaced."""
        if self._node is None:
            return 0
        code = self._node.poll()
        if code is None and self._epmd is not None and self._epmd.poll() is not None:
            logger.warning("Erlang's port mapper ended with %s, starting another", self._epmd.returncode)
            self._start_epmd(self._identity(), self._find())
        return code

    def stop(self, grace: float = STOP_TIMEOUT) -> None:
        """Stop the node in order, and kill it where that takes longer than `grace` seconds. May be called twice."""
        for process, patience in ((self._node, grace), (self._epmd, 0.0)):
            if process is not None:
                _end(process, patience)
        self._node = self._epmd = None

    # --- files ------------------------------------------------------------------------------------

    def _identity(self) -> Identity:
        try:
            return msgspec.json.decode((self.directory / "node.json").read_bytes(), type=Identity)
        except FileNotFoundError:
            raise NodeFailed(f"no RabbitMQ node has been started in {self.directory}") from None
        except (OSError, msgspec.DecodeError) as error:
            raise NodeFailed(
                f"{self.directory / 'node.json'} can't be read: {error}. It holds the node's name and credentials, "
                f"without which its data is of no use: remove {self.directory} to start anew"
            ) from error

    def _lost_a_port(self) -> bool:
        return (self.directory / "node.json").exists() and not all(map(_is_free, self._identity().ports))

    def _settle_identity(self) -> Identity:
        path = self.directory / "node.json"
        if not path.exists():
            identity = new_identity(free_ports())
        else:
            identity = self._identity()
            if not all(map(_is_free, identity.ports)):
                amqp, distribution, epmd = free_ports()
                identity = msgspec.structs.replace(
                    identity, amqp_port=amqp, distribution_port=distribution, epmd_port=epmd
                )
        write_private(path, msgspec.json.format(msgspec.json.encode(identity)))
        return identity

    def _write_files(self, identity: Identity) -> None:
        for name in ("home", "conf", "conf/conf.d", "data", "log"):
            private_directory(self.directory / name)
        cookie = self.directory / "home" / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20).encode(), mode=0o400)
        write_private(self.directory / "conf" / "rabbitmq.conf", configuration(identity).encode())
        write_private(self.directory / "conf" / "enabled_plugins", b"[].\n")
        write_private(self.directory / "conf" / "rabbitmq-env.conf", b"")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_TIMEOUT
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise NodeFailed(f"another RabbitMQ node is running in {self.directory}") from None
                    time.sleep(0.1)
            yield descriptor
        finally:
            os.close(descriptor)

    def _tails(self) -> str:
        logs = (self.directory / "log" / "boot.log", self.directory / "log" / "rabbitmq.log")
        return "".join(f"\nThe end of {path}:\n{text}" for path in logs if (text := tail(path)))

    # --- processes --------------------------------------------------------------------------------

    def _find(self) -> Installation:
        self._installation = self._installation or find_rabbitmq()
        if self._installation is None:
            raise NodeFailed(
                "RabbitMQ is not installed here: rabbitmq-server and Erlang were found neither on PATH nor where "
                "Debian puts them. `workbench doctor` says how to get them"
            )
        return self._installation

    def _start_epmd(self, identity: Identity, installation: Installation) -> None:
        # In the foreground, so that it is ours to stop: an epmd that Erlang starts by itself outlives everything.
        with (self.directory / "log" / "epmd.log").open("wb") as output:
            command = [installation.epmd, "-port", str(identity.epmd_port), "-address", LOOPBACK]
            environ = environment(self.directory, identity, installation, os.environ)
            self._epmd = _spawn(command, environ, self.directory, output)
        self._on_spawn(self._epmd.pid)
        deadline = time.monotonic() + 10
        while not _listens(identity.epmd_port):
            if self._epmd.poll() is not None or time.monotonic() > deadline:
                raise NodeFailed(f"Erlang's port mapper didn't start. {tail(self.directory / 'log' / 'epmd.log')}")
            time.sleep(0.01)


def free_ports() -> tuple[int, int, int]:
    """Return three different ports that nobody listens on here."""
    free = (port for port in random.sample(_PORTS, len(_PORTS)) if _is_free(port))
    try:
        return next(free), next(free), next(free)
    except StopIteration:
        raise NodeFailed(f"no three ports between {_PORTS[0]} and {_PORTS[-1]} are free on {LOOPBACK}") from None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections don't take a port
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _answers(identity: Identity) -> bool:
    if not _listens(identity.amqp_port):  # before pika tries, which would log an error
        return False
    parameters = pika.URLParameters(identity.url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 5
    try:
        pika.BlockingConnection(parameters).close()
    except (
        pika.exceptions.ProbableAuthenticationError,
        pika.exceptions.AuthenticationError,
        pika.exceptions.ProbableAccessDeniedError,
    ) as error:
        raise NodeFailed(
            f"the RabbitMQ node {identity.name} refused its own credentials ({error!r}): its data and its node.json "
            "don't belong together. Remove both to start anew"
        ) from error
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


def _spawn(
    command: list[Any], environ: dict[str, str], directory: Path, output: IO[bytes], keep: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environ,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a Ctrl-C in the terminal is for us, who then stop it in order
        pass_fds=keep,
    )


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    if patience > 0 and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
