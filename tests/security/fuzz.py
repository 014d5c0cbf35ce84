"""Damage what travels, and see that its decoders raise what they say they raise, and nothing else happens.

`python -m tests.security.fuzz --seconds 60 [--seed 7]` goes on with seeds of its own. The damage follows the structure
of what is sent; a fuzzer that goes by coverage sees little of decoders that are written in C.
"""

from __future__ import annotations

import argparse
import functools
import random
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from workbench.core import control, messages, rpc
from workbench.core.errors import InputError, StoreError
from workbench.core.policy import RetryPolicy
from workbench.values import codecs, store
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.worker import wire

MEMORY = 1 << 30
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Decode = Callable[[bytes], object]


class Target(NamedTuple):
    """A decoder, what it reads when all is well, and the errors that it may raise of anything else."""

    decode: Decode
    corpus: tuple[bytes, ...]
    errors: tuple[type[BaseException], ...]


# --- what travels -----------------------------------------------------------------------------------

_FAILURE = messages.Failure(type="ValueError", message="no", traceback="…", bases=("Exception",), asks="retry")
_TASK = messages.Task(
    task_id="t-1", operation="a.b", args=(msgspec.Raw(b"\x01"),), kwargs={"x": msgspec.Raw(b"\xa1a")}, client="c",
    submitted_at=NOW, queued_at=NOW, timeout=5.0, retry=RetryPolicy(), expires_at=NOW, deadline_at=NOW,
)  # fmt: skip
_STARTED = messages.TaskStarted(task_id="t-1", attempt=1, worker="w", slot=1, started_at=NOW)
_FINISHED = messages.TaskFinished(
    task_id="t-1", operation="a.b", client="c", attempt=1, status=messages.Status.FAILED, finished_at=NOW,
    failure=_FAILURE, result=b"\x01", notes={"engine": "x"}, retry_at=NOW,
)  # fmt: skip
_LIST = messages.TypeSpec("list", (messages.TypeSpec("int"),))
_SPEC = messages.OperationSpec(name="a.b", parameters=(messages.ParameterSpec(name="x", type=_LIST),))
_EVENTS: tuple[Any, ...] = (
    _TASK,
    _STARTED,
    messages.TasksStarted(starts=(_STARTED, _STARTED)),
    _FINISHED,
    messages.TasksFinished(outcomes=(_FINISHED,)),
    messages.TaskProgress(task_id="t-1", attempt=1, fraction=0.5, message="half", at=NOW),
    messages.TaskLost(task_id="t-1", attempt=1, worker="w", since=NOW, at=NOW),
    messages.CancelRequested(task_id="t-1", at=NOW, reason="enough"),
    messages.WorkerOnline(worker="w", host="h", pid=1, families=("a",), slots=2, operations=(_SPEC,), at=NOW),
    messages.WorkerHeartbeat(worker="w", busy=1, running=("t-1",), at=NOW),
    messages.WorkerOffline(worker="w", at=NOW),
    messages.TrackerOnline(tracker="t", at=NOW),
)
_REQUESTS: tuple[Any, ...] = (
    rpc.GetTasks(task_ids=("t-1",)),
    rpc.ListTasks(operation="a.b", limit=5),
    rpc.GetOutcomes(task_ids=("t-1",), timeout=1.0),
    rpc.GetStats(),
    rpc.GetCancelled(families=("a",)),
    rpc.PinTasks(task_ids=("t-1",)),
)
_ANSWERS: tuple[Any, ...] = (
    rpc.Outcomes(ended=(_FINISHED,), unknown=("t-2",)),
    rpc.Why(sentence="because"),
    rpc.Attempts(attempts=(rpc.AttemptRecord(attempt=1, worker="w", started_at=NOW, outcome=_FINISHED),)),
    rpc.Workbench(store="/s", roots=("/r",), operations=(_SPEC,), workers=(), version="1"),
    rpc.Problem(message="no"),
)
_ORDERS: tuple[Any, ...] = (
    control.CancelTasks(tasks=(("t-1", 0),), reason="enough"),
    control.AskHolder(task_id="t-1", attempt=1),
)
_SAID: tuple[Any, ...] = (
    wire.Ready(operations=(_SPEC,), families=("a",)),
    wire.NotReady(failure=_FAILURE),
    wire.Progress(task_id="t-1", fraction=0.5, message="half"),
    wire.Report(task_id="t-1", status=messages.Status.SUCCEEDED, result=b"\x01", notes={"a": "b"}, peak_memory=1),
)


def _values() -> list[object]:
    frame = pd.DataFrame(
        {
            "i": [1, 2], "f": [0.5, None], "s": ["a", None], "o": pd.Series([date(2026, 1, 2), None], dtype=object),
            "c": pd.Categorical(["x", "y"]), "t": pd.to_datetime(["2026-01-01", None]).tz_localize("Europe/Berlin"),
            "p": pd.period_range("2026-01", periods=2, freq="M"), "v": pd.interval_range(0, 2),
            "m": pd.array([1, None], "Int8"),
            "x": pd.Series([[1], {"a": 1}], dtype=object).iloc[[0, 0]].array,
        }
    )  # fmt: skip
    index = pd.MultiIndex.from_product([["a", "b"], pd.date_range("2026", periods=2)], names=["k", None])
    return [
        {"a": [1, 2.5, None, True, "x", b"y"], "b": {"c": []}}, {(1, "x"): 1, 2.5: 2}, NOW, date(2026, 1, 2),
        datetime(2026, 1, 2), timedelta(1, 2, 3), Decimal("1.50"), pd.Timestamp("2026", tz="Europe/Berlin"),
        pd.Timedelta("1s"), pd.NA, np.datetime64("2026-01-01T00:00:00.123"), FileRef("/root/a.csv", "a.csv", 1),
        frame, frame.iloc[:0], pd.DataFrame({"x": range(4)}, index=index), pd.DataFrame(index=range(3)), frame["t"],
        pd.Series([1, "a"], index=pd.Index([1, "All"])).astype(str),
        pa.table({"x": [[1], None], "y": [{"a": 1}, None]}),
        np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((2, 3), "f4")), np.zeros(2, [("a", "<i4"), ("b", "S3")]),
        Image.new("RGB", (4, 4), "red"), Image.new("P", (4, 4)), Image.new("F", (4, 4)), Image.new("CMYK", (4, 4)),
    ]  # fmt: skip


@functools.cache
def targets() -> dict[str, Target]:
    """Return every decoder of what comes from elsewhere."""
    bad = (msgspec.DecodeError,)
    files = Files(tempfile.mkdtemp(prefix="workbench-fuzz-"), ["/nowhere"])
    encoded = {
        "messages": (messages.decode, _EVENTS, bad),
        "tasks": (messages.decode_task, (_TASK,), bad),
        "requests": (rpc.decode_request, _REQUESTS, bad),
        "answers": (rpc.decode_answer, _ANSWERS, bad),
        "orders": (control.decode_order, _ORDERS, bad),
        "holdings": (control.decode_holding, (control.Holding(hold=control.Hold.RUNNING),), bad),
        "slots": (wire.decode, _SAID, bad),
    }
    found = {
        name: Target(decode, tuple(map(messages.encode, corpus)), errors)
        for name, (decode, corpus, errors) in encoded.items()
    }
    values = tuple(codecs.encode(value, files) for value in _values())
    # What a slot's limit refuses at once is a MemoryError, as for a value that is honestly too large.
    found["values"] = Target(lambda data: codecs.decode(data, files), values, (InputError, StoreError, MemoryError))
    keys = (b"blake3/ab/" + b"c" * 62,)
    found["keys"] = Target(lambda data: store.check_key(data.decode("latin-1")), keys, (StoreError,))
    found["frames"] = Target(lambda data: wire.FrameReader().feed(data), tuple(map(wire.pack, values[:3])), ())
    return found


# --- damage -----------------------------------------------------------------------------------------

_NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63), 2**64 - 1, 0.0, -1.0, float("nan"),
    float("inf"), 1e308, "", "\0", "../../etc/passwd",
    "a" * 70_000, "é" * 100, "9" * 5000, "1e999999999", b"", b"\0" * 1000,
    [], [[]], {}, {"": None}, {1: 2}, NOW, "ns", "object", "O", "|O",
    "M8[ns]", "(9999,9999)<f8", "-" * 9000 + "1", "(" * 9000,
)  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return what a hostile sender might make of a valid message: parts replaced by nasty ones, or bytes changed."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        data = chance.choice((_replaced, _replaced, _flipped, _cut, _repeated))(data, chance)
    return data


def _replaced(data: bytes, chance: random.Random) -> bytes:
    try:
        return msgspec.msgpack.encode(_nasty(msgspec.msgpack.decode(data), chance))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, UnicodeError):
        return _flipped(data, chance)


def _nasty(value: Any, chance: random.Random) -> Any:
    """Return the value with one of its parts, at any depth, replaced."""
    if isinstance(value, msgspec.msgpack.Ext):
        if chance.random() < 0.1:
            return msgspec.msgpack.Ext(chance.choice((value.code, chance.randrange(-1, 30))), b"")
        return msgspec.msgpack.Ext(value.code, _inside(bytes(value.data), chance))
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], _nasty(value[place], chance), *value[place + 1 :]]
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        return value | {key: _nasty(value[key], chance)}
    if chance.random() < 0.05:
        return functools.reduce(lambda inner, _: [inner], range(chance.choice((10, 600, 3000))), value)
    return chance.choice(_NASTY)


def _inside(data: bytes, chance: random.Random) -> bytes:
    """Damage what is in an extension: a value of MessagePack, or a header of one with its length before it."""
    if len(data) > 4 and (length := struct.unpack("<I", data[:4])[0]) <= len(data) - 4 and chance.random() < 0.7:
        header = _replaced(data[4 : 4 + length], chance)
        return struct.pack("<I", len(header)) + header + data[4 + length :]
    return chance.choice((_replaced, _flipped, _flipped, _cut))(data, chance)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 3, 10))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xC1, 0xFF, chance.randrange(256))
            )
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _repeated(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start : start + chance.randrange(1, 50)] * chance.randrange(1, 50) + data[start:]


# --- runs -------------------------------------------------------------------------------------------


def one(target: Target, data: bytes) -> bool:
    """Decode; return whether it was read, raise what isn't among the declared errors."""
    try:
        target.decode(data)
    except target.errors:
        return False
    return True


def run(name: str, chance: random.Random) -> None:
    """Damage one message of a target and decode it; an undeclared error tells the bytes."""
    target = targets()[name]
    data = chance.randbytes(chance.randrange(200)) if chance.random() < 0.05 else chance.choice(target.corpus)
    data = damaged(data, chance)
    started = time.process_time()
    try:
        one(target, data)
    except BaseException as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {error}, of {data[:2000]!r}") from error
    spent = time.process_time() - started
    assert spent < 5, f"{name}: {spent:.1f} s for {data[:2000]!r}"


def main() -> None:
    """Run for a time, or so often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--target", choices=list(targets()), action="append")
    given = parser.parse_args()
    from workbench.worker import memory

    memory.limit(MEMORY)
    names = given.target or list(targets())
    chance, deadline, done = random.Random(given.seed), time.monotonic() + given.seconds, 0
    print(f"seed {given.seed}", flush=True)
    while time.monotonic() < deadline and not (given.runs and done >= given.runs):
        run(names[done % len(names)], chance)
        done += 1
    print(f"{done} runs, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")


if __name__ == "__main__":
    main()
