from __future__ import annotations

import importlib.util
import multiprocessing.util
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from tests import postgres

# An example takes as long as the machine lets it: what else runs there isn't what is tested.
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")


def pytest_collection_finish() -> None:
    """Refuse to run where an import made the process ignore SIGTERM: all that tests start would inherit it."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        raise pytest.UsageError("SIGTERM is ignored here: a test imports what only a worker's processes may import")


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what operations that run outside a worker leave, and remove it in the end."""
    tmp_path_factory.getbasetemp()  # which stays, to look at after a failure
    multiprocessing.util.get_temp_dir()  # which goes as the process ends, later than this
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="wb-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)  # PostgreSQL doesn't run as root
        tempfile.tempdir = directory
        yield
        tempfile.tempdir = before


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """One PostgreSQL for all tests that want one."""
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (pip install 'workbench[postgres]')")
    with postgres.server(binaries) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: sa.URL) -> Iterator[str]:
    """The address of an empty database there."""
    with postgres.fresh_database(postgres_server) as url:
        yield url
