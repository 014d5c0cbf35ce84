"""What is served beside the app: its icon, also below a prefix. `panel serve --plugins` takes it from here."""

from __future__ import annotations

from typing import Any

from panel.io.resources import DIST_DIR
from tornado.web import StaticFileHandler

ROUTES: list[tuple[str, type[StaticFileHandler], dict[str, Any]]] = [
    (r"/(favicon\.ico)", StaticFileHandler, {"path": str(DIST_DIR / "images")})
]
