"""A tracker with a million tasks on record: searches answer in time. `make large` runs it."""

from __future__ import annotations

import itertools
import random
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.seeding import seed
from workbench.core.messages import utcnow
from workbench.core.rpc import Filter
from workbench.core.states import State
from workbench.tracker.database import Database

TASKS = 1_000_000
LIMIT = 0.3
"""Seconds for a page."""

CHOSEN = 300
"""Of the combinations of filters, with the same ones each time."""

pytestmark = pytest.mark.slow


def test_every_page_of_every_search_among_a_million_tasks_comes_within_300_ms(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    end = utcnow()
    ids = seed(url, TASKS, end=end)
    with Database(url) as database:
        counts = database.counts_by_operation()
        groups = list(database.counted_groups())
        axes: dict[str, list[object]] = {
            "states": [(), *((state,) for state in State), (State.FAILED, State.CANCELLED)],
            "operation": [None, "image", "image.thumbnail", "convert.image", "none"],
            "worker": [None, "image-01", "data-02", "none"],
            "text": ["", "thumb", "KeyError", "-01", "e", "0", "nothing", ids[len(ids) // 2][:10]],
            "argument": ["", "flights-99", "carrier", "flights-12345.", "nothing"],
            "group": [None, groups[0], groups[-1]],
            "submitted_from": [None, end - timedelta(days=3)],
            "submitted_before": [None, end - timedelta(days=2)],
        }
        combinations = random.Random(1).sample(list(itertools.product(*axes.values())), CHOSEN)
        alone = [
            tuple(value if name == axis else values[0] for name, values in axes.items())
            for axis, choices in axes.items()
            for value in choices
        ]
        slow = []
        for combination in alone + combinations:
            chosen = Filter(**dict(zip(axes, combination, strict=True)))  # type: ignore[arg-type]
            before, page = None, 0
            while page < 2:
                began = time.perf_counter()
                found = database.search(chosen, counts, before=before, limit=100)
                took = time.perf_counter() - began
                if took > LIMIT:
                    slow.append((round(took, 3), page, chosen))
                before, page = found.before, page + 1
                if before is None:
                    break
    assert not slow
