"""In a real JupyterLab: in a cell's output, with a busy kernel, and by way of its server as on a hub."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from tests.browser.jupyter import TOKEN, Notebook, lab
from tests.support import is_alive, wait_until

expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow  # a JupyterLab takes a while to start: in `make browser`
TITLE = re.compile("live")
SUCCEEDED = "a.tile[href='#/tasks?state=succeeded'] .value"
FRAME = "iframe[title='workbench dashboard']"
MEET = "import workbench as wb\nclient = wb.Client()"
SHOW = "client.dashboard()"


def process_at(url: str) -> int:
    """Return the process that listens at the port of a local address."""
    port = int(url.split("/")[2].rpartition(":")[2])
    return next(
        each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port
    )


def port_behind(url: str) -> str:
    """Return the local address of a dashboard that is passed on as `…/proxy/PORT/…`."""
    return f"http://127.0.0.1:{re.search(r'/proxy/([0-9]+)/', url)[1]}/"


def succeeded(frame) -> int:
    tile = frame.locator(SUCCEEDED)
    expect(tile).to_have_text(re.compile(r"^[\d,]+$"))
    return int(tile.inner_text().replace(",", ""))


def test_a_cell_shows_what_happens_also_while_the_kernel_is_busy(cluster, client, visit, shot, tmp_path: Path) -> None:
    cells = (MEET, SHOW, "import time\ntime.sleep(20)", SHOW, "client.close()")
    with lab(tmp_path, cluster.settings, *cells) as server, Notebook(visit(server.notebook, height=1400)) as notebook:
        page = notebook.page
        notebook.run(0)
        notebook.run(1)
        frame = notebook.output(1).frame_locator(FRAME)
        expect(frame.locator(".top .chip").first).to_have_text(TITLE)
        before = succeeded(frame)
        client.submit("text.echo", 1).result(timeout=60)
        expect(frame.locator(SUCCEEDED)).to_have_text(f"{before + 1:,}")
        shot(page, "jupyterlab")

        notebook.start(2)
        expect(notebook.prompt(2)).to_have_text("[*]:")
        for handle in client.map("text.echo", range(5)):
            handle.result(timeout=60)
        expect(frame.locator(SUCCEEDED)).to_have_text(f"{before + 6:,}")
        expect(notebook.prompt(2)).to_have_text("[*]:")  # the kernel still sleeps
        expect(frame.locator(".lost")).to_be_hidden()
        shot(page, "jupyterlab-busy")
        expect(notebook.prompt(2)).to_have_text("[3]:", timeout=30_000)

        first = page.locator(FRAME).get_attribute("src")
        notebook.run(3)
        expect(notebook.output(3).locator(FRAME)).to_have_attribute("src", first)  # the client's one
        expect(page.locator(FRAME)).to_have_count(1)
        expect(notebook.output(1).get_by_text("shown further down")).to_be_visible()
        expect(notebook.output(3).frame_locator(FRAME).locator(".top .chip").first).to_have_text(TITLE)
        shot(page, "jupyterlab-again")

        pid = process_at(first)
        notebook.run(4)
        wait_until(lambda: not is_alive(pid), what="the dashboard's process ends with the client")


def test_the_dashboard_ends_with_the_kernel(cluster, visit, tmp_path: Path) -> None:
    with (
        lab(tmp_path, cluster.settings, f"{MEET}\n{SHOW}") as server,
        Notebook(visit(server.notebook, patient=True)) as notebook,
    ):  # a page whose kernel goes complains
        page = notebook.page
        notebook.run(0)
        expect(notebook.output(0).frame_locator(FRAME).locator(".top .chip").first).to_have_text(TITLE)
        pid = process_at(page.locator(FRAME).get_attribute("src"))
        server.end_kernels()
        wait_until(lambda: not is_alive(pid), what="the dashboard's process ends with the kernel")


def test_on_a_hub_it_goes_by_way_of_the_notebook_server(cluster, client, visit, shot, tmp_path: Path) -> None:
    pytest.importorskip("jupyter_server_proxy")
    base = "/user/ada/"
    served_to_others = {
        "BOKEH_ALLOW_WS_ORIGIN": "tools.example.org",
        "PANEL_BASIC_AUTH": "open sesame",
        "WORKBENCH_DASHBOARD_USERS": "bob",
    }
    hub = {"JUPYTERHUB_SERVICE_PREFIX": base, **served_to_others}
    with (
        lab(tmp_path, cluster.settings, MEET, SHOW, base=base, **hub) as server,
        Notebook(visit(server.notebook, height=1200)) as notebook,
    ):
        page = notebook.page
        notebook.run(0)
        notebook.run(1)
        frame = notebook.output(1).frame_locator(FRAME)
        expect(frame.locator(".top .chip").first).to_have_text(TITLE)
        assert page.locator(FRAME).get_attribute("src").startswith(f"{base}proxy/")
        before = succeeded(frame)
        client.submit("text.echo", 1).result(timeout=60)
        expect(frame.locator(SUCCEEDED)).to_have_text(f"{before + 1:,}")
        shot(page, "jupyterhub")


def test_a_notebook_on_another_machine_is_told_by_an_argument(cluster, visit, tmp_path: Path) -> None:
    pytest.importorskip("jupyter_server_proxy")
    with (
        lab(tmp_path, cluster.settings, f"{MEET}\n{SHOW}", "client.dashboard(proxy='/')") as server,
        # The first dashboard's server goes before its frame does, which complains.
        Notebook(visit(server.notebook, patient=True)) as notebook,
    ):
        page = notebook.page
        notebook.run(0)
        direct = page.locator(FRAME).get_attribute("src")
        pid = process_at(direct)
        notebook.run(1)
        frame = notebook.output(1).frame_locator(FRAME)
        expect(frame.locator(".top .chip").first).to_have_text(TITLE)
        proxied = notebook.output(1).locator(FRAME).get_attribute("src")
        assert proxied.startswith("/proxy/")
        wait_until(lambda: not is_alive(pid), what="the client's other dashboard has ended")
        assert process_at(port_behind(proxied)) != pid
        # Whoever isn't logged in to the notebook server doesn't get there.
        stranger = visit(f"{server.url}{proxied.removeprefix('/')}", patient=True)
        expect(stranger.get_by_text("Password or token")).to_be_visible()
        assert TOKEN not in stranger.content()


def test_where_nobody_answers_the_cell_says_so(cluster, visit, shot, tmp_path: Path) -> None:
    kept = "from IPython.display import HTML\nkept = client.dashboard()._repr_html_()\nclient.close()\nHTML(kept)"
    cells = (MEET, kept, "client = wb.Client()\nclient.dashboard(proxy='/nothing/')")
    with (
        lab(tmp_path, cluster.settings, *cells) as server,
        Notebook(visit(server.notebook, patient=True)) as notebook,
    ):  # the browser reports what it can't load
        page = notebook.page
        notebook.run(0)
        notebook.run(1)
        expect(notebook.output(1).get_by_text('client.dashboard(proxy="/")')).to_be_visible()
        notebook.run(2)
        expect(notebook.output(2).get_by_text("has to be installed beside JupyterLab")).to_be_visible()
        expect(page.locator(FRAME)).to_have_count(0)
        shot(page, "jupyterlab-unreachable")
