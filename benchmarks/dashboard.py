"""What the dashboard costs while short tasks run: its server's processor time and memory, and what its pages feel.

A workbench of its own, with a broker, a tracker and a worker; a producer that keeps a rate; `workbench dashboard` as a
process; real pages in Debian's chromium, on different views. Run it alone: `make benchmark-dashboard`. All of it shares
this machine's cores, so the rate that was reached is printed beside every figure.

`--recorded 1000000` begins with that many tasks on record, `--minutes 60` then watches the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

import workbench as wb
from workbench.client.screen import Screen
from workbench.core.rpc import Stats
from workbench.local.plan import make_plan

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import noop_operations  # noqa: F401

VIEWS = ("overview", "stream", "charts", "queues", "workers")
AHEAD = 0.5
STEP = 0.05  # seconds between two batches of the producer
OPENINGS = 5  # of a first page while tasks run
PROBES = 5  # failures whose way to the page is timed
_OBSERVE = """
window.longTasks = []
new PerformanceObserver(list => { for (const each of list.getEntries()) window.longTasks.push(each.duration) })
  .observe({ type: 'longtask' })
"""
# The number of failed tasks on the overview, wherever in the page's shadow trees it is.
_FAILED = """wanted => {
    const find = root => { for (const el of root.querySelectorAll('*')) {
        if (el.matches('.tile[href$="state=failed"]')) return el
        const inside = el.shadowRoot && find(el.shadowRoot); if (inside) return inside } }
    return Number(find(document)?.querySelector('.value').textContent.replaceAll(',', '')) >= wanted }"""


class Producing(threading.Thread):
    """Keeps submitting at a rate, as far as the machine allows: no more than `AHEAD` seconds of tasks wait."""

    def __init__(self, cluster: wb.LocalCluster, rate: float) -> None:
        super().__init__(daemon=True)
        self._client = cluster.client()
        self._batch = max(1, round(rate * STEP))
        self._step = self._batch / rate
        self._over = threading.Event()

    def run(self) -> None:
        """Submit until it's closed."""
        due = time.monotonic()
        waiting: deque[wb.TaskGroup] = deque()
        while not self._over.is_set():
            waiting.append(self._client.map("bench.noop", range(self._batch)))
            if len(waiting) * self._step > AHEAD:
                waiting.popleft().results(timeout=60)
            due = max(due + self._step, time.monotonic() - self._step)  # what was missed isn't made up for
            self._over.wait(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Stop, and disconnect."""
        self._over.set()
        self.join()
        self._client.close()


def counts(client: wb.Client) -> Stats:
    """Return how many tasks are in each state; asked in a thread, as the browser's event loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(client.stats())).result()


class Measured:
    """A server's process between two moments."""

    def __init__(self, process: psutil.Process, client: wb.Client) -> None:
        self._process, self._client = process, client
        self._began, self._used, self._ended = time.monotonic(), self._cpu(), self._recorded()

    def _cpu(self) -> float:
        return sum(self._process.cpu_times()[:2])

    def _recorded(self) -> int:
        return counts(self._client)["succeeded"]

    def __str__(self) -> str:
        passed = time.monotonic() - self._began
        share, rate = (self._cpu() - self._used) / passed, (self._recorded() - self._ended) / passed
        return f"server {share:6.1%} of a core, {rss(self._process):5.0f} MB, at {rate:,.0f} tasks/s"


def rss(process: psutil.Process) -> float:
    """Return the megabytes of memory that a process has."""
    return float(process.memory_info().rss / 1e6)


@contextlib.contextmanager
def pages(browser: Browser, url: str, views: list[str]) -> Iterator[list[Page]]:
    """Open a page on each view; each is a session of its own."""
    with contextlib.ExitStack() as stack:
        opened = []
        for view in views:
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            stack.callback(context.close)
            context.add_init_script(_OBSERVE)
            page = context.new_page()
            page.goto(f"{url}#/{view}")
            page.get_by_text("last event").first.wait_for()
            opened.append(page)
        yield opened


def latencies(page: Page, client: wb.Client) -> list[float]:
    """Return the seconds from the moment a task was submitted that fails to the page on which it's counted."""
    found = []
    for _ in range(PROBES):
        failed = counts(client)["failed"]
        began = time.monotonic()
        client.submit("bench.fail", 0)
        page.wait_for_function(_FAILED, arg=failed + 1, timeout=60_000)
        found.append(time.monotonic() - began)
    return found


def measure(opened: list[Page], process: psutil.Process, client: wb.Client, seconds: float) -> str:
    """Return what the server used while these pages looked on, and the longest task of theirs."""
    time.sleep(5)  # what is drawn first isn't counted
    for page in opened:
        page.evaluate("window.longTasks = []")
    measured = Measured(process, client)
    opened[0].wait_for_timeout(1000 * seconds)
    told = str(measured)
    blocked = [each for page in opened for each in page.evaluate("window.longTasks")]
    return f"{told}; {len(blocked)} long tasks in the pages, at most {max(blocked, default=0):.0f} ms"


def server_of(screen: Screen) -> psutil.Process:
    """Return the dashboard's process: the child that has its path in its command line."""
    path = screen.url.rstrip("/").rpartition("/")[2]
    (found,) = [each for each in psutil.Process().children() if any(path in word for word in each.cmdline())]
    return found


def opening(browser: Browser, url: str, *shown: str) -> list[float]:
    """Return the seconds from the request of a page until it shows each of these (selectors), one after the other."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    began, taken = time.monotonic(), []
    page.goto(url, wait_until="commit")
    for selector in shown:
        page.locator(selector).first.wait_for()
        taken.append(time.monotonic() - began)
    context.close()
    return taken


def first_pages(browser: Browser, url: str) -> str:
    """Return how long a new reader waits for the figures of the overview, for its chart, and for a list of tasks."""
    figures, chart = opening(browser, url, ".tile .value", ".bk-Figure")
    (tasks,) = opening(browser, f"{url}#/tasks", "table[aria-label=Tasks] tbody tr")
    return f"first page: figures {figures:.2f} s, alive {chart:.2f} s; tasks {tasks:.2f} s"


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=2000.0, help="tasks a second (default: %(default)s)")
    parser.add_argument("--sessions", type=int, nargs="*", default=[1, 10], help="pages (default: 1 10)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--recorded", type=int, default=0, help="tasks on record at the start (default: none)")
    parser.add_argument("--directory", type=Path, help="where the data is kept (default: nowhere)")
    parser.add_argument("--minutes", type=int, default=0, help="to watch the memory at the end (default: none)")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("Debian's chromium is not installed (apt-get install chromium)")
    with contextlib.ExitStack() as stack:
        directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.recorded:
            from tests import seeding

            (directory / "store").mkdir(parents=True, exist_ok=True)
            seeding.seed(make_plan(directory).database, options.recorded)
        cluster = stack.enter_context(
            wb.LocalCluster(workers=1, slots=2, families=["bench"], include=["noop_operations"], directory=directory)
        )
        client = stack.enter_context(cluster.client())
        screen = Screen(cluster.settings)
        stack.callback(screen.close)
        process = server_of(screen)
        play = stack.enter_context(sync_playwright())
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser: Any = play.chromium.launch(executable_path=chromium, args=arguments)
        stack.callback(browser.close)
        print(f"{first_pages(browser, screen.url)}, of a server that has just started", flush=True)
        print(f"{first_pages(browser, screen.url)}, the next ones", flush=True)
        producing = Producing(cluster, options.rate)
        stack.callback(producing.close)
        producing.start()
        time.sleep(5)
        for _ in range(OPENINGS):
            print(f"{first_pages(browser, screen.url)}, while tasks run", flush=True)
        measured = Measured(process, client)
        time.sleep(options.seconds)
        print(f"no page     : {measured}", flush=True)
        for number in options.sessions:
            views = [VIEWS[each % len(VIEWS)] for each in range(number)]
            if number == 1:
                for view in VIEWS:
                    with pages(browser, screen.url, [view]) as opened:
                        print(f"{view:12}: {measure(opened, process, client, options.seconds)}", flush=True)
            else:
                with pages(browser, screen.url, views) as opened:
                    print(f"{number:3} pages   : {measure(opened, process, client, options.seconds)}", flush=True)
                    told = latencies(opened[0], client)
                    print(f"from submission to the page: {statistics.median(told):.2f} s, at most {max(told):.2f} s")
        for minute in range(options.minutes):
            with pages(browser, screen.url, ["overview", "stream"]) as opened:
                measured = Measured(process, client)
                opened[0].wait_for_timeout(60_000)
                print(f"minute {minute + 1:3}  : {measured}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
