"""A PostgreSQL of the tests' own: Debian's programs, as an unprivileged user, on a free loopback port."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.support import wait_until


def programs() -> Path | None:
    """Return the directory of the newest installed PostgreSQL's programs; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def server(binaries: Path, *, network: str = "") -> Iterator[sa.URL]:
    """Run a server; yield the address of its database `postgres`.

    With a network, such as `10.1.2.1/30`, it also listens on this address and lets its neighbours in.
    """
    # PostgreSQL refuses to run as root.
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    directory = Path(tempfile.mkdtemp(prefix="workbench-postgres-"))
    password, secret = secrets.token_hex(16), directory / "password"
    secret.write_text(password)
    if user:
        shutil.chown(directory, "postgres", "postgres")
        shutil.chown(secret, "postgres", "postgres")
    data = directory / "data"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        subprocess.run(
            [
                binaries / "initdb",
                "--no-sync",
                "--username=workbench",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                data,
            ],
            check=True,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            **user,
        )
        listen = "127.0.0.1"
        if network:
            listen += "," + network.partition("/")[0]
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {ipaddress.ip_interface(network).network} scram-sha-256\n")
        command = [binaries / "postgres", "-F", "-D", data, "-p", str(port), "-k", directory]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "-c", f"listen_addresses={listen}"], cwd=directory, stdout=log, stderr=log, **user
            )
        url = sa.URL.create("postgresql+psycopg", "workbench", password, "127.0.0.1", port, "postgres")
        try:
            wait_until(lambda: answers(url), what="PostgreSQL answers")
            yield url
        finally:
            process.send_signal(signal.SIGQUIT)  # at once, as nothing is kept
            process.wait(30)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def answers(url: sa.URL) -> bool:
    """Whether a server can be talked to."""
    engine = sa.create_engine(url)
    try:
        with engine.connect():
            return True
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()


@contextlib.contextmanager
def fresh_database(server: sa.URL) -> Iterator[str]:
    """Make an empty database; yield its address."""
    name = f"test_{secrets.token_hex(6)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield server.set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        engine.dispose()
