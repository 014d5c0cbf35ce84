from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from tests.seeding import seed, task_id_at
from tests.unit.tracker_facts import IDS, T0, accepted, at, finished, learn, online
from workbench.core.live import FailureGroup
from workbench.core.messages import Failure, Status
from workbench.core.rpc import Filter
from workbench.core.states import State, TaskRecord
from workbench.tracker import arguments, search
from workbench.tracker.database import Database
from workbench.tracker.failures import group_of, last_frame
from workbench.tracker.groups import Group, Groups
from workbench.tracker.views import brief

TRACEBACK = 'Traceback (most recent call last):\n  File "/home/ada/ops/{file}.py", line 8, in {function}\nKeyError: 1\n'


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, list[TaskRecord]]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('seeded') / 't.db'}"
    ids = seed(url, 3000, end=T0)
    with Database(url) as database:
        yield database, list(reversed(database.records(ids)))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 't.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Database(url) as database:
        yield database


def matches(record: TaskRecord, chosen: Filter) -> bool:
    """What a search has to find, said plainly."""
    group = group_of(record)
    failure = (group.type, group.frame) if group else ()
    names = (record.operation, record.worker or "", *failure)
    text = chosen.text.lower()
    made = record.submitted_at
    assert made is not None
    return (
        (not chosen.states or record.state in chosen.states)
        and chosen.operation in (None, record.operation, record.operation.partition(".")[0])
        and chosen.worker in (None, record.worker)
        and (any(text in name.lower() for name in names) or (len(text) >= 8 and record.task_id.startswith(text)))
        and chosen.group in (None, group.group if group else None)
        and (chosen.submitted_from is None or made >= chosen.submitted_from)
        and (chosen.submitted_before is None or made < chosen.submitted_before)
    )


def pages(database: Database, chosen: Filter, limit: int) -> list[str]:
    counts, found, before = database.counts_by_operation(), [], None
    while True:
        page = database.search(chosen, counts, before=before, limit=limit)
        found += [record.task_id for record in page.records]
        if (before := page.before) is None:
            return found


def test_a_search_finds_what_matches_newest_first_and_counts_it(
    seeded: tuple[Database, list[TaskRecord]],
) -> None:
    database, records = seeded
    rng = random.Random(2)
    groups = [group.group for record in records if (group := group_of(record))]
    texts = [
        "",
        "image",
        "thumb",
        "ata",
        "keyerror",
        "read_numbers",
        "-01",
        records[7].task_id[:10],
        "nothing",
        "%",
        "_",
    ]
    times: list[datetime] = [T0 - timedelta(days=5), T0 - timedelta(days=1)]
    sizes = []
    for _ in range(150):

        def some(choices: list[Any], otherwise: Any = None) -> Any:
            return rng.choice(choices) if rng.random() < 0.3 else otherwise

        chosen = Filter(
            states=some([(state,) for state in State] + [(State.FAILED, State.SUCCEEDED)], ()),
            operation=some(["image", "data.groupby", "data.none", "none"]),
            worker=some(["image-01", "data-03", "none"]),
            text=some(texts, ""),
            group=some(groups),
            submitted_from=some(times),
            submitted_before=some(times),
        )
        expected = [record.task_id for record in records if matches(record, chosen)]
        assert pages(database, chosen, limit=rng.choice([90, 1000])) == expected, chosen
        page = database.search(chosen, database.counts_by_operation(), before=None, limit=5)
        assert (page.total, page.exact) == (len(expected), True), chosen
        sizes.append(len(expected))
    assert sum(size > 100 for size in sizes) > 15
    assert sum(0 < size <= 100 for size in sizes) > 15


def test_a_count_beyond_its_bound_is_told_as_such_unless_the_counters_know(
    seeded: tuple[Database, list[TaskRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, records = seeded
    monkeypatch.setattr(search, "COUNTED", 100)
    counts = database.counts_by_operation()
    by_worker = database.search(Filter(worker="image-01"), counts, before=None, limit=1)
    assert (by_worker.total, by_worker.exact) == (100, False)
    of_all = database.search(Filter(operation="image", states=(State.SUCCEEDED,)), counts, before=None, limit=1)
    expected = sum(record.state is State.SUCCEEDED and record.operation.startswith("image.") for record in records)
    assert (of_all.total, of_all.exact) == (expected, True)


def test_no_search_walks_over_the_table(seeded: tuple[Database, list[TaskRecord]]) -> None:
    database, records = seeded
    group = next(group.group for record in records if (group := group_of(record)))
    counts = database.counts_by_operation()
    filters = [
        Filter(),
        Filter(states=(State.FAILED, State.RUNNING)),
        Filter(operation="data.sort"),
        Filter(operation="data.sort", states=(State.FAILED,), worker="data-01"),
        Filter(worker="data-01"),
        Filter(group=group, worker="data-01"),
        Filter(submitted_from=T0 - timedelta(days=1)),
        Filter(text="sort"),
    ]
    with database._connections.read() as connection:
        for chosen in filters:
            found = search.names(connection, chosen.text, counts) if chosen.text else None
            for branch in search.branches(chosen, counts, found):
                query = sa.select(search.tasks.c.task_id).where(*search._conditions(branch), *search._times(chosen))
                text = query.order_by(search.tasks.c.task_id.desc()).limit(9)
                compiled = text.compile(connection.engine, compile_kwargs={"literal_binds": True})
                plan = " / ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))
                assert "INDEX" in plan, (chosen, branch, plan)
                assert "TEMP B-TREE" not in plan, (chosen, branch, plan)


def test_ids_begin_with_the_time_they_were_made_at() -> None:
    assert task_id_at(at(0), 5).startswith(search.first_id(at(0)))
    assert task_id_at(at(-0.001), 5) < search.first_id(at(0)) < task_id_at(at(0), 0)


def failed(task_id: str, file: str = "a", *, seconds: float = 3, kind: str = "KeyError", **more: Any) -> Any:
    failure = Failure(type=kind, message=f"of {task_id}", traceback=TRACEBACK.format(file=file, function="pick"))
    end: dict[str, Any] = {"status": Status.FAILED, "failure": failure, "finished_at": at(seconds), **more}
    return finished(task_id, **end)


def failures(database: Database) -> list[FailureGroup]:
    groups = Groups()
    groups.recount(database.counted_groups())
    return list(database.told_groups(groups.newest(10)))


def test_failures_are_grouped_by_operation_exception_and_place(database: Database) -> None:
    learn(database, *map(accepted, IDS[:6]))
    learn(database, failed(IDS[0]), failed(IDS[1], seconds=9), failed(IDS[2], "b"), failed(IDS[3], kind="OSError"))
    learn(database, finished(IDS[4]), finished(IDS[5], status=Status.RETRY, failure=Failure(type="E", message="")))
    told = failures(database)
    assert [group.count for group in told] == [2, 1, 1]
    first = told[0]
    assert (first.operation, first.type, first.frame, first.count) == (
        "image.thumbnail",
        "KeyError",
        "ada/ops/a.py:8 in pick",
        2,
    )
    assert (first.first_at, first.last_at, first.latest) == (at(3), at(9), IDS[1])
    assert first.message == f"of {IDS[1]}"
    counts = database.counts_by_operation()
    members = database.search(Filter(group=first.group), counts, before=None, limit=10).records
    assert [record.task_id for record in members] == [IDS[1], IDS[0]]
    assert database.counted_groups([first.group, "none"]) == {first.group: Group(2, at(3), at(9), IDS[1])}
    assert database.counted_groups([]) == {}


def test_a_task_that_is_sent_again_leaves_its_group_and_may_come_back(database: Database) -> None:
    learn(database, accepted(), failed(IDS[0]))
    learn(database, accepted(attempt=2, replay=1))
    assert failures(database) == []
    learn(database, failed(IDS[0], attempt=2, replay=1, seconds=20))
    assert [group.last_at for group in failures(database)] == [at(20)]


def test_what_was_dismissed_stays_so_until_it_fails_anew(database: Database) -> None:
    learn(database, accepted(), failed(IDS[0]), accepted(IDS[1]), failed(IDS[1]))
    (group,) = failures(database)
    assert database.dismiss(group.group, most=1) == [IDS[0]]
    assert database.dismiss(group.group, most=10) == [IDS[1]]
    assert database.dismiss(group.group, most=10) == []
    learn(database, accepted(attempt=1), accepted(attempt=2))  # old news, which writes the row again
    learn(database, failed(IDS[0]))
    assert failures(database) == []
    assert database.records(IDS[:1])[0].state is State.FAILED
    learn(database, accepted(attempt=3, replay=1), failed(IDS[0], attempt=3, replay=1, seconds=30))
    assert [group.count for group in failures(database)] == [1]


def test_the_last_frame_is_that_of_the_last_exception() -> None:
    chained = (
        TRACEBACK.format(file="a", function="f") + "\nDuring handling:\n" + TRACEBACK.format(file="b", function="<g>")
    )
    assert last_frame(chained) == "ada/ops/b.py:8 in <g>"
    assert last_frame("") == last_frame("File ") == last_frame('File "x') == ""
    assert len(last_frame(f'File "{"d" * 999}", line 1, in f')) == 300


def test_a_page_leaves_out_what_was_printed(database: Database) -> None:
    learn(database, accepted(), failed(IDS[0], output="much"))
    record = database.records(IDS[:1])[0]
    assert record.output
    assert record.failure is not None
    short = brief(record)
    assert short.failure is not None
    assert (short.output, short.failure.traceback, short.failure.message) == ("", "", record.failure.message)


def test_text_is_found_in_a_workers_name_of_any_case(database: Database) -> None:
    learn(database, online("Node-7"), accepted(), finished(worker="Node-7"))
    counts = database.counts_by_operation()
    found = database.search(Filter(text="nODE-"), counts, before=None, limit=10)
    assert [record.task_id for record in found.records] == IDS[:1]


def packed(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def test_a_text_is_found_in_arguments_of_any_case_and_nowhere_else_in_the_message(database: Database) -> None:
    learn(
        database,
        accepted(IDS[0], args=(packed("/data/Flights-7.csv"),)),
        accepted(IDS[1], kwargs={"by": packed(["carrier", "Zürich"])}),
        accepted(IDS[2], operation="data.carrier", kwargs={"carrier": packed(1)}),
        accepted(IDS[3], args=(packed("flights-8"),)),
        finished(IDS[3]),
    )
    counts = database.counts_by_operation()

    def found(**chosen: Any) -> list[str]:
        page = database.search(Filter(**chosen), counts, before=None, limit=10)
        assert (page.total, page.exact, page.unfinished, page.before) == (len(page.records), True, False, None)
        return [record.task_id for record in page.records]

    assert found(argument="FLIGHTS-") == [IDS[3], IDS[0]]
    assert found(argument="flights-", states=(State.SUCCEEDED,)) == [IDS[3]]
    assert found(argument="carrier") == [IDS[1]]
    assert found(argument="Zürich") == [IDS[1]]
    assert found(argument="data.carrier") == found(argument="kwargs") == []
    assert found(argument="carrier", text="thumb") == [IDS[1]]


def test_a_search_in_arguments_goes_on_where_its_time_ended(
    seeded: tuple[Database, list[TaskRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, records = seeded
    monkeypatch.setattr(arguments, "PATIENCE", 0.0)  # one step each, whatever is found there
    counts, before, found, looks = database.counts_by_operation(), None, [], 0
    while True:
        page = database.search(Filter(argument="flights-7"), counts, before=before, limit=20)
        found += [record.task_id for record in page.records]
        assert not page.exact
        assert page.unfinished or len(page.records) == 20 or page.before is None
        looks += 1
        if (before := page.before) is None:
            break
    oldest_first = [record.task_id for record in reversed(records)]
    assert found == [task_id for n, task_id in enumerate(oldest_first) if str(n).startswith("7")][::-1]
    assert looks > len(records) // arguments._STEP


def test_a_filter_travels() -> None:
    chosen = Filter(states=(State.FAILED,), text="x", submitted_from=T0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(chosen), type=Filter) == chosen
