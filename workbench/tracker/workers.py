"""What is known of workers, and how their events change it: pure, as `core.states` is for tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from workbench.core.messages import OperationSpec, WorkerHeartbeat, WorkerOffline, WorkerOnline
from workbench.core.routing import family_of
from workbench.core.rpc import WorkerRecord
from workbench.tracker.schema import to_micros

WorkerEvent = WorkerOnline | WorkerHeartbeat | WorkerOffline

_encode = msgspec.msgpack.Encoder().encode
decode_worker = msgspec.msgpack.Decoder(WorkerRecord).decode
decode_spec = msgspec.msgpack.Decoder(OperationSpec).decode


def fold_workers(events: Iterable[WorkerEvent], known: Mapping[str, WorkerRecord]) -> list[WorkerRecord]:
    """Fold worker events, in order, and return the records that changed, by name."""
    records = dict(known)
    touched: set[str] = set()
    for event in events:
        before = records.get(event.worker)
        after = fold_worker(before, event)
        if after is not before:
            records[event.worker] = after
            touched.add(event.worker)
    return [records[name] for name in sorted(touched)]


def worker_rows(records: Iterable[WorkerRecord], now: datetime) -> list[dict[str, Any]]:
    """Return the rows of workers that were heard from at `now`."""
    return [
        {"worker": record.worker, "online": record.online, "seen_at": to_micros(now), "record": _encode(record)}
        for record in records
    ]


def operation_rows(events: Iterable[WorkerEvent]) -> list[dict[str, Any]]:
    """The operations that workers announced: the newest announcement of each."""
    rows: dict[str, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, WorkerOnline):
            at = to_micros(event.at)
            for spec in event.operations:
                if spec.name not in rows or at > rows[spec.name]["announced_at"]:
                    rows[spec.name] = {"name": spec.name, "announced_at": at, "spec": _encode(spec)}
    return list(rows.values())


def fold_worker(known: WorkerRecord | None, event: WorkerEvent) -> WorkerRecord:
    """Return what is known of a worker once `event` has been learnt; the same object where it is old news."""
    if known is not None and event.at < known.last_heartbeat_at:
        return known
    match event:
        case WorkerOnline():
            after = _announced(known, event)
        case WorkerHeartbeat():
            after = msgspec.structs.replace(
                known or _unannounced(event),
                busy=event.busy,
                memory=event.memory,
                done=event.done,
                slots=event.slots or (known.slots if known else 0),
                load=event.load,
                running=event.running,
                clock_skew=event.clock_skew,
                cpu=event.cpu,
                draining=event.draining,
                online=True,
                last_heartbeat_at=event.at,
            )
        case WorkerOffline():
            after = msgspec.structs.replace(
                known or _unannounced(event), busy=0, cpu=0.0, running=(), online=False, last_heartbeat_at=event.at
            )
    return known if known == after else after


def _announced(known: WorkerRecord | None, event: WorkerOnline) -> WorkerRecord:
    # One whose announcement was never heard (pid 0) is taken for the same: what it runs isn't lost by saying who it is.
    same = known is not None and known.online and known.pid in (0, event.pid) and known.host in ("", event.host)
    return WorkerRecord(
        worker=event.worker,
        host=event.host,
        pid=event.pid,
        families=event.families,
        lane=event.lane,
        slots=event.slots,
        busy=known.busy if known and same else 0,
        memory=known.memory if known and same else 0,
        done=known.done if known and same else 0,
        load=known.load if known and same else 0.0,
        running=known.running if known and same else (),
        clock_skew=known.clock_skew if known and same else 0.0,
        cpu=known.cpu if known and same else 0.0,
        draining=known.draining if known and same else False,
        online=True,
        started_at=known.started_at if known and same else event.at,
        last_heartbeat_at=event.at,
    )


def _unannounced(event: WorkerHeartbeat | WorkerOffline) -> WorkerRecord:
    """A worker that was announced to a database that is gone: better seen with gaps than not seen."""
    return WorkerRecord(
        worker=event.worker,
        host="",
        pid=0,
        families=(),
        lane=None,
        slots=0,
        busy=0,
        memory=0,
        done=0,
        online=True,
        started_at=event.at,
        last_heartbeat_at=event.at,
    )


def takes(worker: WorkerRecord, operation: str, lane: str | None) -> bool:
    """Whether a worker takes tasks of this operation and lane, as far as is known; whether it is there or not."""
    return worker.lane == lane and (not worker.families or family_of(operation) in worker.families)
