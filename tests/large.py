"""Tables of all types, and engines to hold against each other: what the tests of tables larger than memory share."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hp

from workbench.operations import context
from workbench.operations.datasets import Dataset

both_engines = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

FEW = st.sampled_from([0, 1, 2, 3, -7])
TEXTS = st.sampled_from(["a", "b", "B", "", "ä", "z z", "𝄞"])
TIMES = st.sampled_from([pd.Timestamp("2013-01-01 05:00:00.000001"), pd.Timestamp("1969-12-31"), pd.NaT])
FLOATS = st.one_of(st.sampled_from([0.0, 1.5, float("nan")]), st.floats(-1e6, 1e6, allow_subnormal=False))

frames = hp.data_frames(
    columns=[
        hp.column("whole", elements=st.integers(-(2**40), 2**40), dtype="int64"),
        hp.column("few", elements=FEW, dtype="int32"),
        hp.column("real", elements=FLOATS, dtype="float64"),
        hp.column("single", elements=st.floats(-100, 100, width=32, allow_subnormal=False), dtype="float32"),
        hp.column("truth", elements=st.booleans(), dtype="bool"),
    ],
    index=hp.range_indexes(min_size=1, max_size=40),
)


@st.composite
def tables(draw) -> pd.DataFrame:
    frame = draw(frames)
    size = len(frame)

    def several(elements, dtype):
        return pd.Series(draw(st.lists(elements, min_size=size, max_size=size)), dtype=dtype)

    frame["text"] = several(st.one_of(st.none(), TEXTS), "str")
    frame["time"] = several(TIMES, "datetime64[us]")
    frame["zoned"] = (
        several(TIMES, "datetime64[us]")
        .dt.tz_localize("Europe/Zurich", ambiguous="NaT")
        .astype("datetime64[ns, Europe/Zurich]")
    )
    frame["maybe"] = several(st.one_of(st.none(), FEW), "Int64")
    frame["span"] = several(FEW, "int64").astype("timedelta64[s]")
    return frame


def written(frame: pd.DataFrame, directory: Path) -> Dataset:
    """Return a dataset of two files, so that it has to be put together."""
    place = Path(tempfile.mkdtemp(dir=directory))
    half = max(len(frame) // 2, 1)
    paths = []
    for number, part in enumerate([frame.iloc[:half], frame.iloc[half:]]):
        paths.append(place / f"part [{number}].parquet")  # a name that could be taken for a glob
        part.to_parquet(paths[-1], index=False)
    return Dataset.of(paths)


@contextlib.contextmanager
def engine(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Let nothing fit in memory, and see that the operations within say they chose this engine."""
    attempt = context.Attempt()
    scratch = Path(tempfile.mkdtemp())
    with monkeypatch.context() as patched, context.attempt(scratch, None, attempt):
        patched.setattr("workbench.operations.datasets.FRAME_SHARE", 0)
        yield
    shutil.rmtree(scratch)
    assert attempt.notes["engine"].startswith(f"{name}: ")
