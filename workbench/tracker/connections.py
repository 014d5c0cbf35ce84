"""`Connections` to the tracker's database: SQLite (in WAL, every commit synced to disk) or PostgreSQL.

Everything about transactions, and the database's errors in our words; what is asked and written is decided elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.core.errors import WorkbenchError

_CHUNK = 500  # ids in one statement: few enough for every database, many enough to be cheap
_WRITING = "workbench_writing"
_ADVISORY_LOCK = 0x776B6268  # any number, the same for every tracker

LONGEST_TRANSACTION = 10.0
"""Seconds PostgreSQL waits amid a transaction for a tracker that hangs: another has taken over, and wants its lock."""

SILENT = 10
"""Seconds a PostgreSQL may be silent, as TCP sees it: a link that swallows everything would hold a thread for long."""

_LIBPQ = {  # in seconds, but for the last one
    "connect_timeout": SILENT,
    "keepalives_idle": SILENT // 2,
    "keepalives_interval": 1,
    "keepalives_count": SILENT // 2,
    "tcp_user_timeout": SILENT * 1000,
}


# The two halves of the lock's number are columns (https://www.postgresql.org/docs/current/view-pg-locks.html).
_END_WRITERS = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid = :high AND objid = :low AND pid <> pg_backend_pid()"
)


class DatabaseUnavailable(WorkbenchError):
    """The tracker's database can't be read or written just now: locked, full, unreachable or damaged."""


class Unrecordable(WorkbenchError, ValueError):
    """A message holds a value that the database can't store. Trying again won't help."""


class Connections:
    """Opens transactions.

    Parameters
    ----------
    url
        `sqlite:////absolute/path`, or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        except (sa.exc.ArgumentError, ImportError) as error:
            raise WorkbenchError(
                f"the tracker's database can't be used: {error}. "
                "WORKBENCH_DATABASE takes sqlite:////absolute/path or postgresql+psycopg://user@host/name"
            ) from error
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        (_tune_sqlite if self.is_sqlite else _tune_postgresql)(self._engine)

    def __repr__(self) -> str:
        return repr(self._engine.url)  # it hides the password

    def prepare(self) -> None:
        """Make the directory that the database is to lie in."""
        if self.is_sqlite and self._engine.url.database:
            with _translated():
                Path(self._engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._engine.dispose()

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Lend a connection in a transaction that is committed at the end; one at a time, whoever writes."""
        engine = self._engine.execution_options(**{_WRITING: True})
        with _translated(), engine.begin() as connection:
            if not self.is_sqlite:
                # As SQLite's BEGIN IMMEDIATE: what is read stays true until it is written, even where two trackers
                # are active for a moment.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield connection

    def evict(self) -> None:
        """End the session of whoever writes just now, on PostgreSQL: a tracker that hangs, and isn't the active one.

        The server ends those that are idle amid a transaction, but one whose client has stopped amid what it sends, or
        reads, isn't idle. SQLite has nobody who could do it.
        """
        if self.is_sqlite:
            return
        with _translated(), self._engine.connect() as connection:
            connection.execute(_END_WRITERS, {"high": _ADVISORY_LOCK >> 32, "low": _ADVISORY_LOCK & 0xFFFF_FFFF})
            connection.commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Lend a connection that sees one state of the database."""
        with _translated(), self._engine.connect() as connection:
            yield connection


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ids into as many as one statement takes."""
    for first in range(0, len(ids), _CHUNK):
        yield ids[first : first + _CHUNK]


def _tune_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 begins no transactions of its own: `_begin` does
        for pragma in (
            "busy_timeout=5000",
            "journal_mode=WAL",
            "synchronous=FULL",  # a delivery is acknowledged after the commit, so the commit must survive a power cut
            "wal_autocheckpoint=4000",
            "cache_size=-65536",  # KiB
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock before the first read: what is folded onto can't change under it.
        writing = connection.get_execution_options().get(_WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _tune_postgresql(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        for name, value in _LIBPQ.items():
            options.setdefault(name, value)  # the address may say otherwise

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            for name, value in {
                "idle_in_transaction_session_timeout": int(LONGEST_TRANSACTION * 1000),
                "lock_timeout": int((LONGEST_TRANSACTION + SILENT) * 1000),
                # The same for the server's end. A session isn't idle while the rest of what was sent together is to
                # come: where this host vanishes meanwhile, only TCP tells.
                "tcp_keepalives_idle": _LIBPQ["keepalives_idle"],
                "tcp_keepalives_interval": _LIBPQ["keepalives_interval"],
                "tcp_keepalives_count": _LIBPQ["keepalives_count"],
                "tcp_user_timeout": _LIBPQ["tcp_user_timeout"],
            }.items():
                cursor.execute(f"SET {name} = {value}")
        connection.commit()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.DataError, OverflowError, UnicodeError) as error:
        raise Unrecordable(f"the database can't store a value: {error}") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise DatabaseUnavailable(f"the tracker's database can't be used just now: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
