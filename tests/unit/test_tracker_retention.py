"""What is swept from the database and from a real store, and what isn't."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import until
from tests.unit.tracker_facts import IDS, accepted, finished, learn, started
from workbench.core.errors import StoreError
from workbench.core.messages import Status
from workbench.tracker import retention as room
from workbench.tracker.database import Database
from workbench.tracker.retention import Retention
from workbench.values import codecs
from workbench.values import sweep as sweeping
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.values.store import Store
from workbench.values.sweep import find_references, look_into, sweep

OLD = 1000.0
AGE = 100.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/t.db") as database:
        yield database


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def files(store: Store) -> Files:
    return Files(store.location)


def make_old(store: Store, *keys: str) -> None:
    then = time.time() - OLD
    for key in keys:
        os.utime(store.directory / key, (then, then))


def keys_in(store: Store) -> set[str]:
    root = store.directory
    return {str(path.relative_to(root)) for path in root.glob("blake3/*/*")}


def nothing(_keys: Sequence[str]) -> set[str]:
    return set()


def swept(store: Store, needed: Any = nothing) -> int:
    return sum(sweep(store, age=AGE, needed=needed, step=2))


def run_retention(database: Database, store: Store, seconds: float = AGE, up_to_date: bool = True) -> None:
    """Sweep once, until the store has been looked through."""

    async def run() -> None:
        async def is_up_to_date() -> bool:
            asked.set()
            return up_to_date

        asked = asyncio.Event()
        with ThreadPoolExecutor(1) as writer:
            retention = Retention(database, store, seconds=seconds, writer=writer, up_to_date=is_up_to_date)
            await retention._sweep()
            assert asked.is_set()
            retention._thread.shutdown()

    asyncio.run(run())


# --- finding references -----------------------------------------------------------------------------


def test_references_are_found_in_whatever_a_message_holds(files: Files) -> None:
    store = files.need_store()
    key = store.put_bytes(b"file")
    ref = FileRef(f"store:{key}", "a.txt", 4)
    large = codecs.encode(["x" * 100_000], files)
    (large_key,) = find_references(large)
    task = accepted(args=(msgspec.Raw(codecs.encode({"deep": [ref]}, files)), msgspec.Raw(large)))
    body = msgspec.msgpack.encode(task)
    assert find_references(body) == {key: False, large_key: True}
    result = finished(result=codecs.encode(ref, files))
    assert find_references(msgspec.msgpack.encode(result)) == {key: False}
    assert find_references(b"nothing", b"") == {}


@pytest.mark.parametrize("size", [70_000, 100, 2**16 + 5, 2**32 + 5])
def test_a_stored_value_may_hold_references_whatever_its_size(size: int) -> None:
    key = "blake3/ab/" + "c" * 62
    assert find_references(codecs._stored(key, size, 0)) == {key: True}
    assert find_references(codecs._stored(key, size, 3)) == {key: False}


def test_references_across_the_chunks_of_a_large_value_are_found(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    store = files.need_store()
    refs = [FileRef(f"store:{store.put_bytes(str(number).encode())}", "f", 1) for number in range(1500)]
    (key,) = find_references(codecs.encode(refs, files))
    monkeypatch.setattr(sweeping, "_CHUNK", 501)
    assert set(look_into(store, key)) == {ref.uri.removeprefix("store:") for ref in refs}
    assert look_into(store, "blake3/ab/" + "c" * 62) == {}


# --- sweeping a store -------------------------------------------------------------------------------


def test_what_is_old_and_not_needed_is_removed_and_the_rest_stays(store: Store) -> None:
    old = [store.put_bytes(b"old %d" % number) for number in range(5)]
    young = store.put_bytes(b"young")
    make_old(store, *old)
    assert swept(store, lambda keys: set(keys) & {old[0]}) == 4
    assert keys_in(store) == {old[0], young}


def test_what_is_put_again_is_young_again(store: Store, tmp_path: Path) -> None:
    keys = [store.put_bytes(b"bytes"), store.put_bytes(b"file")]
    make_old(store, *keys)
    store.put_bytes(b"bytes")
    tmp_path.joinpath("f").write_bytes(b"file")
    store.put_file(tmp_path / "f")
    assert swept(store) == 0


def test_a_file_that_was_old_when_it_was_moved_in_is_young_in_the_store(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"result")
    os.utime(path, (1, 1))
    key = store.put_file(path, move=True)
    assert swept(store) == 0
    assert store.read_bytes(key) == b"result"


def test_what_is_put_again_while_it_is_being_removed_stays(store: Store) -> None:
    key = store.put_bytes(b"value")
    make_old(store, key)
    asked = []

    def needed(keys: Sequence[str]) -> set[str]:
        asked.append(list(keys))
        if len(asked) == 1:
            store.put_bytes(b"value")  # just before it is put aside
        return set()

    assert swept(store, needed) == 0
    assert store.read_bytes(key) == b"value"
    make_old(store, key)

    def put_while_aside(keys: Sequence[str]) -> set[str]:
        if not store.exists(key):
            store.put_bytes(b"value")
        return set()

    assert swept(store, put_while_aside) == 1  # the old file went, the new one stays
    assert store.read_bytes(key) == b"value"


def test_what_is_referred_to_while_it_is_being_removed_is_put_back(store: Store) -> None:
    key = store.put_bytes(b"value")
    make_old(store, key)
    assert swept(store, lambda keys: set() if store.exists(key) else set(keys)) == 0
    assert store.read_bytes(key) == b"value"


def test_writers_and_sweepers_at_the_same_time_lose_nothing(store: Store) -> None:
    bodies = [b"value %d" % number for number in range(20)]
    stop = time.monotonic() + 1.5

    def sweep_on() -> int:
        count = 0
        while time.monotonic() < stop:
            with contextlib.suppress(FileNotFoundError):
                make_old(store, *keys_in(store))
            count += swept(store)
        return count

    def put_on() -> None:
        while time.monotonic() < stop:
            for body in bodies:
                store.put_bytes(body)

    with ThreadPoolExecutor(3) as pool:
        sweeper, writers = pool.submit(sweep_on), [pool.submit(put_on) for _ in range(2)]
        for writer in writers:
            writer.result(60)
        assert sweeper.result(60) > 0
    keys = [store.put_bytes(body) for body in bodies]
    assert swept(store) == 0
    assert [store.read_bytes(key) for key in keys] == bodies


def test_what_a_sweep_that_died_had_put_aside_comes_back(store: Store) -> None:
    key = store.put_bytes(b"value")
    aside = store.directory / "aside"
    aside.mkdir()
    (store.directory / key).rename(aside / key.replace("/", "_"))
    assert swept(store, set) == 0
    assert store.read_bytes(key) == b"value"


def test_half_written_files_go_once_they_are_stale(store: Store) -> None:
    store.put_bytes(b"value")
    fresh, stale = (store.directory / "tmp" / name for name in ("fresh", "stale"))
    for path in (fresh, stale):
        path.write_bytes(b"half")
    os.utime(stale, (1, 1))
    swept(store)
    assert (fresh.exists(), stale.exists()) == (True, False)


def test_a_store_that_was_never_written_to_is_swept_of_nothing(store: Store) -> None:
    assert swept(store) == 0


def test_a_store_that_can_not_be_read_is_an_error_that_says_so(store: Store) -> None:
    store.directory.parent.mkdir(exist_ok=True)
    store.put_bytes(b"value")
    (store.directory / "blake3").rename(store.directory / "gone")
    (store.directory / "blake3").symlink_to("blake3")  # a loop
    with pytest.raises(StoreError, match="can't be swept"):
        swept(store)


def test_a_remote_store_is_swept_too_and_what_is_put_again_is_young_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sweeping, "RENEW", 1.0)  # so that what is older than `AGE` may go
    place = tmp_path / "remote"
    place.mkdir()
    store = Store(f"simplecache::file://{place}")
    monkeypatch.setattr("workbench.values.store.RENEW", 50.0)
    with store.backend() as (_, root):
        assert root == str(place)
    keys = [store.put_bytes(b"value %d" % number) for number in range(3)]
    for key in keys:
        os.utime(place / key, (time.time() - OLD,) * 2)
    half = place / f"{keys[0]}.abc.tmp"
    half.write_bytes(b"half")
    os.utime(half, (1, 1))
    store.put_bytes(b"value 0")
    assert swept(store, lambda asked: set(asked) & {keys[1]}) == 1
    assert [(place / key).exists() for key in keys] == [True, True, False]
    assert not half.exists()


# --- the tracker's retention ------------------------------------------------------------------------


def test_a_file_that_was_a_result_stays_while_a_later_task_takes_it(
    database: Database, files: Files, store: Store
) -> None:
    key = store.put_bytes(b"table")
    ref = FileRef(f"store:{key}", "table.csv", 5)
    learn(database, accepted(IDS[0]), finished(IDS[0], result=codecs.encode(ref, files)))
    learn(database, accepted(IDS[1], args=(msgspec.Raw(codecs.encode(ref, files)),)), started(IDS[1]))
    make_old(store, key)
    run_retention(database, store)
    assert database.outcomes([IDS[0]]).expired == (IDS[0],)
    assert store.read_bytes(key) == b"table"
    learn(database, finished(IDS[1]))
    run_retention(database, store)
    assert keys_in(store) == set()


def test_results_of_pinned_tasks_stay_in_the_store_and_others_go(
    database: Database, files: Files, store: Store
) -> None:
    large = [codecs.encode([letter * 100_000], files) for letter in "ab"]
    for task_id, result in zip(IDS, large, strict=False):
        learn(database, accepted(task_id), finished(task_id, result=result))
    make_old(store, *keys_in(store))
    database.pin([IDS[0]], True)
    run_retention(database, store)
    assert keys_in(store) == set(find_references(large[0]))
    assert codecs.decode(large[0], files) == ["a" * 100_000]


def test_files_named_by_a_value_that_lies_in_the_store_itself_stay_with_it(
    database: Database, files: Files, store: Store
) -> None:
    refs = [FileRef(f"store:{store.put_bytes(str(number).encode())}", "f", 1) for number in range(1000)]
    result = codecs.encode(refs, files)
    assert len(result) < 200
    learn(database, accepted(), finished(result=result))
    make_old(store, *keys_in(store))
    database.pin([IDS[0]], True)
    run_retention(database, store)
    assert len(keys_in(store)) == 1001
    database.pin([IDS[0]], False)
    run_retention(database, store)
    assert keys_in(store) == set()


def test_the_arguments_of_a_task_that_waits_to_be_tried_again_stay(
    database: Database, files: Files, store: Store
) -> None:
    argument = codecs.encode(["x" * 100_000], files)
    learn(database, accepted(args=(msgspec.Raw(argument),)), finished(status=Status.RETRY))
    make_old(store, *keys_in(store))
    run_retention(database, store)
    assert codecs.decode(argument, files) == ["x" * 100_000]


def test_nothing_leaves_the_store_while_messages_wait_to_be_recorded(database: Database, store: Store) -> None:
    key = store.put_bytes(b"value")
    make_old(store, key)
    run_retention(database, store, up_to_date=False)
    assert keys_in(store) == {key}


def test_results_are_swept_in_steps_between_which_others_write(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "STEP", 2)
    for task_id in IDS[:7]:
        learn(database, accepted(task_id), finished(task_id))
    order: list[str] = []
    step = database.sweep
    monkeypatch.setattr(database, "sweep", lambda **how: (order.append("sweep"), step(**how))[1])

    async def run() -> None:
        async def is_up_to_date() -> bool:
            return False

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as writer:
            retention = Retention(database, store, seconds=AGE, writer=writer, up_to_date=is_up_to_date)
            sweeping = asyncio.ensure_future(retention._sweep())
            await until(lambda: order, what="a first step")
            await loop.run_in_executor(writer, order.append, "write")
            await sweeping
            retention._thread.shutdown()

    asyncio.run(run())
    assert order.count("sweep") == 4
    assert order.index("write") < len(order) - 1
