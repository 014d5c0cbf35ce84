"""A small OpenID provider on loopback: it asks who one is, believes it, and checks what a client has to prove."""

from __future__ import annotations

import base64
import html
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

KEY, SECRET = "workbench-test", "the client's secret"


class Provider:
    """What it knows: who may be led back where, and which codes and tokens it has given out."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.redirects: set[str] = set()
        self.codes: dict[str, str] = {}
        self.tokens: dict[str, str] = {}

    def environ(self, secret: str = SECRET) -> dict[str, str]:
        """Return the variables that have Panel use it."""
        return {
            "PANEL_OAUTH_PROVIDER": "generic",
            "PANEL_OAUTH_KEY": KEY,
            "PANEL_OAUTH_SECRET": secret,
            "PANEL_OAUTH_AUTHORIZE_URL": f"{self.url}/authorize",
            "PANEL_OAUTH_TOKEN_URL": f"{self.url}/token",
            "PANEL_OAUTH_USER_URL": f"{self.url}/userinfo",
            "PANEL_OAUTH_SCOPE": "openid,email",
            "PANEL_COOKIE_SECRET": "a secret of this test",
            "PANEL_OAUTH_ENCRYPTION": base64.urlsafe_b64encode(b"k" * 32).decode(),
        }


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        path, asked = urlsplit(self.path).path, _first(urlsplit(self.path).query)
        if path == "/userinfo":
            user = self.provider.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            return self._json(200, {"email": user}) if user else self._json(401, {"error": "invalid_token"})
        if path != "/authorize":
            return self._send(404, "text/plain", b"")
        if asked.get("client_id") != KEY or asked.get("redirect_uri") not in self.provider.redirects:
            return self._send(400, "text/plain", b"this client isn't known, or not where it wants to be led back")
        fields = "".join(
            f"<input type='hidden' name='{name}' value='{html.escape(asked.get(name, ''))}'>"
            for name in ("redirect_uri", "state")
        )
        return self._send(
            200,
            "text/html",
            f"<link rel='icon' href='data:,'><form method='post'>{fields}<input name='user' aria-label='Who'>"
            "<button name='go' value='1'>Log in</button><button>Refuse</button></form>".encode(),
        )

    def do_POST(self) -> None:
        sent = _first(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if urlsplit(self.path).path == "/token":
            self._token(sent)
            return
        told = {"state": sent["state"]}
        if "go" in sent:
            told["code"] = secrets.token_urlsafe()
            self.provider.codes[told["code"]] = sent["user"]
        else:
            told |= {"error": "access_denied", "error_description": "You were <b>refused</b> by this provider."}
        self.send_response(302)
        self.send_header("Location", f"{sent['redirect_uri']}?{urlencode(told)}")
        self.end_headers()

    def _token(self, sent: dict[str, str]) -> None:
        user = self.provider.codes.pop(sent.get("code", ""), None)  # a code is good once
        if (sent.get("client_id"), sent.get("client_secret")) != (KEY, SECRET):
            self._json(401, {"error": "invalid_client", "error_description": "This client proves nothing."})
        elif user is None or sent.get("redirect_uri") not in self.provider.redirects:
            self._json(400, {"error": "invalid_grant"})
        else:
            token = secrets.token_urlsafe()
            self.provider.tokens[token] = user
            self._json(200, {"access_token": token, "token_type": "Bearer"})

    def _json(self, status: int, told: dict[str, object]) -> None:
        self._send(status, "application/json", json.dumps(told).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def identity_provider() -> Iterator[Provider]:
    """Run it for a while."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    _Handler.provider = Provider(server.server_port)
    thread = threading.Thread(target=server.serve_forever, name="identity provider")
    thread.start()
    try:
        yield _Handler.provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
