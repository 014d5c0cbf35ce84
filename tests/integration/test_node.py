"""The private RabbitMQ node, booted for real."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest

from tests.support import rabbitmqctl, wait_until
from workbench.broker import node as node_module
from workbench.broker.installation import Installation
from workbench.broker.node import Node
from workbench.core.errors import NodeFailed


def connect(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


def tree(*roots: int) -> list[psutil.Process]:
    """The processes with these pids, and all their descendants."""
    processes = [psutil.Process(pid) for pid in roots]
    return [one for process in processes for one in (process, *process.children(recursive=True))]


def listening(*roots: int) -> set[tuple[str, int]]:
    return {
        connection.laddr
        for process in tree(*roots)
        for connection in process.net_connections(kind="all")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[Node]:
    """A node that the test may harm."""
    node = Node(tmp_path / "a directory with späces")
    yield node
    node.stop(grace=0)


def test_a_started_node_completes_a_handshake(node: Node):
    with connect(node.url) as connection:
        assert connection.is_open
    assert repr(node).startswith("<Node running in ")


def test_nobody_else_is_let_in(node: Node):
    secret = node.url.partition("workbench:")[2].partition("@")[0]
    for url in (node.url.replace(secret, "guess"), node.url.replace(f"workbench:{secret}", "guest:guest")):
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            connect(url)


def test_the_node_hands_on_again_within_seconds_what_waited_for_an_exchange(node: Node) -> None:
    known = rabbitmqctl(node, "eval", "application:get_env(rabbit, dead_letter_worker_publisher_confirm_timeout).")
    assert known.strip() == "{ok,10000}"


def test_every_listening_socket_is_on_loopback(node: Node):
    sockets = listening(*node.processes().values())

    assert len({port for _, port in sockets}) == 3  # AMQP, distribution, epmd
    assert {address for address, _ in sockets} <= {"127.0.0.1", "::1"}


def test_the_machines_own_configuration_and_plugins_play_no_part(node: Node):
    log = (node.directory / "log" / "rabbitmq.log").read_text()
    used = [line.rpartition(" : ")[2] for line in log.splitlines() if "config file(s) : " in line]

    assert used == [str(node.directory / "conf" / "rabbitmq.conf")]
    assert "/etc/" not in log
    assert "rabbitmq_" not in rabbitmqctl(node, "eval", "rabbit_plugins:active().")


def test_a_second_node_runs_beside_it_whatever_the_environment_says(
    node: Node, own_node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RABBITMQ_NODENAME", node._identity().name)
    monkeypatch.setenv("RABBITMQ_NODE_PORT", str(node._identity().amqp_port))
    monkeypatch.setenv("ERL_EPMD_PORT", str(node._identity().epmd_port))
    own_node.start()

    with connect(own_node.url) as second, connect(node.url) as first:
        second.channel().queue_declare("only-here", exclusive=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            first.channel().queue_declare("only-here", passive=True)
    assert not {port for _, port in listening(*node.processes().values())} & {
        port for _, port in listening(*own_node.processes().values())
    }


def test_what_is_durable_survives_a_stop_and_start(own_node: Node):
    own_node.start()
    url = own_node.url
    with connect(url) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"still here", pika.BasicProperties(delivery_mode=2), mandatory=True)
    pids = [process.pid for process in tree(*own_node.processes().values())]
    own_node.stop()
    own_node.stop()
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), timeout=10)

    own_node.start()
    assert own_node.url == url
    assert peek(own_node) == b"still here"

    for path in (own_node.directory, *own_node.directory.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((own_node.directory / "home" / ".erlang.cookie").stat().st_mode) == 0o400


def test_a_node_whose_port_was_taken_in_the_meantime_chooses_others(tmp_path: Path):
    node = Node(tmp_path / "node", fake(tmp_path, "exec sleep 60"))
    node.launch()
    before, url = node._identity(), node.url
    node.stop(grace=0)

    with socket.create_server(("127.0.0.1", before.amqp_port)):
        node.launch()
        node.stop(grace=0)

    after = node._identity()
    assert node.url != url
    assert (after.name, after.password) == (before.name, before.password)


def peek(node: Node) -> bytes:
    with connect(node.url) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", passive=True)
        _, _, body = channel.basic_get("kept")
        return body  # the message goes back to the queue as the connection closes


def test_one_directory_holds_one_running_node_at_a_time(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(node_module, "_LOCK_TIMEOUT", 0.1)

    with pytest.raises(NodeFailed, match="another RabbitMQ node is running"):
        Node(node.directory).start()
    with connect(node.url) as connection:
        assert connection.is_open


def test_a_port_mapper_that_died_is_replaced(node: Node):
    died = node.processes()["epmd"]
    os.kill(died, signal.SIGKILL)
    wait_until(lambda: "epmd" not in node.processes())

    assert node.poll() is None
    assert node.processes()["epmd"] != died
    wait_until(lambda: f"name {node._identity().name.partition('@')[0]} " in registered(node), timeout=20)


def registered(node: Node) -> str:
    """The names that the node's port mapper knows."""
    installation = node._find()
    command = [installation.epmd, "-port", str(node._identity().epmd_port), "-names"]
    return subprocess.run(command, capture_output=True, text=True).stdout


def fake(tmp_path: Path, script: str) -> Installation:
    """An installation whose server is a shell script, with the real Erlang."""
    server = tmp_path / "rabbitmq-server"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o755)
    real = Node(tmp_path)._find()
    return Installation(server=server, erl=real.erl, epmd=real.epmd)


def test_a_boot_failure_says_what_the_node_said(tmp_path: Path):
    script = 'echo "BOOT FAILED: schema mismatch" >&2; echo "the log" >"$RABBITMQ_LOG_BASE/rabbitmq.log"; exit 3'
    node = Node(tmp_path / "node", fake(tmp_path, script))

    with pytest.raises(NodeFailed, match=r"ended with 3(?s:.)*BOOT FAILED: schema mismatch(?s:.)*the log"):
        node.start()
    assert node.processes() == {}


def test_a_node_that_never_answers_is_given_up_and_killed(tmp_path: Path):
    node = Node(tmp_path / "node", fake(tmp_path, 'echo "still booting"; trap "" TERM; exec sleep 60'))

    with pytest.raises(NodeFailed, match=r"didn't answer in 0.5 s(?s:.)*still booting"):
        node.start(timeout=0.5)
    assert node.processes() == {}


SCRIPT = """
import sys, pika
from pathlib import Path
from workbench.broker.node import Node
with Node(Path(sys.argv[1])) as node:
    with pika.BlockingConnection(pika.URLParameters(node.url)):
        print("answered")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, every test here shows it")
def test_an_ordinary_user_can_run_a_node():
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody)
    home = Path(tempfile.mkdtemp(prefix="workbench-test-"))
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    packages = [str(Path(node_module.__file__).parents[2]), sysconfig.get_path("purelib")]
    try:
        done = subprocess.run(
            [python, "-c", SCRIPT, home / "node"],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd=home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": os.pathsep.join(packages)},
            capture_output=True,
            text=True,
            timeout=90,
        )
    finally:
        shutil.rmtree(home)
    assert done.stdout == "answered\n", done.stderr


def python_for(user: pwd.struct_passwd) -> str:
    """A Python of this version that the user may run: root's own may lie where nobody else can read."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}"):
        try:
            if subprocess.run([candidate, "-c", ""], user=user.pw_uid, cwd="/", env={}).returncode == 0:
                return candidate
        except OSError:
            continue
    pytest.skip(f"there is no Python {version} here that {user.pw_name} can run")
