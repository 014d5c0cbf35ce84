"""`data.assign` computes over columns and does nothing else: no Python, no files, no time or memory without end."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.security import hostile_expressions
from workbench.core.errors import InvalidArguments
from workbench.operations import registry

registry.load()
FRAME = pd.DataFrame({"x": [1, 2], "s": ["a" * 30, "b"], "y": ["p", "q"]})


def assigned(expression: str) -> pd.DataFrame:
    return registry.get("data.assign").function(FRAME, {"new": expression})


@pytest.mark.parametrize("expression", hostile_expressions.PYTHON)
def test_what_reaches_for_python_is_refused(expression: str, tmp_path: Path) -> None:
    expression = expression.replace("SECRET", str(tmp_path / "secret")).replace("OUT", str(tmp_path / "out"))
    with pytest.raises(InvalidArguments):
        assigned(expression)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("expression", hostile_expressions.HEAVY)
def test_what_would_take_time_or_memory_is_refused_or_over_at_once(expression: str) -> None:
    started = time.process_time()
    with contextlib.suppress(InvalidArguments):
        assert len(assigned(expression)) == 2
    assert time.process_time() - started < 2
