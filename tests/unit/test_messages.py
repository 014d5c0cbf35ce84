from __future__ import annotations

import msgspec
import pytest

from workbench.core import rpc
from workbench.core.messages import (
    Event,
    Failure,
    OperationSpec,
    ParameterSpec,
    Status,
    Task,
    TaskFinished,
    TasksStarted,
    TaskStarted,
    TrackerOnline,
    TypeSpec,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
    decode,
    decode_task,
    encode,
    utcnow,
)
from workbench.core.states import State, TaskRecord

NOW = utcnow()
START = TaskStarted(task_id="t", attempt=1, worker="w", slot=0, started_at=NOW)
SPEC = OperationSpec(
    name="image.thumbnail",
    parameters=(ParameterSpec(name="size", type=TypeSpec("tuple", (TypeSpec("int"), TypeSpec("int")))),),
)
TASK = Task(task_id="t", operation="image.thumbnail", client="c", submitted_at=NOW, queued_at=NOW, lane="high")
END = TaskFinished(
    task_id="t",
    operation="image.thumbnail",
    client="c",
    attempt=1,
    status=Status.FAILED,
    finished_at=NOW,
    failure=Failure(type="ValueError", message="no"),
)
EVERY: list[Task | Event] = [
    TASK,
    START,
    TasksStarted(starts=(START, START)),
    END,
    WorkerOnline(worker="w", host="h", pid=1, families=("image",), slots=2, operations=(SPEC,), at=NOW),
    WorkerHeartbeat(worker="w", busy=1, at=NOW),
    WorkerOffline(worker="w", at=NOW),
    TrackerOnline(tracker="t", at=NOW),
]


@pytest.mark.parametrize("message", EVERY, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Task | Event) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("value", [1, "text", [1, 2], {"a": 1}, None], ids=repr)
def test_a_result_of_any_shape_arrives_as_it_was_sent(value: object) -> None:
    encoded = msgspec.msgpack.encode(value)
    arrived = decode(encode(msgspec.structs.replace(END, result=encoded)))
    assert isinstance(arrived, TaskFinished)
    assert arrived.result is not None
    assert bytes(arrived.result) == encoded


def test_arguments_of_any_shape_arrive_as_they_were_sent() -> None:
    values = [msgspec.msgpack.encode(value) for value in (1, None, {"a": [1]})]
    task = msgspec.structs.replace(TASK, args=tuple(map(msgspec.Raw, values)), kwargs={"x": msgspec.Raw(values[2])})
    arrived = decode_task(encode(task))
    assert [bytes(arg) for arg in arrived.args] == values
    assert bytes(arrived.kwargs["x"]) == values[2]


def test_a_field_that_a_newer_peer_has_added_is_skipped() -> None:
    newer = msgspec.msgpack.decode(encode(TASK)) | {"colour": "green"}
    assert decode_task(msgspec.msgpack.encode(newer)) == TASK


def test_a_field_that_an_older_peer_does_not_know_gets_its_default() -> None:
    older = msgspec.msgpack.decode(encode(TASK))
    del older["lane"]
    assert decode_task(msgspec.msgpack.encode(older)).lane is None


@pytest.mark.parametrize("body", [b"", b"\xc1", b"not a message", msgspec.msgpack.encode({"type": "task.eaten"})])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body)


def test_a_failure_reads_as_a_sentence_and_a_hint() -> None:
    assert str(Failure(type="ValueError", message="no", hint="Try yes.")) == "ValueError: no\nTry yes."
    assert str(Failure(type="KeyboardInterrupt", message="")) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "request_",
    [
        rpc.GetTasks(task_ids=("t",)),
        rpc.ListTasks(state=State.FAILED, limit=5),
        rpc.GetOutcomes(task_ids=("t",), timeout=1.5),
        rpc.GetStats(),
        rpc.GetTime(),
        rpc.GetWorkbench(),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_request_arrives_as_it_was_sent(request_: rpc.AnyRequest) -> None:
    assert rpc.decode_request(rpc.encode(request_)) == request_


@pytest.mark.parametrize(
    "answer",
    [
        rpc.Tasks(records=(TaskRecord(task_id="t", submitted_at=NOW),)),
        rpc.Outcomes(ended=(END,), unknown=("u",), expired=("e",)),
        rpc.Stats(states=dict.fromkeys(State, 0), total=0, tracker="t", started_at=NOW),
        rpc.Workbench(store="s", roots=("/data",), operations=(SPEC,), workers=(), version="1"),
        rpc.TrackerTime(at=NOW),
        rpc.Problem(message="no"),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_an_answer_arrives_as_it_was_sent(answer: rpc.AnyAnswer) -> None:
    assert rpc.decode_answer(rpc.encode(answer)) == answer
