from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.report import Recorder, Report
from workbench.broker.installation import find_rabbitmq

REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-report", action="store_true", help="write what was measured into docs/reliability.md")
    parser.addoption("--soak-seconds", type=float, default=600.0, help="how long the soak lasts")
    parser.addoption("--soak-seed", type=int, help="draw the soak's faults as in the run that printed this number")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = Report()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.config.stash[REPORT].failed(item.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-report"):
        installation = find_rabbitmq()
        assert installation is not None
        session.config.stash[REPORT].write(installation.version)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Recorder:
    """Records what a scenario measured, for the table in docs/reliability.md."""
    return request.config.stash[REPORT].recorder(request.node.nodeid)
