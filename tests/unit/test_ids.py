from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.core.ids import made_at, new_name, new_task_id


def test_ids_are_uuids_of_version_7_that_tell_their_time() -> None:
    before = time.time_ns() // 1_000_000
    number = uuid.UUID(new_task_id())
    assert (number.version, number.variant) == (7, uuid.RFC_4122)
    assert before <= number.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_when_an_id_was_made_is_read_from_it_where_it_tells() -> None:
    before = time.time()
    made = made_at(new_task_id())
    assert made is not None
    assert before - 0.001 <= made.timestamp() <= time.time() + 0.001
    assert made_at("mine-7") is made_at(str(uuid.uuid4())) is None


def test_ids_sort_by_the_order_they_were_made_in() -> None:
    ids = [new_task_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: [new_task_id() for _ in range(2000)], range(4)))
    ids = [task_id for some in made for task_id in some]
    assert len(set(ids)) == len(ids)


def test_ids_keep_their_order_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_task_id()
    an_hour_ago = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: an_hour_ago)
    assert first < new_task_id()


def test_names_keep_their_prefix() -> None:
    name = new_name("client")
    assert name.startswith("client-")
    assert name != new_name("client")
