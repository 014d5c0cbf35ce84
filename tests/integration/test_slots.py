"""One slot and its child process, without any broker: orders, limits, progress, and what is told of an attempt."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import until
from workbench.core.messages import Failure, Status, Task, encode, utcnow
from workbench.core.settings import Settings
from workbench.worker import slots, wire
from workbench.worker.slots import Slot, _kill_group

OPERATIONS = "tests.integration.user_operations"


class Audience:
    """Takes note of what a slot says."""

    def __init__(self) -> None:
        self.ready: list[wire.Ready] = []
        self.reports: list[wire.Report] = []
        self.outputs: list[str] = []
        self.deaths: list[tuple[Failure, int | None]] = []
        self.failures: list[Failure] = []
        self.progress: list[wire.Progress] = []

    def slot_ready(self, slot: Slot, ready: wire.Ready) -> None:
        self.ready.append(ready)

    def slot_progressed(self, slot: Slot, progress: wire.Progress) -> None:
        self.progress.append(progress)

    def slot_reported(self, slot: Slot, report: wire.Report, output: str) -> None:
        self.reports.append(report)
        self.outputs.append(output)

    def slot_died(self, slot: Slot, failure: Failure, exit_signal: int | None, output: str) -> None:
        self.deaths.append((failure, exit_signal))
        self.outputs.append(output)

    def slot_failed(self, slot: Slot, failure: Failure, output: str) -> None:
        self.failures.append(failure)


Scene = Callable[[Slot, Audience], Awaitable[None]]


def play(directory: Path, scene: Scene, *, include: Sequence[str] = (OPERATIONS,), cancel_grace: float = 5.0) -> None:
    async def run() -> None:
        audience = Audience()
        config = wire.ChildConfig(
            settings=Settings(broker_url="amqp://nowhere/", store=str(directory / "store"), roots=(str(directory),)),
            include=tuple(include),
            scratch=str(directory / "scratch"),
        )
        slot = Slot(1, config, audience, slots.context(include), cancel_grace=cancel_grace)
        await slot.start()
        try:
            await scene(slot, audience)
        finally:
            await slot.stop()

    asyncio.run(run())


def task(operation: str, *args: object, attempt: int = 1) -> Task:
    now = utcnow()
    raw = tuple(msgspec.Raw(msgspec.msgpack.encode(arg)) for arg in args)
    return Task(
        task_id=f"t-{os.urandom(4).hex()}",
        operation=operation,
        args=raw,
        client="c",
        submitted_at=now,
        queued_at=now,
        attempt=attempt,
    )


async def start(slot: Slot, audience: Audience, each: Task, **limits: Any) -> None:
    await until(lambda: audience.ready or audience.failures, what="the child is up")
    assert not audience.failures
    slot.run(each, encode(each), **limits)


async def report_of(slot: Slot, audience: Audience, each: Task, **limits: Any) -> wire.Report:
    await start(slot, audience, each, **limits)
    await until(lambda: any(report.task_id == each.task_id for report in audience.reports), what=each.operation)
    return next(report for report in audience.reports if report.task_id == each.task_id)


async def goes_on(slot: Slot, audience: Audience) -> None:
    """The same child still works."""
    report = await report_of(slot, audience, task("text.wordcount", "a b c"))
    assert report.status is Status.SUCCEEDED


# --- cancelling -----------------------------------------------------------------------------------


def test_a_cancelled_operation_gets_an_exception_that_passes_by_except_exception_and_may_tidy_up(
    tmp_path: Path,
) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        each = task("bad.tidies", str(tmp_path))
        await start(slot, audience, each)
        await asyncio.sleep(0.2)
        slot.cancel("enough")
        assert slot.cancelled_for == "enough"
        await until(lambda: audience.reports)
        assert audience.reports[0].status is Status.CANCELLED
        assert (tmp_path / "tidied").exists()
        assert not (tmp_path / "caught").exists()
        await goes_on(slot, audience)
        assert audience.deaths == []

    play(tmp_path, scene)


def test_a_task_that_is_cancelled_before_its_child_has_read_it_does_not_run(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        for _ in range(20):
            each = task("bad.tidies", str(tmp_path))
            await start(slot, audience, each)
            slot.cancel("at once")
            await until(lambda each=each: any(r.task_id == each.task_id for r in audience.reports))
        assert {report.status for report in audience.reports} == {Status.CANCELLED}
        await goes_on(slot, audience)

    play(tmp_path, scene)


def test_an_operation_that_swallows_the_order_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        for operation in ("bad.stubborn", "bad.stuck"):
            await until(lambda: slot.takes_tasks)
            audience.deaths.clear()
            await start(slot, audience, task(operation))
            await asyncio.sleep(0.2)
            slot.cancel("now")
            await until(lambda: audience.deaths)
            failure, exit_signal = audience.deaths[0]
            assert (failure.type, exit_signal, slot.cancelled_for) == ("Cancelled", signal.SIGKILL, "now")
            await slot.restart()

    play(tmp_path, scene, cancel_grace=0.5)


def test_a_coroutine_is_cancelled_as_coroutines_are(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await start(slot, audience, task("bad.awaits", str(tmp_path)))
        await asyncio.sleep(0.3)
        slot.cancel("enough")
        await until(lambda: audience.reports)
        assert audience.reports[0].status is Status.CANCELLED
        assert (tmp_path / "cancelled").exists()
        limited = await report_of(slot, audience, task("bad.awaits", str(tmp_path)), soft_timeout=0.3)
        assert limited.failure is not None
        assert limited.failure.type == "SoftTimeLimit"
        await goes_on(slot, audience)

    play(tmp_path, scene)


def test_what_an_operation_has_started_is_not_signalled_so_that_it_can_end_it_in_order(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await start(slot, audience, task("bad.child", str(tmp_path)))
        await until((tmp_path / "child").exists)
        slot.cancel("enough")
        await until(lambda: audience.reports)
        assert (tmp_path / "alive").read_text() == "True"

    play(tmp_path, scene)


def test_a_signal_without_an_order_disturbs_nothing(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await until(lambda: audience.ready)
        assert slot.pid is not None
        os.kill(slot.pid, signal.SIGTERM)  # between tasks
        each = task("text.sleep", 0.5)
        await start(slot, audience, each)
        for _ in range(5):
            await asyncio.sleep(0.05)
            os.kill(slot.pid, signal.SIGTERM)
        await until(lambda: audience.reports)
        assert audience.reports[0].status is Status.SUCCEEDED

    play(tmp_path, scene)


def test_an_order_that_comes_too_late_does_not_reach_the_next_attempt(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        first = task("text.wordcount", "a")
        await report_of(slot, audience, first)
        slot._order("soft_limit")
        again = msgspec.structs.replace(first, attempt=2)
        slot.run(again, encode(again))
        await until(lambda: len(audience.reports) == 2)
        assert audience.reports[1].status is Status.SUCCEEDED

    play(tmp_path, scene)


def test_orders_amid_progress_break_no_frame(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        for _ in range(30):
            each = task("bad.tells", 200_000)
            await start(slot, audience, each)
            await asyncio.sleep(0.01)
            slot.cancel("enough")
            await until(lambda each=each: any(r.task_id == each.task_id for r in audience.reports))
        assert audience.deaths == []
        await goes_on(slot, audience)

    play(tmp_path, scene)


def test_an_operation_that_ignores_sigterm_keeps_no_order_from_those_after_it(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await report_of(slot, audience, task("bad.deaf"))
        limited = await report_of(slot, audience, task("text.sleep", 60.0), soft_timeout=0.3)
        assert (limited.failure and limited.failure.type) == "SoftTimeLimit"

    play(tmp_path, scene)


# --- limits ---------------------------------------------------------------------------------------


def test_a_soft_limit_raises_in_the_operation_and_the_hard_one_kills_what_goes_on(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        soft = await report_of(slot, audience, task("bad.tidies", str(tmp_path)), soft_timeout=0.3, timeout=30.0)
        assert (soft.status, soft.failure and soft.failure.type) == (Status.FAILED, "SoftTimeLimit")
        assert soft.failure is not None
        assert "soft_timeout" in soft.failure.hint
        assert (tmp_path / "caught").read_text() == "SoftTimeLimit"
        await start(slot, audience, task("bad.stubborn"), soft_timeout=0.3, timeout=0.8)
        await until(lambda: audience.deaths)
        assert audience.deaths[0][0].type == "TimeLimitExceeded"
        assert "swallowed SoftTimeLimit" in audience.outputs[-1]

    play(tmp_path, scene)


def test_a_hard_limit_that_is_not_the_attempts_own_says_what_it_was(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await start(
            slot,
            audience,
            task("text.sleep", 60.0),
            timeout=0.3,
            timeout_failure=Failure(type="DeadlineExceeded", message="too late"),
        )
        await until(lambda: audience.deaths)
        assert audience.deaths[0][0].type == "DeadlineExceeded"
        assert not audience.deaths[0][0].transient

    play(tmp_path, scene)


def test_a_child_that_does_not_come_up_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "START_TIMEOUT", 0.05)

    async def scene(slot: Slot, audience: Audience) -> None:
        await until(lambda: audience.failures)
        assert audience.failures[0].type == "StartTimeout"

    play(tmp_path, scene, include=("tests.integration.slow_module",))


def test_a_start_that_is_given_up_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int | None] = []
    monkeypatch.setattr(slots, "_kill_group", lambda process: made.append(process.pid) or _kill_group(process))

    async def scene(slot: Slot, audience: Audience) -> None:
        await until(lambda: audience.ready)
        await slot.stop()
        made.clear()
        starting = asyncio.ensure_future(slot.start())
        await asyncio.sleep(0)  # it waits for the thread that forks
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert slot.pid is None
        assert len(made) == 1
        with pytest.raises(ProcessLookupError):
            os.kill(made[0] or 0, 0)

    play(tmp_path, scene)


# --- what is told ---------------------------------------------------------------------------------


def test_progress_is_told_a_few_times_a_second_the_last_of_it_too_and_notes_come_with_the_report(
    tmp_path: Path,
) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("bad.tells", 100, 0.01))
        assert report.notes == {"engine": "hand"}
        fractions = [told.fraction for told in audience.progress]
        assert fractions[0] == 0.0
        assert fractions[-1] == 1.0
        assert fractions == sorted(fractions)
        assert 3 <= len(fractions) <= 10
        assert audience.progress[-1].message == "done"

    play(tmp_path, scene)


def test_what_is_said_need_not_be_text(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("bad.says", "x"))
        assert (report.status, report.notes) == (Status.SUCCEEDED, {"said": "None"})
        assert audience.progress[0].message == "bad \\udcff name"
        assert audience.deaths == []

    play(tmp_path, scene)


@pytest.mark.parametrize(("kind", "delay"), [("numpy", 0.25), ("decimal", 0.25), ("int", 0.0)])
def test_the_time_of_a_retry_may_be_any_number(tmp_path: Path, kind: str, delay: float) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("bad.asks", kind))
        assert report.failure is not None
        assert (report.failure.asks, report.failure.retry_in) == ("retry", delay)

    play(tmp_path, scene)


def test_an_exception_that_has_no_text_is_a_failure_as_any_other(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("bad.speechless"))
        assert report.failure is not None
        assert report.failure.type == "SpeechlessError"
        assert "RuntimeError" in report.failure.message
        await goes_on(slot, audience)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("number", "transient"),
    [(errno.ESTALE, True), (errno.EIO, True), (errno.ECONNRESET, True), (errno.ENOENT, False), (errno.ENOSPC, False)],
)
def test_a_lost_file_server_is_told_from_a_missing_file(tmp_path: Path, number: int, transient: bool) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        failure = (await report_of(slot, audience, task("bad.loses", number))).failure
        assert failure is not None
        assert failure.transient is transient
        assert failure.bases[-1:] == ("OSError",) or failure.type == "OSError"

    play(tmp_path, scene)


def test_what_an_operation_asks_for_is_told_without_a_traceback(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        retry = (await report_of(slot, audience, task("bad.retries", str(tmp_path), 7.5))).failure
        assert retry is not None
        assert (retry.type, retry.asks, retry.retry_in, retry.traceback) == ("Retry", "retry", 7.5, "")
        reject = (await report_of(slot, audience, task("bad.rejects", "no such customer"))).failure
        assert reject is not None
        assert (reject.type, reject.asks, reject.message) == ("Reject", "reject", "no such customer")

    play(tmp_path, scene)


def test_peak_memory_is_the_attempts_own(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        large = await report_of(slot, audience, task("bad.allocates", 300))
        small = await report_of(slot, audience, task("bad.allocates", 10))
        assert large.peak_memory is not None
        assert small.peak_memory is not None
        assert large.peak_memory > 300 * 2**20
        assert small.peak_memory < large.peak_memory - 200 * 2**20

    play(tmp_path, scene)


def test_memory_that_an_attempt_has_left_free_goes_back_once_the_slot_is_idle(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("bad.scatters", 400))
        assert (report.peak_memory or 0) > 400 * 2**20
        await until(lambda: resident(slot) < 200 * 2**20, what="the slot gives memory back")
        again = await report_of(slot, audience, task("bad.allocates", 10))
        assert again.status == Status.SUCCEEDED

    def resident(slot: Slot) -> int:
        return int(Path(f"/proc/{slot.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    play(tmp_path, scene)


# --- what it has from the start ---------------------------------------------------------------------


def result_of(report: wire.Report) -> Any:
    assert report.status is Status.SUCCEEDED, report.failure
    return msgspec.msgpack.decode(report.result)


def test_what_conversions_and_queries_need_is_loaded_before_the_first_task_and_what_only_charts_need_is_not(
    tmp_path: Path,
) -> None:
    readers = ["duckdb", "pyarrow.dataset", "pyarrow.orc", "pyarrow.parquet", "python_calamine", "xlsxwriter"]

    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("text.loaded", [*readers, "bokeh", "matplotlib"]))
        assert result_of(report) == readers

    play(tmp_path, scene)


def test_matplotlib_searches_for_fonts_once_a_worker_and_not_in_each_child(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        first = result_of(await report_of(slot, audience, task("text.fonts")))
        assert Path(first[0]).parent == tmp_path / "scratch" / "matplotlib"
        audience.ready.clear()
        await slot.restart()
        assert result_of(await report_of(slot, audience, task("text.fonts"))) == first
        assert not [output for output in audience.outputs if "temporary cache directory" in output]
        assert "font" not in audience.outputs[-1]

    play(tmp_path, scene)
