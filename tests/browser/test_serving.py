"""How it is served: read-only, below a prefix, behind nginx, with a password, through restarts, in a cell."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import workbench as wb
from tests.browser.conftest import FORGETFUL, answers, serve
from tests.support import is_alive, wait_until
from workbench.dashboard.ports import free_port

expect = pytest.importorskip("playwright.sync_api").expect
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
TITLE = re.compile("live")
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def nginx(directory: Path, locations: str):
    """Run nginx on a free port with these locations; yield its port."""
    if NGINX is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    port = free_port("127.0.0.1")
    (directory / "nginx.conf").write_text(
        f"daemon off; error_log {directory}/error.log; pid {directory}/pid; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};\n"
        f"fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};\n"
        f"map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}\n"
        f"server {{ listen 127.0.0.1:{port}; {locations} }} }}\n"
    )
    process = subprocess.Popen([NGINX, "-c", str(directory / "nginx.conf"), "-p", str(directory)])
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), what="nginx answers")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def proxied(port: int, path: str, to: str) -> str:
    return (
        f"location {path} {{ proxy_pass {to}; proxy_http_version 1.1; proxy_set_header Host $http_host;\n"
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; }"
    )


def test_it_works_below_a_prefix_behind_nginx(cluster, visit, tmp_path) -> None:
    port = free_port("127.0.0.1")
    with nginx(tmp_path, proxied(0, "/tools/", f"http://127.0.0.1:{port}")) as front:
        origin = ("--allow-websocket-origin", f"127.0.0.1:{front}")
        with serve(cluster.settings, "--port", str(port), "--prefix", "tools/bench", *origin):
            page = visit(f"http://127.0.0.1:{front}/tools/bench/app")
            expect(page.locator(".top .chip").first).to_have_text(TITLE)


def test_it_works_where_a_proxy_takes_the_prefix_away_as_jupyters_does(cluster, visit, tmp_path) -> None:
    port = free_port("127.0.0.1")
    path = f"/user/ada/proxy/{port}/"
    with nginx(tmp_path, proxied(0, path, f"http://127.0.0.1:{port}/")) as front:
        origin = ("--allow-websocket-origin", f"127.0.0.1:{front}")
        with serve(cluster.settings, "--port", str(port), "--prefix", "secret", *origin):
            page = visit(f"http://127.0.0.1:{front}{path}secret/app")
            expect(page.locator(".top .chip").first).to_have_text(TITLE)


def test_panel_serves_it_from_a_checkout_as_the_readme_says(cluster, visit) -> None:
    line = re.search(
        r"^panel serve (\S+) +# (http://localhost:)5006(/\S*)", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    port = free_port("127.0.0.1")
    panel = Path(sys.executable).with_name("panel")
    process = subprocess.Popen(
        [panel, "serve", line[1], "--port", str(port)], cwd=ROOT, env={**os.environ, **cluster.settings.as_environ()}
    )
    try:
        url = f"{line[2]}{port}{line[3]}"
        wait_until(lambda: answers(url), what="it answers")
        page = visit(url)
        expect(page.locator(".top .chip").first).to_have_text(TITLE)
    finally:
        process.terminate()
        process.wait(20)


def test_another_sites_page_is_not_let_in(cluster) -> None:
    def opens(served, origin: str) -> int:
        connection = http.client.HTTPConnection(served.url.split("/")[2], timeout=10)
        with contextlib.closing(connection):
            asked = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Origin": origin,
            }
            connection.request("GET", "/app/ws", headers=asked)
            return connection.getresponse().status

    with serve(cluster.settings) as served:
        assert opens(served, "http://evil.example") == 403
        assert opens(served, served.url.rstrip("/")) != 403  # for want of a session's token


def test_a_password_is_asked_for_as_panel_does(cluster, visit) -> None:
    with serve(cluster.settings, "--basic-auth", "open sesame", "--cookie-secret", "a secret of this test") as served:
        page = visit(f"{served.url}app")
        page.locator("input[type=password]").fill("open sesame")
        page.locator("input[name=username]").fill("ada")
        page.locator("input[type=password]").press("Enter")
        expect(page.locator(".top .chip").first).to_have_text(TITLE)


def test_it_is_bound_to_loopback_unless_told_otherwise(cluster) -> None:
    with serve(cluster.settings) as served:
        port = f":{int(served.url.rsplit(':', 1)[1].strip('/')):04X}"
        listening = [
            line.split()[1]
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for line in Path(table).read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(port)
        ]
    assert listening == [f"0100007F{port}"]


def test_the_page_says_that_tracker_and_broker_are_gone_and_recovers_without_a_gap(visit, shot) -> None:
    with wb.LocalCluster(workers=1, slots=2, include=["tests.integration.user_operations"]) as cluster:
        client = cluster.client()
        with serve(cluster.settings) as served:
            page = visit(served.url)
            expect(page.locator(".top .chip").first).to_have_text(TITLE)
            client.submit("text.echo", 1).result(timeout=60)
            os.kill(cluster.processes()["tracker"], signal.SIGSTOP)
            other = visit(f"{served.url}#/failures")
            expect(other.get_by_text("One moment")).to_be_visible()
            expect(page.get_by_text("No tracker answers")).to_be_visible(timeout=30_000)
            shot(page, "no-tracker")
            expect(other.get_by_text("It's asked again by itself")).to_be_visible(timeout=30_000)
            expect(other.get_by_role("button", name="Ask again")).to_be_visible()
            shot(other, "no-answer")
            handles = client.map("text.echo", range(30))
            for handle in handles:
                handle.result(timeout=60)
            os.kill(cluster.processes()["tracker"], signal.SIGKILL)
            tile = page.locator("a.tile[href='#/tasks?state=succeeded'] .value")
            expect(page.locator(".top .chip").first).to_have_text(TITLE, timeout=60_000)
            expect(tile).to_have_text("31", timeout=30_000)
            expect(other.get_by_text("Nothing has failed")).to_be_visible(timeout=30_000)
            expect(other.get_by_text("It's asked again by itself")).to_be_hidden()
            other.close()
            node = cluster.processes()["node"]
            os.kill(node, signal.SIGSTOP)
            expect(page.get_by_text(re.compile(r"no answer for \d+ s"))).to_be_visible(timeout=30_000)
            os.kill(node, signal.SIGKILL)
            expect(page.locator(".top .chip").first).to_have_text(TITLE, timeout=90_000)
            client.submit("text.echo", 1).result(timeout=90)
            expect(tile).to_have_text("32", timeout=30_000)


@pytest.mark.slow  # tests/unit/test_dashboard_sessions.py counts what is left, sooner and without a browser
def test_fifty_openings_and_closings_leave_no_session_behind(cluster, browser) -> None:
    with serve(cluster.settings, "--rest-session-info", "--session-history", "-1", *FORGETFUL) as served:

        def live() -> int:
            with urllib.request.urlopen(f"{served.url}rest/session_info", timeout=10) as answer:
                return int(json.load(answer)["session_info"]["live"])

        def memory() -> int:
            return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{served.pid}/status").read_text())[1])

        def look(times: int) -> None:
            for _ in range(times):
                page = browser.new_page()
                page.goto(f"{served.url}#/stream")
                page.locator(".brand").wait_for()
                page.close()

        look(10)
        wait_until(lambda: live() == 0, timeout=90, what="the first ten sessions are gone")
        before = memory()
        look(50)
        wait_until(lambda: live() == 0, timeout=90, what="fifty more are gone")
        grown = memory() - before
    assert grown < 30_000, f"the server has grown by {grown} KiB"


def test_a_client_shows_its_dashboard_in_a_cell_and_it_ends_with_the_client(cluster, served, visit) -> None:
    client = cluster.client()
    screen = client.dashboard()
    assert client.dashboard() is screen
    assert f'src="{screen.url}"' in screen._repr_html_()
    page = visit(served.url)  # from this machine, as JupyterLab is
    page.set_content(screen._repr_html_())
    assert page.locator("iframe").get_attribute("allow") == "clipboard-write"
    frame = page.frame_locator("iframe")
    expect(frame.locator(".top .chip").first).to_have_text(TITLE)
    pid = screen._process.pid
    # A busy kernel: this thread holds Python's lock, as much as it can, and the page goes on.
    ends = time.monotonic() + 3.0
    while time.monotonic() < ends:
        sum(range(100_000))
    expect(frame.locator(".lost")).to_be_hidden()
    page.close()  # it complains once the dashboard has gone
    client.close()
    wait_until(lambda: not is_alive(pid), what="its process ends")
    assert "closed" in screen._repr_html_()


def test_a_dashboard_ends_when_the_kernel_is_gone_that_started_it_and_read_its_output(cluster) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "dashboard", "--port", "0", "--until-eof"],
        env={**os.environ, **cluster.settings.as_environ(), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().decode().split()[-1]
        wait_until(lambda: answers(url), what="the server answers")
        process.stdout.close()
        process.stdin.close()
        process.wait(30)
    finally:
        process.kill()
        process.wait()


def test_a_dashboard_that_is_shown_again_replaces_the_one_before(cluster, served, visit) -> None:
    with cluster.client() as client:
        html = client.dashboard()._repr_html_()
        page = visit(served.url)  # from this machine, as JupyterLab is
        page.set_content(f"<div>{html}</div>")
        expect(page.locator("iframe")).to_have_count(1)
        page.evaluate(
            "html => document.body.append(document.createRange().createContextualFragment(`<div>${html}</div>`))", html
        )
        expect(page.locator("iframe")).to_have_count(1)
        expect(page.get_by_text("shown further down")).to_be_visible()
        page.goto("about:blank")  # before its server ends, of which it would complain


def test_a_dashboard_whose_process_has_died_is_opened_anew(cluster) -> None:
    with cluster.client() as client:
        screen = client.dashboard()
        screen._process.kill()
        wait_until(lambda: not screen.open, what="it is seen to be gone")
        again = client.dashboard()
        assert again is not screen
        assert answers(again.url)


def test_its_secret_path_may_begin_with_a_dash(cluster, monkeypatch) -> None:
    monkeypatch.setattr("workbench.client.screen.secrets.token_urlsafe", lambda length: "-Zx4" * (length // 4))
    with cluster.client() as client:
        assert answers(client.dashboard().url)
