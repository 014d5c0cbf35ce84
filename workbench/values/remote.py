"""The far side of a store at an fsspec URL: how it is reached, how bytes go there and come from there.

Waits are bounded: a place that can't be reached is an error within seconds, one that takes a connection and never
answers within a minute and a half.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from workbench.core.errors import StoreError
from workbench.values import digest as digests

Tell = Callable[[int], object]
"""Told, for each chunk that has been moved, its bytes."""

CHUNK = 1 << 20
_PART = 8 << 20  # one request's worth; S3 takes nothing below 5 MiB
_PARTS = 10_000  # the most that S3 takes of one object
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})  # a put is there as a whole, or not at all
_S3 = frozenset({"s3", "s3a"})
# botocore's own defaults are 60 s for each of five attempts, and s3fs tries all of that five times.
_S3_WAITS = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 2}}
_S3_TRIES = 2  # what s3fs tries again: an answer that broke off in its middle


def connect(location: str) -> tuple[Any, str]:
    """Return the filesystem of a URL, and the path in it. Nothing is asked of the other side yet.

    Credentials and the endpoint are found as fsspec and the backend find them: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`
    and their like, or fsspec's own configuration, whose `config_kwargs` come before the time limits set here.
    """
    import fsspec  # only a remote store needs it

    scheme = location.partition("://")[0]
    if scheme not in _S3:
        filesystem, root = fsspec.core.url_to_fs(location)
    else:
        chosen = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        # An instance of its own: a shared one goes on without the credentials that weren't there when it was made.
        filesystem, root = fsspec.core.url_to_fs(
            location, config_kwargs={**_S3_WAITS, **chosen}, skip_instance_cache=True
        )
        filesystem.retries = _S3_TRIES
    return filesystem, str(root).rstrip("/")


def put(filesystem: Any, target: str, source: BinaryIO, *, scheme: str, size: int, digest: str, tell: Tell) -> None:
    """Send a file, chunk by chunk. It appears as a whole, once all of it is there and is what was digested, or never.

    Parameters
    ----------
    filesystem, target
        Where to.
    source
        Read from where it stands, to its end.
    scheme
        The URL's.
    size
        Bytes, as expected.
    digest
        Its digest as hexadecimal digits. Somebody may write into a user's file while it is read for the second time.
    tell
        Told of each chunk.
    """
    if scheme in _ATOMIC:
        _send(filesystem, target, source, size, digest, tell)
        return
    filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
    beside = f"{target}.{os.urandom(6).hex()}.tmp"  # a half-sent file must never bear the key
    try:
        _send(filesystem, beside, source, size, digest, tell)
        filesystem.mv(beside, target)
    except BaseException:
        with contextlib.suppress(Exception):
            filesystem.rm_file(beside)
        raise


def _send(filesystem: Any, target: str, source: BinaryIO, size: int, digest: str, tell: Tell) -> None:
    # Not put_file: where this thread is interrupted, fsspec's own would send the rest all the same, and finish it.
    part = max(_PART, -(-size // _PARTS))
    sink = filesystem.open(target, "wb", block_size=part)
    try:
        seen = digests.new()
        while chunk := source.read(CHUNK):
            seen.update(chunk)
            sink.write(chunk)
            tell(len(chunk))
        if seen.hexdigest() != digest:
            raise StoreError("the file was written to while it was sent. Send it again once that is over")
        sink.close()
    except BaseException:
        with contextlib.suppress(Exception):
            sink.discard()
        with contextlib.suppress(Exception):
            sink.closed = True  # or its end would send what was given up
        raise


def fetch(filesystem: Any, source: str, sink: BinaryIO, tell: Tell) -> None:
    """Fetch a file, chunk by chunk.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    with filesystem.open(source, "rb", block_size=_PART) as file:
        while chunk := file.read(CHUNK):
            sink.write(chunk)
            tell(len(chunk))


def lacks_bucket(filesystem: Any, root: str, scheme: str) -> str | None:
    """Return the name of the bucket that isn't there; None where it is, or there are none."""
    bucket = root.partition("/")[0]
    return bucket if scheme in _S3 and not filesystem.exists(bucket) else None
