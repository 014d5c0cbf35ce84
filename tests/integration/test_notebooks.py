"""The notebooks run from top to bottom against a real cluster, and show what they promise."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

import workbench as wb

NOTEBOOKS = sorted((Path(__file__).parent.parent.parent / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nbformat.NotebookNode]:
    """Execute every notebook, with a running workbench to find."""
    patch = pytest.MonkeyPatch()
    done = {}
    with wb.LocalCluster(workers={"image": 1, "data": 1, "convert": 1}) as cluster:
        patch.setenv("WORKBENCH_DIRECTORY", str(cluster.directory))
        for path in NOTEBOOKS:
            notebook = nbformat.read(path, as_version=4)
            where = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
            nbclient.NotebookClient(notebook, timeout=120, resources=where).execute()
            done[path.name] = notebook
    patch.undo()
    return done


def outputs(notebook: nbformat.NotebookNode, source: str) -> dict[str, str]:
    """Return what the cell that ends with `source` shows, by MIME type."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and c.source.splitlines()[-1].endswith(source)]
    return {kind: text for output in cell.outputs for kind, text in output.get("data", {}).items()}


def test_there_are_notebooks_without_stored_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), f"{path.name} is stored with outputs"


def test_the_quickstart_shows_pictures_and_tables(executed: dict[str, nbformat.NotebookNode]) -> None:
    notebook = executed["01_quickstart.ipynb"]
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


def test_the_quickstart_shows_errors_that_say_what_to_do(executed: dict[str, nbformat.NotebookNode]) -> None:
    text = "\n".join(
        output["text"]
        for cell in executed["01_quickstart.ipynb"].cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )
    assert "Did you mean image.thumbnail?" in text
    assert "parameter 'size' takes tuple[int, int]" in text
    assert "no-such-picture.jpg" in text
