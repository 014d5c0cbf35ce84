from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
