"""JupyterLab as people run it: on loopback, with a token, and a notebook that a browser opens and runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from tests.browser.conftest import answers
from tests.support import wait_until
from workbench.core.settings import Settings
from workbench.dashboard.ports import free_port

expect = pytest.importorskip("playwright.sync_api").expect
RAN = re.compile(r"\[\d+\]:")
TOKEN = "a-token-of-this-test"
START = 120.0  # seconds until it answers, and until a kernel's first cell has run


class Lab:
    """A running JupyterLab with one notebook."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def notebook(self) -> str:
        return f"{self.url}lab/tree/notebook.ipynb?token={TOKEN}"

    def end_kernels(self) -> None:
        """End every kernel, as its user does in the sidebar."""
        for kernel in json.loads(self._ask("GET", "api/kernels")):
            self._ask("DELETE", f"api/kernels/{kernel['id']}")

    def _ask(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


@contextmanager
def lab(directory: Path, settings: Settings, *cells: str, base: str = "/", **environ: str) -> Iterator[Lab]:
    """Run JupyterLab in a directory of its own, with a notebook of these cells."""
    pytest.importorskip("jupyterlab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, directory / "notebook.ipynb")
    silent = directory / ".jupyter" / "settings" / "@jupyterlab" / "apputils-extension"
    silent.mkdir(parents=True)
    # Or else it asks whether to read news from elsewhere.
    (silent / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    port = free_port("127.0.0.1")
    options = [
        "--no-browser",
        f"--port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={base}",
        f"--ServerApp.root_dir={directory}",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    own = {
        name: str(directory / ".jupyter" / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    own["JUPYTERLAB_SETTINGS_DIR"] = str(directory / ".jupyter" / "settings")
    with (directory / "jupyter.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            env={**os.environ, **own, **settings.as_environ(), **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}{base}"
        wait_until(lambda: process.poll() is not None or answers(url), timeout=START, what="JupyterLab answers")
        assert process.poll() is None, (directory / "jupyter.log").read_text()[-2000:]
        yield Lab(url)
    finally:
        process.terminate()  # its kernels end with it
        process.wait(30)


class Notebook:
    """A notebook that is open in a browser's page, which is closed with it: it complains once its server has gone."""

    def __init__(self, page) -> None:
        self.page = page
        self.cells = page.locator(".jp-Notebook .jp-CodeCell")
        # What is asked of a notebook before its kernel is there is forgotten.
        expect(page.locator("#jp-main-statusbar").get_by_text(re.compile(r"\| Idle$"))).to_be_visible(
            timeout=START * 1000
        )

    def __enter__(self) -> Notebook:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()

    def start(self, number: int) -> None:
        """Have a cell run, as with Shift+Enter."""
        text = self.cells.nth(number).locator(".cm-content")
        text.click()
        expect(text).to_be_focused()
        text.press("Shift+Enter")

    def run(self, number: int) -> None:
        """Run a cell to its end."""
        self.start(number)
        expect(self.prompt(number)).to_have_text(RAN, timeout=START * 1000)

    def prompt(self, number: int):
        """The number at a cell's left: `[*]:` while it runs."""
        return self.cells.nth(number).locator(".jp-InputPrompt")

    def output(self, number: int):
        return self.cells.nth(number).locator(".jp-OutputArea-output")
