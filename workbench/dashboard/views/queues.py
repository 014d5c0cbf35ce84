"""The queues: what lies on each, who takes from it, and how long that takes at this pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.live import QueueFacts
from workbench.dashboard.look import Html, card, count, empty, esc, facts, link, plural, rate, seconds, state, table
from workbench.dashboard.views.base import BoardView

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture

BACKLOG = 10_000  # messages for the tracker from which on it's said
COLUMNS = ("queue", "how it is", "depth", "in flight", "consumers", "arriving", "being started", "time to drain")


class Queues(BoardView):
    """Task queues, delay queues and dead letters."""

    name = "queues"
    title = "Queues"

    def show(self, picture: Picture) -> None:
        tasks = [queue for queue in picture.queues if queue.kind == "tasks"]
        self._board.write(body=_tasks(tasks) + f"<div class='cards'>{_delays(picture)}{_others(picture)}</div>")


def _tasks(queues: list[QueueFacts]) -> Html:
    if not queues:
        return card("Task queues", empty("No queues are known yet", "The tracker asks the broker every few seconds."))
    rows = [
        (
            Html(f"<code>{esc(queue.queue)}</code>"),
            state(*_condition(queue)),
            "–" if queue.ready is None else count(queue.ready),
            f"{queue.in_flight} of {plural(queue.slots, 'slot')}",
            count(queue.consumers),
            rate(queue.arriving),
            rate(queue.leaving),
            _drained(queue),
        )
        for queue in queues
    ]
    waiting = sum(queue.ready or 0 for queue in queues)
    told = f"{plural(waiting, 'task')} on {plural(len(queues), 'queue')}. Rates are of the last minute."
    return card("Task queues", table(COLUMNS, rows, numbers=range(2, 8), narrow=(3, 5, 6), label="Task queues"), told)


def _condition(queue: QueueFacts) -> tuple[str, str]:
    if queue.ready is None:
        return "warn", "isn't there"
    if queue.ready and not queue.consumers:
        return "bad", "nobody takes from it"
    if queue.ready and queue.arriving > queue.leaving:
        return "warn", "growing"
    if queue.ready and queue.drained_in is None:
        return "queued", "waiting"  # neither comes anything nor is anything started, or as much as comes
    return ("good", "getting shorter") if queue.ready else ("good", "empty")


def _drained(queue: QueueFacts) -> str:
    if not queue.ready:
        return "–"
    return "not at this pace" if queue.drained_in is None else seconds(queue.drained_in)


def _delays(picture: Picture) -> Html:
    waiting = [queue for queue in picture.queues if queue.kind == "delay" and queue.ready]
    if not waiting:
        return card("Delay queues", empty("Nothing waits for its next attempt", "Retries wait here for their time."))
    rows = [
        (Html(f"<code>{esc(queue.queue)}</code>"), seconds(queue.delay), count(queue.ready or 0)) for queue in waiting
    ]
    told = plural(sum(queue.ready or 0 for queue in waiting), "message")
    return card("Delay queues", table(("queue", "stays for", "waiting"), rows, numbers=(1, 2)), told)


def _others(picture: Picture) -> Html:
    dead = state("warn" if picture.dead else "good", plural(picture.dead, "letter"))
    tracker = sum(queue.ready or 0 for queue in picture.queues if queue.kind == "tracker")
    return card(
        "Others",
        facts(
            (
                ("dead letters", Html(f"{dead} {link('dead', 'look at them')}") if picture.dead else dead),
                ("for the tracker", state("warn" if tracker > BACKLOG else "good", plural(tracker, "message"))),
            )
        ),
    )
