from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

import workbench as wb
from tests.support import wait_until
from workbench.core.settings import Settings

pytest.importorskip("panel")
playwright = pytest.importorskip("playwright.sync_api")

SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
T = TypeVar("T")
FORGETFUL = ("--unused-session-lifetime", "6000", "--check-unused-sessions", "500")
"""Options with which a session ends six seconds after its page; it has to outlive the time until that has loaded."""
HERE = ("http://127.0.0.1:", "http://localhost:", "ws://127.0.0.1:", "ws://localhost:", "blob:", "data:")
TIMEOUT = 15_000  # milliseconds a browser waits for a condition
playwright.expect.set_options(timeout=TIMEOUT)


class Served:
    """A dashboard's server, as a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def serve(settings: Settings, *options: str, **environ: str) -> Iterator[Served]:
    """Run `workbench dashboard` for a while."""
    command = [sys.executable, "-m", "workbench", "dashboard", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **settings.as_environ(), **environ},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("The dashboard is at "), line
            url = line.split()[-1]
            wait_until(lambda: answers(url), what="the server answers")
            yield Served(process, url)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
            log.seek(0)
            said = log.read()
            sys.stderr.write(said)
    assert "reference already known" not in said  # the browser has sent back what it was sent


def ask(question: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Ask a client what it answers to `await` only; in a thread, as Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(question())).result(60)


def chart_of(page) -> dict[str, Any]:
    """Where the middle of the chart is that is seen, in pixels, and between what its axes are."""
    return page.evaluate(
        """() => {
            const models = Object.values(Bokeh.index).flatMap(view => [...view.model.references()])
            for (const plot of models.filter(model => model.type === 'Figure')) {
                const view = Bokeh.index.find_one(plot)
                const box = view?.canvas_view.el.getBoundingClientRect()
                if (!box?.width) continue
                const { left, top, width, height } = view.frame.bbox
                return { x: box.left + left + width / 2, y: box.top + top + height / 2,
                         across: [plot.x_range.start, plot.x_range.end], up: [plot.y_range.start, plot.y_range.end] }
            }
        }"""
    )


def await_news(page, beats: int = 4) -> None:
    """Wait until the server has told the time that often: each second twice."""
    before = page.evaluate(BEATS)
    page.wait_for_function(f"({BEATS})() >= {before + beats}")


BEATS = """() => Math.max(...Object.values(Bokeh.index).flatMap(view => [...view.model.references()])
    .map(model => model.data?.beat ?? model.beat ?? 0))"""
"""How often the server has told the time."""


def answers(url: str) -> bool:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def cluster() -> Iterator[wb.LocalCluster]:
    """A whole workbench with the tests' own operations."""
    with wb.LocalCluster(workers=1, slots=3, include=["tests.integration.user_operations"]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def client(cluster: wb.LocalCluster) -> Iterator[wb.Client]:
    with cluster.client() as client:
        yield client


@pytest.fixture(scope="session")
def served(cluster: wb.LocalCluster) -> Iterator[Served]:
    with serve(cluster.settings, *FORGETFUL) as served:
        yield served


@pytest.fixture(scope="module")  # while it lives an event loop runs, which nobody else could start
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (apt-get install chromium): the dashboard isn't looked at in a browser")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
        assert not browser.is_connected()


@pytest.fixture
def visit(browser, request) -> Iterator[Callable[..., object]]:
    """Open pages; at the end there was no error in their consoles, and no request or socket that left this machine."""
    contexts, wrong = [], []

    def open_page(url: str, *, width: int = 1400, height: int = 900, dark: bool = False, patient: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)

        def said(message) -> None:
            if message.type == "error" and not patient:
                wrong.append(f"console: {message.text}")

        def asked(sent) -> None:  # a request or a web socket
            if not sent.url.startswith(HERE):
                wrong.append(f"left this machine: {sent.url}")

        page.on("console", said)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", asked)
        page.on("websocket", asked)
        page.goto(url)
        page.locator("#first").wait_for(state="detached")  # it has come to life
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def shot(request) -> Callable[..., None]:
    """Keep a picture of a page, as an artefact."""

    def take(page, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png")

    return take
