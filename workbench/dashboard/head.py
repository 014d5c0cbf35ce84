"""The top of the page: what it is connected to, whether that can be believed, the views, and what an action came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.dashboard.look import Html, ago, button, count, esc, sign

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture

SILENT = 4.0
"""Seconds without an answer from which on the page says so, before it's known what is wrong."""
FRAME = """
<header class='top'>
  <a class='brand' href='#/overview'>work<span>bench</span></a>
  <div class='row grow' data-part='where' role='status'></div>
  <button type='button' class='plain' data-act='theme' aria-label='Light or dark' title='Light or dark'>
    ◐<span class='hide-narrow'> Theme</span></button>
  <nav aria-label='Views' data-part='views'></nav>
</header>
<div class='banner lost' role='alert'><span>✗</span><span>The dashboard's server doesn't answer: what is shown is old.
It goes on by itself when the server is back; otherwise load the page again.</span></div>
<div data-part='trouble' role='alert'></div>
<div data-part='toast' role='status'></div>
"""


def refusal(user: str) -> Html:
    """Return what somebody sees who isn't let in."""
    if not user:
        told = (
            "Only some users may see this workbench, and nobody can log in here: no login was asked for at its start."
        )
        return Html(f"<div class='banner' role='alert'>{sign('bad')}<span>{told}</span></div>")
    return Html(
        f"<div class='banner' role='alert'>{sign('bad')}<span>{esc(user)} may not see this workbench. "
        "<a href='logout'>Log out</a></span></div>"
    )


def toast(sentence: str, kind: str) -> Html:
    """Return the report on an action: good, bad, or still `running`."""
    look = "toast bad" if kind == "bad" else "toast"
    return Html(
        f"<div class='{look}'>{sign(kind)}<span class='grow'>{esc(sentence)}</span>{button('dismiss', 'Close')}</div>"
    )


def loading(picture: Picture) -> str:
    """Return what a page says of itself that isn't alive yet."""
    late = "This page hasn't come to life: what it shows is of its beginning. Load it again."
    return (
        f"<span class='chip'>{sign('scheduled')}loading</span>"
        f"<span class='faint hide-narrow'>{esc(picture.address)}</span><span class='late'>{late}</span>"
    )


def where(picture: Picture, silence: float, *, read_only: bool) -> str:
    """Return what it is connected to, and how old what is shown is; `silence` are seconds without an answer."""
    kind, word = picture.health.kind, picture.health.word
    if kind == "good" and silence > SILENT:
        kind, word = "warn", f"no answer for {silence:.0f} s"
    told = [f"<span class='chip'>{sign(kind)}{esc(word)}</span>"]
    told.append(f"<span class='faint hide-narrow'>{esc(picture.address)}</span>")
    if picture.known:
        told.append(f"<span class='faint'>last event {ago(picture.last_event_at, picture.now)}</span>")
    if read_only:
        told.append("<span class='chip'>read-only</span>")
    return "".join(told)


def views(picture: Picture, titles: list[tuple[str, str]], current: str) -> str:
    """Return the links to the views, with counts where there is something to look at."""
    counts = {"failures": picture.failures, "dead": picture.dead, "workers": _online(picture)}
    links = []
    for name, title in titles:
        here = " aria-current='page'" if name == current else ""
        number = counts.get(name, 0)
        counted = f"<span class='count'>{count(number)}</span>" if number else ""
        links.append(f"<a href='#/{name}'{here}>{esc(title)}{counted}</a>")
    return "".join(links)


def _online(picture: Picture) -> int:
    return sum(1 for worker in picture.workers if worker.online)


def trouble(picture: Picture) -> str:
    """Return what is wrong, as a banner; nothing where nothing is."""
    if not picture.health.sentence:
        return ""
    health = picture.health
    look = "banner" if health.kind == "bad" else "banner mild"
    return f"<div class='{look}'><span>{sign(health.kind)}</span><span>{esc(health.sentence)}</span></div>"
