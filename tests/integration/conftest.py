from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.core.ids import new_name


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One private node for all tests that don't harm it."""
    with Node(Path(tmp_path_factory.mktemp("node"))) as node:
        yield node


@pytest.fixture
def topology() -> Topology:
    """A namespace of the test's own on that node."""
    return Topology(f"{new_name('test')}.")


@pytest.fixture(scope="session")
def cluster() -> Iterator[wb.LocalCluster]:
    """One whole workbench, with the tests' own operations, for all tests that don't harm it."""
    with wb.LocalCluster(workers=1, slots=2, include=["tests.integration.user_operations"]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def client(cluster: wb.LocalCluster) -> Iterator[wb.Client]:
    """A client of that workbench."""
    with cluster.client() as client:
        yield client
