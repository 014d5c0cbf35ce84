"""The frame that shows a dashboard in a cell, and the address that its browser finds it at. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping

PROXY = "WORKBENCH_DASHBOARD_PROXY"
"""The variable that names the notebook server's base path where the browser has to go by way of its proxy."""
HUB = "JUPYTERHUB_SERVICE_PREFIX"
CLOSED = "<i>This dashboard is closed: <code>client.dashboard()</code> opens another.</i>"


def proxy_of(given: str | None, environ: Mapping[str, str]) -> str:
    """Return the base path of the notebook server whose proxy is taken, with its last slash; nothing for none.

    What is given, then `WORKBENCH_DASHBOARD_PROXY`, then what JupyterHub says. An empty text turns the later ones off.
    """
    base = next((base for base in (given, environ.get(PROXY), environ.get(HUB)) if base is not None), "")
    return f"{base.rstrip('/')}/" if base else ""


def address(proxy: str, port: int, path: str) -> str:
    """Return where a browser finds it: on this machine, or below the proxy as `jupyter-server-proxy` serves ports."""
    return f"{proxy}proxy/{port}/{path}/" if proxy else f"http://127.0.0.1:{port}/{path}/"


def frame(url: str, name: str, height: int, *, proxied: bool) -> str:
    """Return the HTML of a cell. A frame of the same `name` elsewhere on the page gives way to it.

    Where nobody answers it says so, instead of an empty frame. Scripts of a notebook that isn't trusted don't run: then
    all frames are shown, and nothing is said.
    """
    return _FRAME.format(
        url=html.escape(url, quote=True),
        name=html.escape(name, quote=True),
        height=height,
        remedy=_NO_PROXY if proxied else _ELSEWHERE,
    )


_NO_PROXY = "It is reached by way of <code>jupyter-server-proxy</code>, which has to be installed beside JupyterLab."
_ELSEWHERE = """Where the kernel is on another machine than this browser, JupyterLab's server can pass it on:
<code>client.dashboard(proxy="/")</code>, with the server's base path."""
# The picture can't be loaded, so that its script runs: those in <script> don't where HTML is put into a page.
_FRAME = """<div data-workbench="{name}"><iframe title="workbench dashboard" allow="clipboard-write" src="{url}"
 style="width:100%;height:{height}px;border:1px solid rgba(128,128,128,.4);border-radius:8px"></iframe>
<p hidden>The dashboard doesn't answer at <code>{url}</code>. Where its client or kernel has ended, run the cell again.
{remedy}</p>
<img alt="" src="data:," style="display:none" onerror="
 const here = this.parentNode, shown = here.querySelector('iframe');
 for (const each of document.querySelectorAll('[data-workbench=&quot;{name}&quot;]')) if (each !== here)
   each.innerHTML = '<i>The dashboard is shown further down, or in another cell.</i>';
 fetch(shown.src + 'favicon.ico', {{mode: 'no-cors'}})
   .then(answer => answer.ok || answer.type === 'opaque').catch(() => false)
   .then(there => {{ if (!there) {{ shown.remove(); here.querySelector('p').hidden = false }} }})"></div>"""
