"""How things look as HTML: numbers, times, states, tables. All text from elsewhere is escaped here. No Bokeh.

A state is told by a sign and a word; its colour comes on top of that.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote

SIGNS = {
    "scheduled": "◷",
    "queued": "…",
    "running": "▶",
    "retrying": "↻",
    "succeeded": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "expired": "⌛",
    "lost": "?",
    "online": "✓",
    "draining": "↓",
    "stopped": "■",
    "lost-worker": "✗",
    "good": "✓",
    "warn": "!",
    "bad": "✗",
}

esc = html.escape


class Html(str):
    """Text that is HTML already: what `cell` doesn't escape again."""

    __slots__ = ()


def cell(value: object) -> str:
    """Return a value as HTML: escaped, unless it is HTML already."""
    return value if isinstance(value, Html) else esc(str(value))


def sign(kind: str) -> Html:
    """Return the round sign of a state."""
    return Html(f"<span class='sign {esc(kind)}' aria-hidden='true'>{SIGNS.get(kind, '•')}</span>")


def state(kind: str, word: str = "") -> Html:
    """Return a state as a sign and a word."""
    return Html(f"<span class='state'>{sign(kind)}{esc(word or kind)}</span>")


def count(number: float) -> str:
    """Return a number with thousands set apart."""
    return f"{number:,.0f}"


def plural(number: int, word: str, words: str = "") -> str:
    """Return a number with its noun, such as `1 task` or `1,200 tasks`."""
    return f"{number:,} {word if number == 1 else words or word + 's'}"


def rate(per_second: float) -> str:
    """Return a rate as people read it."""
    if per_second >= 100:
        return f"{per_second:,.0f}/s"
    if per_second >= 1:
        return f"{per_second:.1f}/s"
    if per_second > 0:
        return f"{per_second * 60:.1f}/min"
    return "0/s"


def seconds(value: float | None) -> str:
    """Return a duration in seconds as people read it: `3.2 ms`, `1.24 s`, `5 min 10 s`, `2 h 5 min`."""
    if value is None:
        return "–"
    if value < 0.9995:
        return f"{value * 1000:.3g} ms" if value >= 0.001 else "< 1 ms"
    if value < 60:
        return f"{value:.3g} s"
    if value < 3600:
        return f"{value // 60:.0f} min {value % 60:.0f} s"
    if value < 2 * 86400:
        return f"{value // 3600:.0f} h {value % 3600 // 60:.0f} min"
    return f"{value / 86400:.1f} days"


def size(number: float | None) -> str:
    """Return bytes as people read them."""
    if number is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    if at is None:
        return "never"
    passed = (now - at).total_seconds()
    return "now" if passed < 1 else f"{seconds(float(round(passed)))} ago"


def when(at: datetime | None) -> Html:
    """Return a time, in UTC, to the millisecond in its title."""
    if at is None:
        return Html("–")
    return Html(
        f"<time datetime='{at.isoformat()}' title='{at:%Y-%m-%d %H:%M:%S.%f} UTC'>{at:%Y-%m-%d %H:%M:%S}</time>"
    )


def link(href: str, text: object) -> Html:
    """Return a link within the page, such as to `tasks?state=failed`: an address in which what has to be is quoted."""
    return Html(f"<a href='#/{esc(href, quote=True)}'>{cell(text)}</a>")


def task_link(task_id: str, text: object = "") -> Html:
    """Return a link to a task."""
    return link(f"task/{quote(task_id, safe='')}", text or Html(f"<code>{esc(task_id)}</code>"))


def clip(text: str, limit: int = 160) -> Html:
    """Return one line of a text, with all of it (up to a page) as its title."""
    line = " ".join(text[: 4 * limit].split())
    return (
        Html(f"<span class='clip' title='{esc(text[:2000], quote=True)}'>{esc(line[:limit])}</span>")
        if line
        else Html("")
    )


def button(act: str, label: str, *, look: str = "", confirm: str = "", disabled: bool = False, **data: str) -> Html:
    """Return a button that tells the server `act`, with `data`, after asking where `confirm` is given."""
    given = "".join(f" data-{name}='{esc(value, quote=True)}'" for name, value in data.items())
    asked = f" data-confirm='{esc(confirm, quote=True)}'" if confirm else ""
    off = " disabled" if disabled else ""
    return Html(f"<button type='button' class='{look}' data-act='{act}'{given}{asked}{off}>{esc(label)}</button>")


def follow(held: bool, *, hold: bool = False) -> Html:
    """Return the button by which charts follow the time again; while they do, the one to `hold` them, if any."""
    if held:
        return button("follow", "Follow the time", look="main")
    return button("follow", "Hold still") if hold else Html("")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Iterable[int] = (),
    hrefs: Sequence[str] = (),
    narrow: Iterable[int] = (),
    label: str = "",
) -> Html:
    """Return a table.

    Parameters
    ----------
    columns, rows
        Its head, and its cells: escaped, unless they are `Html`.
    numbers
        The columns that hold numbers.
    hrefs
        Where a click on each row leads.
    narrow
        The columns that are left out in a narrow window.
    label
        What a screen reader says it is.
    """
    right, left_out = set(numbers), set(narrow)

    def kind(column: int) -> str:
        words = ["num"] * (column in right) + ["hide-narrow"] * (column in left_out)
        return f" class='{' '.join(words)}'" if words else ""

    head = "".join(f"<th{kind(number)}>{esc(name)}</th>" for number, name in enumerate(columns))
    lines = []
    for number, row in enumerate(rows):
        goes = f" data-href='/{esc(quote(hrefs[number], safe='/'), quote=True)}' tabindex='0'" if hrefs else ""
        cells = "".join(f"<td{kind(column)}>{cell(value)}</td>" for column, value in enumerate(row))
        lines.append(f"<tr{goes}>{cells}</tr>")
    body = "".join(lines)
    named = f" aria-label='{esc(label, quote=True)}'" if label else ""
    return Html(f"<div class='scroll'><table{named}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")


def facts(rows: Iterable[tuple[str, object]]) -> Html:
    """Return names and values, without those that are empty."""
    return Html(
        "<dl>" + "".join(f"<dt>{esc(name)}</dt><dd>{cell(value)}</dd>" for name, value in rows if value != "") + "</dl>"
    )


def empty(title: str, hint: str) -> Html:
    """Return what stands where there is nothing to show."""
    return Html(f"<div class='empty'><b>{esc(title)}</b>{esc(hint)}</div>")


def unanswered(error: Exception) -> Html:
    """Return what is said where a question failed: why, and what happens next."""
    why = f"<b>{esc(type(error).__name__)}</b>{esc(str(error).rstrip('.'))}. It's asked again by itself."
    again = button("refresh", "Ask again")
    return Html(f"<section class='card empty'>{sign('bad')}{why}<p class='row middle'>{again}</p></section>")


def card(title: str, body: object, tell: object = "") -> Html:
    """Return a card with a title, a sentence beside it, and what it holds."""
    said = f"<span class='tell'>{cell(tell)}</span>" if tell else ""
    return Html(f"<section class='card'><div class='head'><h2>{esc(title)}</h2>{said}</div>{cell(body)}</section>")


def meter(share: float, text: str) -> Html:
    """Return a bar that is filled to `share` (0 to 1), and what it says."""
    filled = round(100 * min(1.0, max(0.0, share)))
    return Html(f"<span class='meter' aria-hidden='true'><i style='width:{filled}%'></i></span>{esc(text)}")
