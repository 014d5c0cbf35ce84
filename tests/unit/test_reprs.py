from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from workbench.broker.letters import Letter
from workbench.client.handle import TaskHandle
from workbench.core.messages import Failure
from workbench.core.states import Progress, State, TaskRecord
from workbench.notebook import reprs
from workbench.values.files import Files
from workbench.values.refs import FileRef

NOW = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("fraction", "bar"),
    [(0.0, "░" * 20 + "</code> 0%"), (0.5, "█" * 10 + "░" * 10 + "</code> 50%"), (1.0, "█" * 20 + "</code> 100%")],
)
def test_progress_is_a_bar_of_characters(fraction: float, bar: str) -> None:
    record = TaskRecord(
        task_id="t", operation="data.head", attempt=2, state=State.RUNNING, progress=Progress(2, NOW, fraction, "rows")
    )
    shown = reprs._record(record)
    assert f"{bar} rows" in shown
    assert "▶ running" in shown


def test_progress_of_an_earlier_attempt_is_not_shown() -> None:
    record = TaskRecord(task_id="t", attempt=2, state=State.RUNNING, progress=Progress(1, NOW, 0.5))
    assert "█" not in reprs._record(record)


def test_a_task_that_waits_for_its_next_attempt_says_when_and_after_what() -> None:
    record = TaskRecord(
        task_id="t", attempt=1, state=State.RETRYING, retry_at=NOW, failure=Failure(type="OSError", message="gone")
    )
    shown = reprs._record(record)
    for said in ("↻ retrying", "2020-01-02 03:04:05 UTC", "OSError: gone"):
        assert said in shown


def test_whatever_comes_from_elsewhere_is_escaped() -> None:
    record = TaskRecord(
        task_id=EVIL,
        operation=EVIL,
        attempt=1,
        state=State.RUNNING,
        worker=EVIL,
        summary=EVIL,
        output=EVIL,
        progress=Progress(1, NOW, 0.1, EVIL),
        failure=Failure(type=EVIL, message=EVIL, hint=EVIL),
        cancel_at=NOW,
        cancel_reason=EVIL,
    )
    letter = Letter(
        message_id=EVIL, task_id=EVIL, kind="task", routing_key=EVIL, operation=EVIL, reason_type=EVIL, reason=EVIL,
        worker=EVIL, size=1, deaths=EVIL,
    )  # fmt: skip
    for shown in (reprs._record(record), reprs._letter(letter), reprs._handle(TaskHandle(EVIL, EVIL))):
        assert "<script" not in shown
        assert "&lt;script&gt;" in shown


# --- files ------------------------------------------------------------------------------------------


def reference(directory: Path, name: str, data: bytes) -> FileRef:
    path = directory / "root" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return Files("", [str(path.parent)]).reference(path)


def picture(width: int = 600, height: int = 300, format_: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, format_)
    return buffer.getvalue()


def test_a_file_shows_its_first_rows_escaped(tmp_path: Path) -> None:
    ref = reference(tmp_path, "a.csv", b"<b>,x\n<script>,1\n,2\n")
    shown = reprs._file(ref)
    assert "20 bytes" in shown
    assert "&lt;script&gt;" in shown
    assert "&lt;b&gt;" in shown
    assert "<script" not in shown
    assert "<b>" not in shown


def test_a_picture_shows_small(tmp_path: Path) -> None:
    shown = reprs._file(reference(tmp_path, "a.jpg", picture(format_="JPEG", mode="CMYK")))
    assert "preview, 256 × 128" in shown
    assert "src='data:image/png;base64," in shown


def test_a_text_shows_its_first_lines_escaped_and_cut(tmp_path: Path) -> None:
    shown = reprs._file(reference(tmp_path, "a.log", f"{EVIL}\n{'x' * 1000}\n".encode() + b"line\n" * 10))
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "x" * 200 + "…" in shown
    assert shown.count("line") == 3


def test_what_cannot_be_shown_at_once_shows_what_is_known_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    elsewhere = Files(f"memory://{tmp_path.name}")
    stored = FileRef("store:" + elsewhere.need_store().put_file(__file__), "test.py", 1, reach=elsewhere)
    for ref in (
        stored,  # it would have to be fetched
        FileRef("/data/a.csv", "a.csv", 3),
        reference(tmp_path, "a.bin", bytes(100)),
        reference(tmp_path, "a.png", picture()[:50]),
    ):
        shown = reprs._file(ref)
        assert ref.name in shown
        assert shown.endswith("</table>")
    assert stored.preview().startswith("from __future__")
    assert "annotations" in reprs._file(stored), "now it is at hand"
