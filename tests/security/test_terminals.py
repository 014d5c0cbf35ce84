"""What a terminal shows of names, messages and errors from elsewhere: their letters, and nothing that steers it."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.cli import common, local
from workbench.client import bar
from workbench.core.errors import InputError, TaskFailed
from workbench.core.rpc import WorkerRecord
from workbench.core.texts import plain
from workbench.operations import context
from workbench.worker import failures

CLEAR, TITLE, BACKWARDS = "\x1b[2J", "\x1b]0;gone\x07", "\u202egpj.exe"
HOSTILE = [CLEAR, TITLE, "\x9b31m", "over\rwritten", "\b\b\b", BACKWARDS, "\u2067x\u2069", "\x1bPq\x1b\\"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_would_steer_a_terminal_is_shown_and_does_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    common.say(f"before{text}after")
    common.print_table(("task", "message"), [("t1", f"before{text}after")])
    said = capsys.readouterr().out
    assert said.count("before") == said.count("after") == 2
    assert all(sign.isprintable() or sign == "\n" for sign in said), said


def test_an_error_that_ends_a_command_is_shown_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise TaskFailed(f"the column 'a{CLEAR}' isn't there [bold]b[/]\nlook: c", task_id="t1")

    command = importlib.import_module("workbench.cli.main")
    monkeypatch.setattr(command, "app", fails)
    with pytest.raises(SystemExit):
        command.main()
    assert capsys.readouterr().err == "TaskFailed: the column 'a\\x1b[2J' isn't there [bold]b[/]\nlook: c\n"


def test_a_workers_name_is_text_whatever_it_announces_itself_as(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    record = WorkerRecord(
        worker=f"[red]w1{CLEAR}", host=f"h{TITLE}", pid=1, families=(BACKWARDS,), lane=None, slots=2, busy=0, memory=1,
        done=3, online=True, started_at=now, last_heartbeat_at=now,
    )  # fmt: skip
    common.print_table(("worker", "host", "families", "slots", "busy", "done", "state"), [local._worker_row(record)])
    said = capsys.readouterr().out
    assert "[red]w1\\x1b[2J" in said
    assert all(sign.isprintable() or sign == "\n" for sign in said), said


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_task_says_of_a_hostile_file_steers_no_terminal_either(text: str, tmp_path: Path) -> None:
    """A script's traceback, and a notebook's kernel in a terminal, show it as it is."""
    told: list[str] = []
    attempt = context.Attempt(tell=lambda fraction, message: told.append(message))
    with context.attempt(tmp_path, None, attempt):
        context.note(text, text)
        context.progress(0.5, text)
    failure = failures.describe(InputError(f"the column {text} isn't there"))
    for said in (*attempt.notes.items(), *zip(told, told, strict=True), (failure.message, failure.traceback)):
        assert all(sign.isprintable() or sign == "\n" for part in said for sign in part), said
    assert bar.text(text, 1, 2).isprintable()


def test_ordinary_text_of_any_script_is_left_alone() -> None:
    text = "Ärger\tnaïve – 北京, שלום, مرحبا 🙂\nx"
    assert plain(text) == text
