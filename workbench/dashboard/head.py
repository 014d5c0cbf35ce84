"""The top of the page: what it is connected to, whether that can be believed, the views, and what an action came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.dashboard.look import Html, ago, button, count, esc, sign

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.views.base import View

FRAME = """
<header class='top'>
  <a class='brand' href='#/overview'>work<span>bench</span></a>
  <div class='row grow' data-part='where' role='status'></div>
  <button type='button' class='plain' data-act='theme' aria-label='Light or dark' title='Light or dark'>◐ Theme</button>
  <nav aria-label='Views' data-part='views'></nav>
</header>
<div class='banner lost' role='alert'><span>✗</span><span>The dashboard's server doesn't answer: what is shown is old.
It goes on by itself when the server is back; otherwise load the page again.</span></div>
<div data-part='trouble' role='alert'></div>
<div data-part='toast' role='status'></div>
"""


def parts(
    picture: Picture, views: list[tuple[str, str]], current: View | None, read_only: bool, toast: Html | None
) -> dict[str, str]:
    """Return what the top says now."""
    return {
        "where": _where(picture, read_only),
        "views": _views(picture, views, current.name if current is not None else ""),
        "trouble": _trouble(picture),
        "toast": toast or "",
    }


def toast(sentence: str, *, bad: bool) -> Html:
    """Return the report on an action."""
    look = "toast bad" if bad else "toast"
    kind = "bad" if bad else "good"
    return Html(
        f"<div class='{look}'>{sign(kind)}<span class='grow'>{esc(sentence)}</span>{button('dismiss', 'Close')}</div>"
    )


def _where(picture: Picture, read_only: bool) -> str:
    told = [f"<span class='chip'>{sign(picture.health.kind)}{esc(picture.health.word)}</span>"]
    told.append(f"<span class='faint hide-narrow'>{esc(picture.address)}</span>")
    if picture.known:
        told.append(f"<span class='faint'>last event {ago(picture.last_event_at, picture.at)}</span>")
    if read_only:
        told.append("<span class='chip'>read-only</span>")
    return "".join(told)


def _views(picture: Picture, views: list[tuple[str, str]], current: str) -> str:
    counts = {"failures": picture.states.get("failed", 0), "dead": picture.dead, "workers": _online(picture)}
    links = []
    for name, title in views:
        here = " aria-current='page'" if name == current else ""
        number = counts.get(name, 0)
        counted = f"<span class='count'>{count(number)}</span>" if number else ""
        links.append(f"<a href='#/{name}'{here}>{esc(title)}{counted}</a>")
    return "".join(links)


def _online(picture: Picture) -> int:
    return sum(1 for worker in picture.workers if worker.online)


def _trouble(picture: Picture) -> str:
    if not picture.health.sentence:
        return ""
    health = picture.health
    look = "banner" if health.kind == "bad" else "banner mild"
    return f"<div class='{look}'><span>{sign(health.kind)}</span><span>{esc(health.sentence)}</span></div>"
