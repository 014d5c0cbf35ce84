"""The workers: where they are, what they do, when they were last heard of. Those that were lost stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.rpc import WorkerRecord
from workbench.dashboard.look import Html, ago, card, count, empty, esc, meter, plural, size, state, table, task_link
from workbench.dashboard.views.base import BoardView

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture

COLUMNS = ("worker", "state", "host", "families", "slots busy", "CPU", "memory", "done", "heartbeat", "runs now", "")
_SHOWN = 6  # tasks of one worker


class Workers(BoardView):
    """Every worker that the tracker knows."""

    name = "workers"
    title = "Workers"

    def show(self, picture: Picture) -> None:
        self._board.write(body=self._body(picture))

    def _body(self, picture: Picture) -> str:
        workers = sorted(picture.workers, key=lambda worker: (not worker.online, worker.host, worker.worker))
        if not workers:
            return card("Workers", empty("No worker has been here yet", "Start one: workbench worker"))
        online = [worker for worker in workers if worker.online]
        busy, slots = sum(worker.busy for worker in online), sum(worker.slots for worker in online)
        lost = sum(1 for worker in workers if worker.lost)
        told = f"{plural(len(online), 'worker')} online, {busy} of {plural(slots, 'slot')} busy" + (
            f"; {plural(lost, 'worker')} lost" if lost else ""
        )
        rows = [self._row(worker, picture) for worker in workers]
        return card("Workers", table(COLUMNS, rows, numbers=(5, 6, 7), narrow=(3, 5, 6), label="Workers"), told)

    def _row(self, worker: WorkerRecord, picture: Picture) -> tuple[object, ...]:
        families = ", ".join(worker.families) + (f" (lane {worker.lane})" if worker.lane else "")
        share = worker.busy / worker.slots if worker.slots else 0.0
        running = [task_link(task_id, task_id[-8:]) for task_id in worker.running[:_SHOWN]]
        more = len(worker.running) - _SHOWN
        return (
            Html(f"<code>{esc(worker.worker)}</code>"),
            _state(worker),
            f"{worker.host} (pid {worker.pid})",
            families,
            Html(meter(share, f"{worker.busy} of {worker.slots}")) if worker.online else "–",
            f"{100 * worker.cpu:.0f} %" if worker.online else "–",
            size(worker.memory) if worker.online else "–",
            count(worker.done),
            ago(worker.last_heartbeat_at, picture.now),
            Html(" ".join(running) + (f" and {more} more" if more > 0 else "")) if worker.online else "",
            self._actions(worker),
        )

    def _actions(self, worker: WorkerRecord) -> Html:
        if not worker.online:
            return Html("")
        buttons = []
        if not worker.draining:
            buttons.append(
                self.action(
                    "drain",
                    "Drain",
                    worker=worker.worker,
                    confirm=f"Drain {worker.worker}? It takes nothing new, ends what it runs, and stops.",
                )
            )
        if worker.running:
            buttons.append(
                self.action(
                    "cancel",
                    "Cancel its tasks",
                    look="danger",
                    tasks=" ".join(worker.running),
                    confirm=f"Cancel {plural(len(worker.running), 'task')} that {worker.worker} runs?",
                )
            )
        return Html(f"<span class='row'>{''.join(buttons)}</span>")


def _state(worker: WorkerRecord) -> Html:
    if worker.lost:
        return state("lost-worker", "lost")
    if not worker.online:
        return state("stopped")
    return state("draining" if worker.draining else "online")
