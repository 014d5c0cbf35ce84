"""Logging in elsewhere: by a provider of OAuth, which may refuse, and by a list of who may come in."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bokeh.protocol import Protocol
from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.browser.conftest import Served, serve
from tests.browser.identity_provider import Provider, identity_provider
from tests.browser.test_serving import nginx, proxied
from workbench.dashboard.ports import free_port

expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow  # in `make browser`
TITLE = re.compile("live")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with identity_provider() as provider:
        yield provider


@contextlib.contextmanager
def guarded(cluster, provider: Provider, *options: str, **environ: str) -> Iterator[Served]:
    """Serve the dashboard to who can log in at the provider."""
    with serve(cluster.settings, *options, **provider.environ(), **environ) as served:
        provider.redirects.add(served.url.rstrip("/"))
        yield served


def log_in(page, user: str) -> None:
    page.get_by_label("Who").fill(user)
    page.get_by_role("button", name="Log in").click()


def test_who_logs_in_at_the_provider_sees_the_dashboard(cluster, provider, visit, shot) -> None:
    with guarded(cluster, provider) as served:
        page = visit(served.url)
        assert page.url.startswith(f"{provider.url}/authorize")
        log_in(page, "ada@example.org")
        expect(page.locator(".top .chip").first).to_have_text(TITLE)
        assert list(provider.tokens.values()) == ["ada@example.org"]
        token = next(iter(provider.tokens))
        assert token not in page.content()
        assert not [each for each in page.context.cookies() if token in each["value"] or not each["httpOnly"]]
        page.goto(f"{served.url}logout")
        expect(page.get_by_text("You are logged out")).to_be_visible()
        shot(page, "logged-out")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_label("Who")).to_be_visible()


def test_whom_the_provider_refuses_is_told_so(cluster, provider, visit, shot) -> None:
    with guarded(cluster, provider) as served:
        page = visit(served.url, patient=True)  # the browser reports an answer of 401
        page.get_by_role("button", name="Refuse").click()
        expect(page.get_by_role("alert")).to_have_text("You were refused by this provider.")
        expect(page.locator(".top")).to_have_count(0)
        shot(page, "refused")
        page.get_by_text("Try again").click()
        log_in(page, "ada@example.org")
        expect(page.locator(".top .chip").first).to_have_text(TITLE)


def test_who_is_not_on_the_list_sees_nothing_and_may_log_in_as_another(cluster, provider, visit, shot) -> None:
    with guarded(cluster, provider, "--allow-user", "ada@example.org", "--allow-user", "bob@example.org") as served:
        page = visit(served.url)
        log_in(page, "eve@example.org")
        expect(page.get_by_role("alert")).to_contain_text("eve@example.org may not see this workbench")
        expect(page.locator(".top")).to_have_count(0)
        shot(page, "not-on-the-list")
        page.get_by_role("link", name="Log out").click()
        page.get_by_role("button", name="Log in").click()
        log_in(page, "bob@example.org")
        expect(page.locator(".top .chip").first).to_have_text(TITLE)


def test_a_list_without_a_login_lets_nobody_in(cluster, visit) -> None:
    with serve(cluster.settings, "--allow-user", "ada@example.org") as served:
        page = visit(served.url)
        expect(page.get_by_role("alert")).to_contain_text("nobody can log in here")
        expect(page.locator(".top")).to_have_count(0)


def test_a_name_that_is_empty_does_not_let_everybody_in() -> None:
    command = [sys.executable, "-m", "workbench", "dashboard", "--port", "0", "--allow-user", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "--allow-user takes a name" in done.stderr


def told_to_a_web_socket(served: Served, cookies: dict[str, str]) -> str:
    """Return what a session is sent that somebody opens past the page, with a token of his own."""

    async def ask() -> str:
        token = generate_jwt_token(
            generate_session_id(), extra_payload={"cookies": cookies, "headers": {}, "arguments": {}}
        )
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        request = HTTPRequest(f"{served.url.replace('http', 'ws', 1)}app/ws", headers=sent)
        socket = await websocket_connect(request, subprotocols=["bokeh", token])
        question = Protocol().create("PULL-DOC-REQ")
        told = ""
        while (fragment := await socket.read_message()) is not None:
            told += str(fragment)
            if '"ACK"' in str(fragment):
                for part in (question.header_json, question.metadata_json, question.content_json):
                    await socket.write_message(part)
            if '"roots"' in str(fragment):
                break
        socket.close()
        while await socket.read_message() is not None:
            pass  # until it is closed
        return told

    with ThreadPoolExecutor(1) as away:  # from the event loop of the tests' browser
        return away.submit(lambda: asyncio.run(asyncio.wait_for(ask(), 30.0))).result()


def test_a_web_socket_tells_nothing_without_a_login(cluster, provider) -> None:
    with serve(cluster.settings) as served:
        assert "aria-label='Views'" in told_to_a_web_socket(served, {})
    with guarded(cluster, provider) as served, pytest.raises(HTTPClientError, match="403"):
        told_to_a_web_socket(served, {})


def test_a_web_socket_shows_nothing_to_who_is_not_on_the_list(cluster, provider, visit) -> None:
    with guarded(cluster, provider, "--allow-user", "ada@example.org") as served:
        for user, told in (
            ("eve@example.org", "may not see this workbench"),
            ("ada@example.org", "aria-label='Views'"),
        ):
            page = visit(served.url)
            log_in(page, user)
            expect(page.get_by_role("alert").or_(page.get_by_text("Overview")).first).to_be_visible()
            page.locator("#first").wait_for(state="detached")  # one that still loads misses its server
            document = told_to_a_web_socket(served, {each["name"]: each["value"] for each in page.context.cookies()})
            assert told in document
            assert ("Views" in document) == (user == "ada@example.org")


def test_a_wrong_secret_of_the_dashboards_is_told(cluster, provider, visit) -> None:
    with serve(cluster.settings, **provider.environ(secret="another")) as served:
        provider.redirects.add(served.url.rstrip("/"))
        page = visit(served.url, patient=True)  # the browser reports an answer of 401
        log_in(page, "ada@example.org")
        expect(page.get_by_role("alert")).to_contain_text("This client proves nothing")


def test_it_works_below_a_prefix_behind_nginx(cluster, provider, visit, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    with nginx(tmp_path, proxied(0, "/tools/", f"http://127.0.0.1:{port}")) as front:
        outside = f"127.0.0.1:{front}"
        provider.redirects.add(f"http://{outside}/tools/bench/login")
        options = ("--allow-websocket-origin", outside, "--oauth-redirect-uri", f"http://{outside}/tools/bench/login")
        with serve(cluster.settings, "--port", str(port), "--prefix", "tools/bench", *options, **provider.environ()):
            page = visit(f"http://{outside}/tools/bench/")
            log_in(page, "ada@example.org")
            expect(page.locator(".top .chip").first).to_have_text(TITLE)
            assert page.url.startswith(f"http://{outside}/tools/bench/")
