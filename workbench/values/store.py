"""The store: bytes by their digest, in a local directory or at any fsspec URL. Put if absent, complete or not there.

Who may refer to what, and what the bytes mean, is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from workbench.core.errors import StoreError
from workbench.values import digest as digests
from workbench.values import held, remote
from workbench.values.digest import KEY, key_of
from workbench.values.remote import CHUNK, Tell
from workbench.values.writer import Writer

RENEW = 3600.0
"""Seconds after which what lies in a remote store is put again by whoever refers to it anew."""


def check_key(key: object) -> str:
    """Return `key` if it is one. It comes from messages, and becomes part of a path.

    Raises
    ------
    StoreError
        If it isn't exactly `blake3/`, two hexadecimal digits, `/`, and the other 62.
    """
    if not isinstance(key, str) or KEY.fullmatch(key) is None:
        raise StoreError(f"{str(key)[:100]!r} is not a key of the store")
    return key


def ignore(count: int) -> None:
    """Be the `tell` of whoever doesn't want to know."""


class Store:
    """Bytes by their digest.

    Parameters
    ----------
    location
        An absolute local directory (made when first written to, for its owner only), or any fsspec URL.

    Raises
    ------
    StoreError
        If the location is neither; later on, if the place can't be read or written.
    """

    def __init__(self, location: str) -> None:
        scheme, separator, rest = location.partition("://")
        self.location = location
        self._scheme = scheme
        self.remote = bool(separator) and scheme not in ("file", "local")
        path = location if not separator else rest
        if not self.remote and not Path(path).is_absolute():
            raise StoreError(
                f"the store {location!r} is neither an absolute directory nor a URL such as s3://bucket/dir"
            )
        self._root = _cache_of(location) if self.remote else Path(path)
        self._filesystem: tuple[Any, str] | None = None

    def __repr__(self) -> str:
        return f"<Store at {re.sub('//[^/@]*@', '//…@', self.location)}>"

    @property
    def directory(self) -> Path:
        """Where it lies; of a remote store, where its files are kept once fetched."""
        return self._root

    # --- writing -----------------------------------------------------------------------------------

    def put_bytes(self, data: bytes) -> str:
        """Put bytes; return their key. What is there already isn't written again."""
        key = key_of(digests.new().update(data).hexdigest())
        if not self.renew(key):
            with self.writer() as writer:
                writer.write(data)
        return key

    def put_file(self, path: str | os.PathLike[str], *, move: bool = False, tell: Tell = ignore) -> str:
        """Put a file, chunk by chunk; return its key. Whoever interrupts it leaves nothing under a key.

        Parameters
        ----------
        path
            A local file.
        move
            Whether the file itself may become the stored one, where it lies on the same filesystem. It is gone
            afterwards either way.
        tell
            Told the bytes of each chunk that is on its way; less in all than the file has where it was there already.
        """
        source = Path(path)
        with self._translated(f"put {source} into"):
            if move and not self.remote and not source.is_symlink():
                with source.open("rb") as file:
                    key = key_of(digests.of_file(file))
                    os.fsync(file.fileno())
                with contextlib.suppress(OSError):  # another filesystem: copied below
                    self._settle(source, key)
                    return key
            if self.remote:
                key = self._upload(source, tell=tell)
            else:
                with self.writer() as writer, source.open("rb") as file:
                    _pour(file, writer, tell)
                key = writer.key
            if move:
                source.unlink(missing_ok=True)
            return key

    @contextlib.contextmanager
    def writer(self) -> Iterator[Writer]:
        """Write something whose digest isn't known yet; its `key` is set when the block ends without an error."""
        with self._translated("write to"):
            descriptor, temporary = self._scratch()
            try:
                with os.fdopen(descriptor, "wb") as file:
                    writer = Writer(file, settle=not self.remote)
                    with writer.helped():
                        yield writer
                    file.flush()
                    if not self.remote:
                        os.fsync(file.fileno())  # or a power cut could leave the name without the bytes
                key = key_of(writer.hexdigest())
                if self.remote:
                    self._upload(temporary, writer.hexdigest())
                self._settle(temporary, key)
                writer.key = key
            finally:
                temporary.unlink(missing_ok=True)

    def renew(self, key: str) -> bool:
        """Tell whether something lies under a key, and renew its time, so that a sweep by age spares it.

        False for what has lain in a remote store for more than `RENEW` seconds: it is to be put again, as times can't
        be set there.
        """
        if self.remote:
            check_key(key)
            with self._translated("look into"):
                return self._remote_is_young(key)
        try:
            os.utime(self._root / check_key(key))
        except PermissionError:  # another user's, who shares the store
            return True
        except OSError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove what lies under a key. Nothing there is fine."""
        check_key(key)
        with self._translated("delete from"):
            (self._root / key).unlink(missing_ok=True)
            if self.remote:
                with self.backend() as (filesystem, root), contextlib.suppress(FileNotFoundError):
                    filesystem.rm_file(f"{root}/{key}")

    # --- reading -----------------------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Tell whether something lies under a key."""
        check_key(key)
        with self._translated("look into"):
            if self.remote:
                return self._remote_exists(key)
            return (self._root / key).is_file()

    def at_hand(self, key: str) -> bool:
        """Tell whether what lies under a key can be read without being fetched first."""
        return (self._root / check_key(key)).is_file()

    def copy(self, key: str, sink: BinaryIO, *, tell: Tell = ignore) -> None:
        """Copy what lies under a key into an open file, chunk by chunk, straight from a remote store.

        Parameters
        ----------
        key
            Its key.
        sink
            Open for writing. What is in it counts for nothing where this fails.
        tell
            Told the bytes of each chunk.

        Raises
        ------
        StoreError
            If nothing lies there, it doesn't match its digest, or can't be read or written.
        """
        path = self._root / check_key(key)
        with self._translated("read from"):
            if self.remote and not path.is_file():
                self._fetch(key, sink, tell)
                return
            with self.open(key) as source:
                _pour(source, sink, tell)

    def local_path(self, key: str) -> Path:
        """Return a local path of what lies under a key, fetched first from a remote store.

        Raises
        ------
        StoreError
            If nothing lies there, or what was fetched doesn't match its digest.
        """
        path = Path(os.path.realpath(self._root)) / check_key(key)
        if path.is_file():
            if os.path.realpath(path) != str(path):
                raise StoreError(
                    f"{self!r}: {key} is reached through a link, and the store makes none: whoever can write there has "
                    "put it. Remove it, and submit the task again"
                )
            if self.remote:
                with contextlib.suppress(OSError):
                    os.utime(path)  # used lately: kept in the cache
            return path
        if not self.remote:
            raise self._missing(key)
        with self._translated("read from"):
            self._download(key)
        return path

    def open(self, key: str) -> BinaryIO:
        """Open what lies under a key for reading. Raises as `local_path` does."""
        with self._translated("read from"):
            return os.fdopen(held.file(self.local_path(key)), "rb")

    def read_bytes(self, key: str) -> bytes:
        """Return what lies under a key. Raises as `local_path` does."""
        with self.open(key) as file:
            return file.read()

    @contextlib.contextmanager
    def backend(self) -> Iterator[tuple[Any, str]]:
        """Lend the remote filesystem and the store's place in it. Each backend has errors of its own."""
        try:
            if self._filesystem is None:
                self._filesystem = remote.connect(self.location)
            yield self._filesystem
        except OSError:  # StoreError among them: translated by whoever knows what was tried
            raise
        except ImportError as error:
            raise StoreError(f"{self!r} needs a package that isn't installed here: {error}") from error
        except Exception as error:
            raise StoreError(f"{self!r} can't be used: {type(error).__name__}: {error}") from error

    # --- inside ------------------------------------------------------------------------------------

    def _settle(self, temporary: Path, key: str) -> None:
        """Move a finished file into its place, read-only: complete or absent, whoever dies."""
        target = self._root / key
        if not self.remote and self.renew(key):
            temporary.unlink(missing_ok=True)
            return
        self._make(self._root)
        self._make(target.parent)
        os.utime(temporary)  # a file that was moved here may be old; what refers to it is not
        temporary.chmod(0o444)
        temporary.replace(target)

    def _make(self, directory: Path) -> None:
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _scratch(self) -> tuple[int, Path]:
        """Open a new file beside those that are finished."""
        self._make(self._root)
        self._make(self._root / "tmp")
        descriptor, name = tempfile.mkstemp(dir=self._root / "tmp")
        return descriptor, Path(name)

    def _remote_is_young(self, key: str) -> bool:
        with self.backend() as (filesystem, root):
            try:
                return bool(time.time() - filesystem.modified(f"{root}/{key}").timestamp() < RENEW)
            except FileNotFoundError:
                return False
            except NotImplementedError:  # it tells no times, so nothing is ever swept there
                return bool(filesystem.exists(f"{root}/{key}"))

    def _remote_exists(self, key: str) -> bool:
        with self.backend() as (filesystem, root):
            return bool(filesystem.exists(f"{root}/{key}"))

    def _upload(self, path: Path, digest: str | None = None, tell: Tell = ignore) -> str:
        """Send a local file, unless it is there; return its key."""
        with path.open("rb") as file:
            digest = digest or digests.of_file(file)
            key = key_of(digest)
            if not self._remote_is_young(key):
                file.seek(0)
                size = os.fstat(file.fileno()).st_size
                with self.backend() as (filesystem, root):
                    target = f"{root}/{key}"
                    remote.put(filesystem, target, file, scheme=self._scheme, size=size, digest=digest, tell=tell)
        return key

    def _download(self, key: str) -> None:
        descriptor, temporary = self._scratch()
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._fetch(key, file, ignore)
            self._settle(temporary, key)
        finally:
            temporary.unlink(missing_ok=True)

    def _fetch(self, key: str, sink: BinaryIO, tell: Tell) -> None:
        writer = Writer(sink)
        with writer.helped(), self.backend() as (filesystem, root):
            try:
                remote.fetch(filesystem, f"{root}/{key}", cast("BinaryIO", writer), tell)
            except FileNotFoundError:
                if bucket := remote.lacks_bucket(filesystem, root, self._scheme):
                    raise StoreError(
                        f"{self!r}: there is no bucket {bucket!r}, or none that these credentials may see. Make it "
                        "first, or correct WORKBENCH_STORE"
                    ) from None
                raise self._missing(key) from None
        if key_of(writer.hexdigest()) != key:
            raise StoreError(f"{self!r}: what lies under {key} is damaged: it doesn't match its digest")

    def _missing(self, key: str) -> StoreError:
        return StoreError(
            f"{self!r} has no {key}: it was swept after its retention time, or whoever wrote it uses another store "
            "(WORKBENCH_STORE must be the same everywhere)"
        )

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Translate what the operating system, or fsspec's backends, raise."""
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"can't {what} {self!r}: {error}. Is the place there, writable, and not full?") from error


def _pour(source: BinaryIO, sink: Any, tell: Tell) -> None:
    while chunk := source.read(CHUNK):
        sink.write(chunk)
        tell(len(chunk))


def _cache_of(location: str) -> Path:
    """Return where files of a remote store are kept once fetched: content never changes, so they never go stale."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/tmp")) / ".cache")  # noqa: S108 - no home
    return base / "workbench" / hashlib.sha256(location.encode()).hexdigest()[:16]
