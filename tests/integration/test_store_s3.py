"""A store in S3, as moto's server plays it: the same promises as a directory's, and errors in bounded time."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from blake3 import blake3

import workbench as wb
from tests.faults.scene import PATIENCE, Scene
from tests.support import wait_until
from workbench.broker.node import Node
from workbench.core.errors import StoreError
from workbench.values import codecs, remote
from workbench.values.files import Files
from workbench.values.store import RENEW, Store
from workbench.values.sweep import sweep

pytest.importorskip("s3fs", reason="s3fs isn't installed (pip install 'workbench[s3]')")
import botocore.session  # s3fs brings it
from botocore.config import Config

PLACES = (f"{sys.prefix}/moto/bin", f"{sys.prefix}/bin", *os.get_exec_path())
MOTO = shutil.which("moto_server", path=os.pathsep.join(PLACES))
pytestmark = pytest.mark.skipif(MOTO is None, reason="moto's server isn't installed (scripts/setup test moto)")

BUCKET = "values"
LARGE = random.Random(7).randbytes(20 << 20)  # three parts


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start moto's server, which has an environment of its own: it and s3fs pin botocore differently."""
    assert MOTO is not None
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as file:
        server = subprocess.Popen([MOTO, "--host", "127.0.0.1", "--port", "0"], stdout=file, stderr=file)

    def address() -> re.Match[str] | None:
        assert server.poll() is None, log.read_text()
        return re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())

    try:
        wait_until(address, what="moto's server listens")
        found = address()
        assert found is not None
        yield found[1]
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What S3 looks like to somebody else; the environment says how a store gets there."""
    for name, value in _environment(endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client = botocore.session.get_session().create_client(
        "s3", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1})
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def _environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "a secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def store(s3: Any) -> Store:
    return Store(f"s3://{BUCKET}/some/where")


def keys(s3: Any) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """The store as another machine sees it, which has fetched nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    return Store(f"s3://{BUCKET}/some/where")


# --- what a store promises --------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"abc", LARGE], ids=["nothing", "a little", "three parts"])
def test_what_is_put_lies_under_its_digest_for_everybody(
    data: bytes, store: Store, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.put_bytes(data)
    digest = blake3(data).hexdigest()
    assert key == f"blake3/{digest[:2]}/{digest[2:]}"
    assert keys(s3) == [f"some/where/{key}"]
    assert store.exists(key)
    other = elsewhere(monkeypatch, tmp_path)
    assert other.read_bytes(key) == data
    other.delete(key)
    assert not store.exists(key)
    assert keys(s3) == []


def test_a_file_is_sent_from_where_it_lies_and_told_of_chunk_by_chunk(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    told: list[int] = []
    key = store.put_file(path, tell=told.append)
    assert sum(told) == len(LARGE)
    assert max(told) <= remote.CHUNK
    assert not store.directory.exists(), "a copy of it was made on the way"
    told.clear()
    assert store.put_file(path, tell=told.append) == key
    assert told == [], "what is there was sent again"


def test_what_is_there_is_copied_without_a_cache_and_told_of(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.put_bytes(LARGE)
    other, told = elsewhere(monkeypatch, tmp_path), list[int]()
    with (tmp_path / "copy").open("wb") as file:
        other.copy(key, file, tell=told.append)
    assert (tmp_path / "copy").read_bytes() == LARGE
    assert sum(told) == len(LARGE)
    assert not other.directory.exists()


def test_damage_over_there_is_found_by_the_digest(
    store: Store, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.put_bytes(b"abc")
    s3.put_object(Bucket=BUCKET, Key=f"some/where/{key}", Body=b"abd")
    other = elsewhere(monkeypatch, tmp_path)
    with pytest.raises(StoreError, match="damaged"):
        other.local_path(key)
    with (tmp_path / "copy").open("wb") as file, pytest.raises(StoreError, match="damaged"):
        other.copy(key, file)
    assert not list(other.directory.glob("blake3/*/*"))


def test_what_is_young_is_renewed_by_a_look_and_what_is_old_by_putting_it_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.put_bytes(b"abc")
    assert store.renew(key)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + RENEW + 1)
    assert not store.renew(key)
    assert not store.renew("blake3/ab/" + "c" * 62)


def test_a_sweep_removes_what_is_old_and_not_needed(store: Store, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, gone = store.put_bytes(b"needed"), store.put_bytes(b"not needed")
    assert sum(sweep(store, age=1.0, needed=lambda _: {kept})) == 0, "both are young"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * RENEW)
    assert sum(sweep(store, age=1.0, needed={kept}.intersection)) == 1
    assert keys(s3) == [f"some/where/{kept}"]
    assert not store.exists(gone)


def test_a_sweep_spares_what_was_put_again_since_it_was_listed(
    store: Store, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.put_bytes(b"abc")
    real, listed = time.time, s3.head_object(Bucket=BUCKET, Key=f"some/where/{key}")["LastModified"].timestamp()

    def needed(_: object) -> set[str]:
        while s3.head_object(Bucket=BUCKET, Key=f"some/where/{key}")["LastModified"].timestamp() <= listed:
            s3.put_object(Bucket=BUCKET, Key=f"some/where/{key}", Body=b"abc")  # S3 tells whole seconds
        return set()

    # So that the age is reached by what was listed, and not by what was put a second later.
    monkeypatch.setattr(time, "time", lambda: listed + 2 * RENEW + 0.5)
    assert sum(sweep(store, age=1.0, needed=needed)) == 0
    monkeypatch.setattr(time, "time", real)
    assert keys(s3) == [f"some/where/{key}"]


def test_any_value_comes_back_through_it(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(
        {"a": range(50_000), "t": pd.date_range("2020", periods=50_000, freq="min", tz="Europe/Berlin")}
    )
    files = Files(f"s3://{BUCKET}/values")
    body = codecs.encode([frame, np.arange(100_000), "x" * 100_000], files)
    assert len(body) < 500
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    back = codecs.decode(body, Files(f"s3://{BUCKET}/values"))
    pd.testing.assert_frame_equal(back[0], frame, check_freq=False)
    assert back[1].tolist() == list(range(100_000))


# --- interrupted ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError])
def test_an_upload_that_is_interrupted_leaves_nothing(
    reason: type[BaseException], store: Store, s3: Any, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    told = 0

    def interrupt(count: int) -> None:
        nonlocal told
        told += count
        if told > 15 << 20:
            raise reason

    with pytest.raises(reason if reason is KeyboardInterrupt else StoreError):
        store.put_file(path, tell=interrupt)
    assert keys(s3) == []
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_a_file_that_is_written_to_while_it_is_sent_is_refused(store: Store, s3: Any, tmp_path: Path) -> None:
    path = tmp_path / "growing.log"
    path.write_bytes(LARGE)

    def write(_: int) -> None:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!" if LARGE[-1:] != b"!" else b"?")

    with pytest.raises(StoreError, match="written to while it was sent"):
        store.put_file(path, tell=write)
    assert keys(s3) == []


# --- out of reach -----------------------------------------------------------------------------------


def uses(store: Store) -> list[Any]:
    key = "blake3/ab/" + "c" * 62
    return [lambda: store.put_bytes(b"abc"), lambda: store.read_bytes(key)]


def test_a_bucket_that_is_not_there_is_an_error_that_names_it(s3: Any) -> None:
    for use in uses(Store("s3://nowhere-at-all/x")):
        with pytest.raises(StoreError, match=r"bucket") as caught:
            use()
        assert "nowhere-at-all" in str(caught.value)


def test_an_endpoint_that_refuses_is_an_error_in_bounded_time(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and doesn't listen
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        _fresh()
        for use in [
            *uses(Store(f"s3://{BUCKET}/x")),
            lambda: list(sweep(Store(f"s3://{BUCKET}/x"), age=1, needed=set)),
        ]:
            began = time.monotonic()
            with pytest.raises(StoreError, match="onnect"):
                use()
            assert time.monotonic() - began < 20


def test_an_endpoint_that_never_answers_is_an_error_in_bounded_time(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remote._S3_WAITS, "read_timeout", 1)  # the test's patience, not a user's
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        _fresh()
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"[Tt]ime"):
            Store(f"s3://{BUCKET}/x").put_bytes(b"abc")
        assert time.monotonic() - began < 20


def test_credentials_that_are_missing_are_an_error_that_says_so(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # where ~/.aws would be
    _fresh()
    with pytest.raises(StoreError, match="redentials"):
        Store(f"s3://{BUCKET}/x").put_bytes(b"abc")


def _fresh() -> None:
    """Forget the connections there are: they know the endpoint of before."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


# --- the claim check --------------------------------------------------------------------------------


def test_large_arguments_results_and_files_travel_through_it(
    node: Node, endpoint: str, s3: Any, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"n": np.arange(200_000), "s": ["some text"] * 200_000})
    (tmp_path / "flights.csv").write_bytes(frame.to_csv(index=False).encode())
    with Scene(node.url, tmp_path) as scene:
        scene.settings = msgspec.structs.replace(scene.settings, store=f"s3://{BUCKET}/workbench")
        there = {**_environment(endpoint), "XDG_CACHE_HOME": str(tmp_path / "the worker's cache")}
        scene.tracker(environ=there)
        scene.worker("w1", "data", "convert", environ=there)
        with scene.client() as client:
            head = client.submit("data.head", frame, 150_000).result(PATIENCE)
            pd.testing.assert_frame_equal(head, frame.head(150_000))
            ref = client.upload(tmp_path / "flights.csv")
            made = client.submit("convert.table", ref, to="parquet").result(PATIENCE)
            assert made.stored
            path = client.download(made, tmp_path / "flights.parquet")
            pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    assert all(key.startswith("workbench/blake3/") for key in keys(s3))
    assert len(keys(s3)) == 4  # an argument, a result, and two files
    assert not list((tmp_path / "store").iterdir())


def test_a_store_that_cannot_be_reached_ends_a_task_with_an_error_that_says_so(
    node: Node, endpoint: str, s3: Any, tmp_path: Path
) -> None:
    with Scene(node.url, tmp_path) as scene:
        scene.settings = msgspec.structs.replace(scene.settings, store="s3://nowhere-at-all")
        scene.tracker(environ=_environment(endpoint))
        scene.worker("w1", environ=_environment(endpoint))
        with scene.client() as client:
            once = client.with_options(retries=0)
            with pytest.raises(wb.TaskFailed, match=r"StoreError.*nowhere-at-all"):
                once.submit("text.file", "a.txt", "text").result(PATIENCE)
