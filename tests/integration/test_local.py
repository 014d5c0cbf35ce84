"""A workbench on this machine: supervisor, guard and cluster, with a real node and stand-ins for the rest."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pika
import psutil
import pytest

from tests.support import wait_until
from workbench.core.errors import NodeFailed, NoWorkbench, WorkbenchError
from workbench.core.settings import STATE_FILE, RunningState, Settings, read_state
from workbench.local.cluster import LocalCluster
from workbench.local.control import down, launch, resume, status, up
from workbench.local.plan import Plan, Service
from workbench.local.supervisor import AlreadyRunning

STAND_IN = """
import os, signal, sys, time
def end(*_):
    print(sys.argv[1], file=open(sys.argv[2], "a"), flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv[1] else end)
print("at", os.environ["WORKBENCH_BROKER_URL"], flush=True)
while True:
    time.sleep(60)
"""


def stand_in(name: str, order: Path, grace: float = 5.0) -> Service:
    """A service that writes its name into a file when it is told to end."""
    command = (sys.executable, "-S", "-c", STAND_IN, name, str(order))
    return Service(name=name, command=command, grace=grace, may_leave=name.startswith("worker"))


def plan_of(directory: Path, *stages: tuple[str, ...]) -> Plan:
    order = directory.with_name("order")
    services = tuple(
        tuple(stand_in(name, order, 0.5 if "stubborn" in name else 5.0) for name in stage) for stage in stages
    )
    return Plan(directory=str(directory), stages=services, store=str(directory / "store"), database="")


def state_of(directory: Path) -> RunningState:
    state = status(directory)
    assert state is not None
    return state


def handshake(url: str) -> bool:
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except pika.exceptions.AMQPError:
        return False
    return True


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants: of a supervisor, everything that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in _there(processes))


def _there(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        try:
            process.status()
        except psutil.NoSuchProcess:
            continue
        yield process


@pytest.fixture
def started() -> Iterator[Callable[[Plan], list[psutil.Process]]]:
    """Starts a plan, and sees to it that nothing of it is left when the test is over."""
    every: list[psutil.Process] = []
    supervisors: list[subprocess.Popen[bytes]] = []

    def start(plan: Plan) -> list[psutil.Process]:
        supervisor = launch(plan)
        supervisors.append(supervisor)
        every.extend(processes := family(supervisor.pid))
        return processes

    yield start
    for supervisor in supervisors:
        if supervisor.poll() is None:
            every.extend(family(supervisor.pid))
            supervisor.kill()
        supervisor.wait()
    for process in _there(every):
        process.kill()


def test_a_workbench_comes_up_mends_itself_and_stops_in_order(
    tmp_path: Path, started: Callable[[Plan], list[psutil.Process]]
):
    directory = tmp_path / "bench"
    started(plan_of(directory, ("tracker",), ("worker-1", "worker-2-stubborn")))
    state = state_of(directory)

    # It is there for clients of this user, and for nobody else.
    assert handshake(state.settings.broker_url)
    assert Settings.load(directory=directory, environ={}) == state.settings
    assert stat.S_IMODE((directory / STATE_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert set(state.processes) == {"node", "epmd", "tracker", "worker-1", "worker-2-stubborn"}
    log = directory / "logs" / "worker-1.log"
    wait_until(lambda: state.settings.broker_url in log.read_text())

    # A second one keeps its hands off.
    with pytest.raises(AlreadyRunning, match="already running"):
        up(directory)
    with pytest.raises(AlreadyRunning, match="already running"):
        launch(plan_of(directory))
    assert state_of(directory) == state

    # What dies comes back.
    os.kill(state.processes["worker-1"], signal.SIGKILL)
    wait_until(lambda: state_of(directory).restarts == {"worker-1": 1})
    assert state_of(directory).processes["worker-1"] != state.processes["worker-1"]
    os.kill(state.processes["node"], signal.SIGKILL)
    wait_until(lambda: state_of(directory).restarts.get("node"), timeout=60)
    assert handshake(state.settings.broker_url)  # at the same address, so that its clients find it again
    assert state_of(directory).processes["tracker"] == state.processes["tracker"]

    # A worker that was told to end, and has ended well, stays away until it's asked back. The tracker doesn't.
    before = state_of(directory)
    assert resume(directory) == ()
    for name in ("tracker", "worker-1"):
        os.kill(before.processes[name], signal.SIGTERM)
    wait_until(lambda: state_of(directory).drained == ("worker-1",))
    wait_until(lambda: state_of(directory).restarts.get("tracker"))
    assert "worker-1" not in state_of(directory).processes
    assert resume(directory) == ("worker-1",)
    wait_until(lambda: "worker-1" in state_of(directory).processes)
    assert state_of(directory).drained == ()
    assert state_of(directory).restarts["worker-1"] == 1  # it hasn't crashed
    (tmp_path / "order").unlink()
    for name, lives in (("tracker", 2), ("worker-1", 3)):  # each tells the address once it can be told to end
        told = directory / "logs" / f"{name}.log"
        wait_until(lambda told=told, lives=lives: told.read_text().count("amqp://") == lives)

    # It stops in order, and leaves nothing but its data.
    processes = family(state.pid)
    assert down(directory)
    wait_until(lambda: all_gone(processes), timeout=5)
    assert (tmp_path / "order").read_text().split() == ["worker-1", "tracker"]
    assert "worker-2-stubborn didn't end in time" in (directory / "logs" / "supervisor.log").read_text()
    assert read_state(directory) is None
    assert not down(directory)


def test_after_kill_9_of_a_detached_supervisor_nothing_is_left_and_the_data_is(tmp_path: Path):
    directory = tmp_path / "bench"
    script = f"from workbench.local.control import up; up({str(directory)!r}, workers=0)"
    processes: list[psutil.Process] = []
    try:
        subprocess.run([sys.executable, "-c", script], check=True, timeout=90)
        state = state_of(directory)  # it has outlived its caller
        processes += family(state.pid)
        assert os.getsid(state.pid) == state.pid
        assert Path(f"/proc/{state.pid}/fd/0").resolve() == Path(os.devnull)
        assert set(state.processes) == {"node", "epmd", "tracker"}
        with pika.BlockingConnection(pika.URLParameters(state.settings.broker_url)) as connection:
            connection.channel().queue_declare("kept", durable=True)

        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda: status(directory) is None, timeout=2)  # whatever its file says
        up(directory, workers=0)  # at once: the new node waits for the old one's end

        wait_until(lambda: all_gone(processes), timeout=10)
        with pika.BlockingConnection(pika.URLParameters(state_of(directory).settings.broker_url)) as connection:
            connection.channel().queue_declare("kept", passive=True)
    finally:
        down(directory)
        for process in _there(processes):
            process.kill()


OWNER = """
import json, sys, time
from workbench.local.cluster import LocalCluster
cluster = LocalCluster(workers=0)
print(json.dumps([str(cluster.directory), cluster._state().pid]), flush=True)
time.sleep(600)
"""


def test_a_cluster_ends_with_the_process_that_made_it_even_if_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        directory, supervisor = json.loads(owner.stdout.readline())
        processes = family(supervisor)
        assert len(processes) >= 5  # the supervisor, the guard, epmd, the node, its helpers …
        owner.kill()

        wait_until(lambda: all_gone(processes), timeout=10)
        wait_until(lambda: not Path(directory).exists(), timeout=5)


def test_a_cluster_says_what_it_is_and_may_be_closed_twice():
    with LocalCluster(workers=2) as cluster:
        processes = family(cluster._state().pid)
        assert handshake(cluster.url)
        assert cluster.settings.store == str(cluster.directory / "store")
        assert cluster.settings.roots == (str(Path.cwd()),)
        assert {"node", "epmd", "tracker", "worker-1", "worker-2"} == set(cluster.processes())
        assert "of 2 workers running in" in repr(cluster)
        cluster.close()
    cluster.close()

    wait_until(lambda: all_gone(processes), timeout=5)
    assert not cluster.directory.exists()
    assert "stopped" in repr(cluster)
    with pytest.raises(NoWorkbench, match="has been stopped"):
        _ = cluster.url


def test_a_cluster_that_cannot_start_says_why(tmp_path: Path):
    (tmp_path / "broker").write_text("a file where the node's directory should be")

    with pytest.raises(NodeFailed, match=r"can't be started: .*broker"):
        LocalCluster(directory=tmp_path)
    assert read_state(tmp_path) is None


def test_a_module_that_is_not_there_is_refused_before_anything_starts():
    with pytest.raises(WorkbenchError, match="there is no module 'no_such_module' to include"):
        LocalCluster(include=["no_such_module"])


def test_a_module_that_every_worker_fails_to_load_is_reported_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken_operations.py").write_text("raise RuntimeError('no licence for this')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(NodeFailed, match=r"worker-1(?s:.)*no licence for this"):
        LocalCluster(include=["broken_operations"])


def test_the_file_of_a_workbench_whose_pid_now_belongs_to_another_is_not_believed(tmp_path: Path):
    state = RunningState(settings=Settings(broker_url="amqp://h/"), pid=os.getpid(), started="long ago")
    (tmp_path / STATE_FILE).write_bytes(msgspec.json.encode(state))

    assert status(tmp_path) is None
    assert not down(tmp_path)
