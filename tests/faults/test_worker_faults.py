"""What a worker may do while tasks flow: lose a slot's process, die, hang, die between two messages, be told to go."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

import workbench as wb
from tests.faults import worker_processes
from tests.faults.failing_worker import Moment, Moments
from tests.faults.report import Recorder
from tests.faults.scene import HELD, SLOTS, TASK, Process, Scene, Stream, lasting, now
from tests.support import wait_until
from workbench.broker.letters import Letter
from workbench.broker.node import Node
from workbench.core.messages import Status
from workbench.core.rpc import WorkerRecord
from workbench.core.states import State, TaskRecord
from workbench.tracker.database import Database
from workbench.tracker.duties import LISTEN
from workbench.tracker.questions import SILENCE

HEARTBEAT = 2  # seconds, instead of 30, so that the broker soon takes a worker that hangs for lost
SPECIAL = 1_000_000  # the numbers of tasks beside the stream's begin here
AT_ONCE = 5.0  # seconds in which the kernel ends processes, on a busy machine too
LATER = 10.0  # seconds that the tracker may take to see what has happened by then: it looks twice a second
LOST = max(SILENCE, LISTEN) + LATER


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("workers") / "node") as node:
        yield node


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    with Scene(node.url, tmp_path) as scene:
        yield scene


@pytest.fixture
def nervous(node: Node, tmp_path: Path) -> Iterator[Scene]:
    """A scene in which the broker notices a silent worker within seconds."""
    with Scene(f"{node.url}?heartbeat={HEARTBEAT}", tmp_path) as scene:
        yield scene


# --- a slot's process -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_slot_s_process_that_is_killed_costs_an_attempt_and_its_neighbours_do_not_notice(
    scene: Scene, report: Recorder
) -> None:
    draw = random.Random(7)
    killed = 6
    victims: dict[int, str] = {}
    scene.tracker()
    worker = scene.worker("w1")
    with Stream(scene) as stream, wb.Producer(settings=scene.settings) as producer:
        stream.await_executions(20)
        for number in range(SPECIAL, SPECIAL + killed):
            victims[number] = producer.submit("text.mark", str(scene.marks), number, 2.0).id
            slot = worker_processes.await_execution(scene, number)
            lasting(draw.uniform(0.0, 0.5))
            os.kill(slot, signal.SIGKILL)
            struck = now()
        scene.await_task_after(struck)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted | victims, retries=killed, twice=killed)
    for number, task_id in victims.items():
        first, second = scene.attempts(task_id)
        assert first.outcome is not None
        assert (first.outcome.status, first.outcome.exit_signal) == (Status.RETRY, signal.SIGKILL)
        assert second.outcome is not None
        assert second.outcome.status is Status.SUCCEEDED
        assert len(worker_processes.executions(scene, number)) == 2
    assert worker.poll() is None
    recovered = scene.recovered(struck)
    assert recovered < 10
    report.add("slot's process killed", f"kill -9 amid a task, {killed} times", *verdict, recovered)


@pytest.mark.slow
def test_idle_and_busy_slots_may_be_killed_at_any_time(scene: Scene, report: Recorder) -> None:
    draw = random.Random(11)
    killed = 2  # fewer than a task's attempts: were both times the same task hit, it would still succeed
    scene.tracker()
    worker = scene.worker("w1")
    with Stream(scene) as stream:
        for _ in range(killed):
            stream.await_executions(draw.randint(5, 15))
            lasting(draw.uniform(0.0, 0.1))
            slot = draw.choice(worker_processes.slots(worker))
            os.kill(slot, signal.SIGKILL)
            struck = now()
            _await_gone([slot])
        scene.await_task_after(struck)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, retries=killed, twice=killed)
    recovered = scene.recovered(struck)
    report.add("slot's process killed, any", f"kill -9, busy or idle, {killed} times", *verdict, recovered)


# --- the worker's death ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_worker_leaves_its_tasks_to_another_and_no_process_behind(scene: Scene, report: Recorder) -> None:
    scene.tracker()
    worker = scene.worker("w1")
    scene.worker("w2")
    with Stream(scene) as stream, wb.Producer(settings=scene.settings) as producer:
        stream.await_executions(20)
        number, accepted = _occupy(scene, producer, worker, 3.0)
        wait_until(lambda: _state(scene, accepted[number]) is State.RUNNING, what="the long task is shown as running")
        processes = worker_processes.tree(worker)
        assert len(processes) > SLOTS
        struck = now()
        worker.kill()
        worker.wait()
        _await_gone([process.pid for process in processes])
        scene.await_task_after(struck)
        wait_until(lambda: _is_lost(scene, "w1"), timeout=LOST, what="w1 is shown as lost")
        assert _seen(scene, "w2").online
        scene.worker("w1")
        _await_task_on(scene, "w1", now())
        assert _seen(scene, "w1").online
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted | accepted, twice=HELD)
    first, second = scene.attempts(accepted[number])
    assert (first.worker, first.outcome) == ("w1", None)
    assert first.lost_at is not None
    assert second.worker == "w2"
    recovered = scene.recovered(struck)
    assert recovered < 10
    report.add("worker killed", "kill -9 of one of two, started again once shown as lost", *verdict, recovered)


@pytest.mark.slow
def test_the_tasks_of_a_killed_worker_are_shown_as_queued_until_another_takes_them(
    scene: Scene, report: Recorder
) -> None:
    scene.tracker()
    worker = scene.worker("w1")
    with Stream(scene) as stream, wb.Producer(settings=scene.settings) as producer:
        stream.await_executions(20)
        accepted = {SPECIAL: producer.submit("text.mark", str(scene.marks), SPECIAL, 2.0).id}
        wait_until(lambda: _state(scene, accepted[SPECIAL]) is State.RUNNING, what="the long task is shown as running")
        processes = worker_processes.tree(worker)
        worker.kill()
        worker.wait()
        _await_gone([process.pid for process in processes])
        stream.stop()
        wait_until(lambda: _state(scene, accepted[SPECIAL]) is State.QUEUED, timeout=LOST, what="it is shown as queued")
        assert _is_lost(scene, "w1")
        wait_until(lambda: not any(r.state is State.RUNNING for r in scene.records()), what="none is shown as running")
        (execution,) = scene.attempts(accepted[SPECIAL])
        assert execution.lost_at is not None
        scene.worker("w1")
        back = now()
        accepted[SPECIAL + 1] = producer.submit("text.mark", str(scene.marks), SPECIAL + 1, TASK).id
        assert not stream.refused
        verdict = scene.check(stream.accepted | accepted, twice=HELD)
    assert len(worker_processes.executions(scene, SPECIAL)) == 2
    recovered = scene.recovered(back, backlog=True)
    assert recovered < 10
    report.add("worker killed, the only one", "kill -9, started again once shown as lost", *verdict, recovered)


# --- a worker that hangs --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["alone", "with its slots"])
def test_a_worker_stopped_past_the_heartbeat_comes_back_and_what_it_says_late_changes_nothing(
    node: Node, nervous: Scene, report: Recorder, whole: bool
) -> None:
    nervous.tracker()
    worker = nervous.worker("w1")
    nervous.worker("w2")
    with Stream(nervous) as stream, wb.Producer(settings=nervous.settings) as producer:
        stream.await_executions(20)
        number, accepted = _occupy(nervous, producer, worker, 3.0)
        processes = worker_processes.tree(worker)
        with worker_processes.stopped(processes if whole else processes[:1]):
            struck = now()
            worker_processes.await_execution(nervous, number, times=2)
            wait_until(lambda: _has_ended(nervous, accepted[number]), what="w2 has done w1's task")
        wait_until(lambda: worker.output().count("w1 takes") == 2, what="w1 is back")
        wait_until(lambda: _told_by(nervous, accepted[number]) == {"w1", "w2"}, what="w1 has told its late outcome")
        _await_task_on(nervous, "w1", now())
        stream.stop()
        assert not stream.refused
        verdict = nervous.check(stream.accepted | accepted, twice=HELD)
        record = nervous.record(accepted[number])
        assert record is not None
        assert record.worker == "w2"  # the first outcome counts
    assert worker.poll() is None
    assert "unknown delivery tag" not in _log(node)  # what the broker says to whoever acknowledges on another channel
    recovered = nervous.recovered(struck)
    assert recovered < 10
    what = "SIGSTOP of the worker and its slots" if whole else "SIGSTOP of the worker, not its slots"
    report.add("worker stopped", f"{what}, past the heartbeat of {HEARTBEAT} s", *verdict, recovered)


# --- death between two messages -------------------------------------------------------------------


class Play:
    """A stream, and a worker that dies at a moment; it is started again as an ordinary one."""

    def __init__(self, scene: Scene, directory: Path) -> None:
        self.scene = scene
        self.moments = Moments(directory)
        self.stone = scene.marks.parent / "stone"
        self.workers: dict[str, Process] = {}
        self.dead = ""  # the name of the worker that has died
        self.back: datetime | None = None

    def start(self, *names: str) -> None:
        """Start a tracker, and workers of which the first that comes to an armed moment dies."""
        self.scene.tracker()
        for name in names:
            self.workers[name] = self.scene.worker(
                name, program="tests.faults.failing_worker", environ=self.moments.environ
            )

    def stumble(self, stream: Stream, moment: Moment, attempt: int, delay: float = 0.25) -> str:
        """Submit a task that fails at most twice, and wait until its worker has died at this moment of this attempt."""
        stream.await_executions(20)
        self.stone.touch()
        self.moments.arm(moment, "text.stumble", attempt)
        policy = wb.RetryPolicy(attempts=2, delay=delay, jitter=0.0)
        with wb.Producer(settings=self.scene.settings) as producer:
            stumbling = producer.with_options(retry=policy)
            arguments = (str(self.scene.marks), SPECIAL, 0.3, str(self.stone))  # 0.3 s: its start is told
            task_id = stumbling.submit("text.stumble", *arguments).id
        self.await_death()
        assert self.moments.struck(moment) == task_id
        return task_id

    def await_death(self) -> None:
        """Wait until a worker is gone."""
        wait_until(lambda: any(worker.poll() is not None for worker in self.workers.values()), what="a worker dies")
        (self.dead,) = (name for name, worker in self.workers.items() if worker.poll() is not None)
        assert self.workers[self.dead].returncode == -signal.SIGKILL

    def restart(self) -> None:
        """Start an ordinary worker in its place."""
        self.workers[self.dead] = self.scene.worker(self.dead)
        self.back = now()

    def end(self, stream: Stream, report: Recorder, done: str, *, again: int = 0) -> None:
        """Hold the stream's tasks against what is recorded; the stumbling one may run so many times again."""
        assert self.back is not None
        self.scene.await_task_after(self.back)
        stream.stop()
        assert not stream.refused
        beside = [SPECIAL] if again else []
        others = HELD - 1  # that the dead worker held besides the struck task
        verdict = self.scene.check(stream.accepted, uncertain=beside, twice=others + again)
        recovered = self.scene.recovered(self.back, backlog=True)
        report.add("worker killed between messages", done, *verdict, recovered)

    def executions(self) -> int:
        """Return how often the stumbling task was executed."""
        return len(worker_processes.executions(self.scene, SPECIAL))

    def ends(self, task_id: str) -> list[tuple[int, Status | None]]:
        """Return the recorded executions of a task: the attempt, and its outcome."""
        return [(a.attempt, a.outcome.status if a.outcome else None) for a in self.scene.attempts(task_id)]

    def letters(self) -> list[Letter]:
        """Return the dead letters."""
        with self.scene.client() as client:
            return asyncio.run(client.dead_letters())

    def replay(self) -> None:
        """Send all dead letters again."""
        with self.scene.client() as client:
            asyncio.run(client.replay(all=True))


@pytest.fixture
def play(scene: Scene, tmp_path: Path) -> Play:
    (tmp_path / "moments").mkdir()
    return Play(scene, tmp_path / "moments")


def test_a_worker_that_dies_between_an_outcome_and_its_acknowledgement_does_not_cost_the_task_another_run(
    play: Play, report: Recorder
) -> None:
    play.start("w1")
    with Stream(play.scene) as stream:
        stream.await_executions(20)
        play.moments.arm(Moment.ACK, "text.mark")
        play.await_death()
        task_id = play.moments.struck(Moment.ACK)
        wait_until(lambda: _has_ended(play.scene, task_id), what="the tracker knows that it is over")
        play.restart()
        play.end(stream, report, "after an outcome's confirm, before the acknowledgement")
    number = next(number for number, each in stream.accepted.items() if each == task_id)
    assert len(worker_processes.executions(play.scene, number)) == 1
    assert play.ends(task_id) == [(1, Status.SUCCEEDED)]


@pytest.mark.slow
def test_a_worker_that_dies_between_the_next_attempt_and_the_word_of_it_costs_no_attempt(
    play: Play, report: Recorder
) -> None:
    play.start("w1")
    with Stream(play.scene) as stream:
        task_id = play.stumble(stream, Moment.TELL_RETRY, 1)
        play.stone.unlink()
        wait_until(lambda: _attempt(play.scene, task_id) == 2, what="the tracker knows of the next attempt")
        play.restart()
        play.end(stream, report, "after the next attempt's confirm, before the outcome `retry`", again=1)
    assert _state(play.scene, task_id) is State.SUCCEEDED
    assert play.ends(task_id) == [(1, None), (2, Status.SUCCEEDED)]  # nobody knows how the first ended
    assert play.scene.attempts(task_id)[0].lost_at is not None
    assert play.executions() == 2


@pytest.mark.slow
def test_a_worker_that_dies_before_the_word_of_a_retry_while_another_takes_the_task_over_leaves_one_outcome(
    play: Play, report: Recorder
) -> None:
    play.start("w1", "w2")
    with Stream(play.scene) as stream:
        task_id = play.stumble(stream, Moment.TELL_RETRY, 1, delay=4.0)  # the other tries before it is over
        wait_until(lambda: (1, Status.RETRY) in play.ends(task_id), what="the other worker has tried as well")
        play.stone.unlink()
        play.restart()
        wait_until(lambda: _has_ended(play.scene, task_id), what="the task has ended")
        play.end(stream, report, "after the next attempt's confirm, with another worker", again=3)
    assert _state(play.scene, task_id) is State.SUCCEEDED
    expected = {(1, None), (1, Status.RETRY), (2, Status.SUCCEEDED)}
    wait_until(lambda: set(play.ends(task_id)) == expected, what="what runs of it has ended")
    assert play.executions() <= 4  # each worker put a second attempt where it waits


@pytest.mark.slow
def test_a_worker_that_dies_between_the_word_of_a_retry_and_its_acknowledgement_costs_no_attempt(
    play: Play, report: Recorder
) -> None:
    play.start("w1")
    with Stream(play.scene) as stream:
        task_id = play.stumble(stream, Moment.ACK, 1)
        play.stone.unlink()
        wait_until(lambda: play.ends(task_id)[:1] == [(1, Status.RETRY)], what="the tracker knows of the retry")
        play.restart()
        play.end(stream, report, "after the outcome `retry`, before the acknowledgement", again=1)
    assert play.ends(task_id) == [(1, Status.RETRY), (2, Status.SUCCEEDED)]
    assert play.executions() == 2


@pytest.mark.slow
@pytest.mark.parametrize("moment", [Moment.BURY, Moment.ACK], ids=["before its dead letter", "after its dead letter"])
def test_a_worker_that_dies_as_it_gives_a_task_up_leaves_one_outcome_and_a_dead_letter(
    play: Play, report: Recorder, moment: Moment
) -> None:
    play.start("w1")
    with Stream(play.scene) as stream:
        task_id = play.stumble(stream, moment, 2)
        wait_until(lambda: _has_ended(play.scene, task_id), what="the tracker knows that it has failed")
        play.restart()
        where = "before" if moment is Moment.BURY else "after"
        play.end(stream, report, f"after the last outcome's confirm, {where} the dead letter", again=1)
    assert _state(play.scene, task_id) is State.FAILED
    assert play.ends(task_id) == [(1, Status.RETRY), (2, Status.FAILED)]
    assert play.executions() == 2
    copies = 1 if moment is Moment.BURY else 2  # whoever gets the message again can't know whether it was written
    wait_until(lambda: len(play.letters()) == copies, what="its dead letter")
    assert {(letter.task_id, letter.reason_type) for letter in play.letters()} == {(task_id, "OutOfAttempts")}
    play.stone.unlink()
    play.replay()
    wait_until(lambda: _state(play.scene, task_id) is State.SUCCEEDED, what="the replay succeeds")
    assert _known(play.scene, task_id).replay == 1  # both letters became the same


# --- a worker that is told to go ------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_drains_under_load_ends_what_it_can_and_gives_back_the_rest_without_spending_an_attempt(
    scene: Scene, report: Recorder
) -> None:
    scene.tracker()
    leaving = scene.worker("w1", "--grace", "3")
    short, long = SPECIAL, SPECIAL + 1
    with Stream(scene) as stream, wb.Producer(settings=scene.settings) as producer:
        stream.await_executions(20)
        processes = worker_processes.tree(leaving)
        waiting = range(SPECIAL + 2, SPECIAL + 10)  # some wait in the worker for a moment
        tasks = [(long, 8.0), (short, 1.0), *((number, TASK) for number in waiting)]
        accepted = {n: producer.submit("text.mark", str(scene.marks), n, seconds).id for n, seconds in tasks}
        for number in (long, short):
            worker_processes.await_execution(scene, number)
        struck = now()
        leaving.terminate()
        assert leaving.wait(20) == 0
        _await_gone([process.pid for process in processes])
        scene.worker("w2")
        scene.await_task_after(struck)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted | accepted, twice=1)
    assert _known(scene, accepted[short]).worker == "w1"
    assert _known(scene, accepted[long]).worker == "w2"
    assert {record.attempt for record in scene.records()} == {1}
    assert len(worker_processes.executions(scene, long)) == 2  # the one execution too many
    recovered = scene.recovered(struck)
    report.add("worker told to go", "SIGTERM with tasks running and waiting, 3 s of grace", *verdict, recovered)


# --- what the tests look at -----------------------------------------------------------------------


def _await_gone(processes: Iterable[int]) -> None:
    wait_until(lambda: not any(map(worker_processes.is_alive, processes)), timeout=AT_ONCE, what="they are gone")


def _occupy(scene: Scene, producer: wb.Producer, worker: Process, seconds: float) -> tuple[int, dict[int, str]]:
    """Submit tasks of some seconds until one runs in this worker; return its number, and all of them."""
    accepted: dict[int, str] = {}
    slots = worker_processes.slots(worker)
    for number in range(SPECIAL, SPECIAL + 2 * SLOTS):  # of two workers: no more than the half run in the other one
        accepted[number] = producer.submit("text.mark", str(scene.marks), number, seconds).id
        if worker_processes.await_execution(scene, number) in slots:
            return number, accepted
    raise AssertionError("no task runs in the worker")


def _await_task_on(scene: Scene, worker: str, since: datetime) -> None:
    def found() -> bool:
        return any(r.worker == worker and r.started_at and r.started_at >= since for r in scene.records())

    wait_until(found, what=f"{worker} has done a task")


def _seen(scene: Scene, name: str) -> WorkerRecord:
    with Database(scene.settings.database) as database:
        return next(worker for worker in database.workers(now=now()) if worker.worker == name)


def _is_lost(scene: Scene, name: str) -> bool:
    worker = _seen(scene, name)
    return worker.lost and not worker.online


def _known(scene: Scene, task_id: str) -> TaskRecord:
    return scene.record(task_id) or TaskRecord(task_id=task_id)


def _state(scene: Scene, task_id: str) -> State:
    return _known(scene, task_id).state


def _attempt(scene: Scene, task_id: str) -> int:
    return _known(scene, task_id).attempt


def _has_ended(scene: Scene, task_id: str) -> bool:
    return _state(scene, task_id).terminal


def _told_by(scene: Scene, task_id: str) -> set[str]:
    """Return the workers that have told an outcome of a task."""
    return {execution.worker for execution in scene.attempts(task_id) if execution.outcome is not None}


def _log(node: Node) -> str:
    return (node.directory / "log" / "rabbitmq.log").read_text(errors="replace")
