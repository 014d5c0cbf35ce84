"""Operations that let rows stream by, where a table doesn't fit in memory, give what pandas gives of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InputTooLarge, InvalidArguments
from workbench.operations import context, datasets
from workbench.operations.data import derived, gaps, rows
from workbench.operations.data.filters import filter as filter_rows


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    size = 1000
    frame = pd.DataFrame(
        {
            "whole": np.arange(size),
            "real": random.normal(size=size),
            "text": random.choice(["a", "b", "n/a"], size),
            "weight": random.random(size),
        }
    )
    frame["maybe"] = pd.array(random.integers(0, 9, size), dtype="Int64")
    frame["counted"] = random.integers(0, 9, size).astype("float64")
    frame["truth"] = (random.random(size) < 0.5).astype(object)
    for name in ("real", "text", "maybe", "counted", "truth"):
        frame.loc[random.random(size) < 0.6, name] = None
    return frame


@pytest.fixture(scope="module", params=["parquet", "several", "csv"])
def files(request: pytest.FixtureRequest, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("streamed")
    if request.param == "csv":
        frame.to_csv(directory / "a.csv", index=False)
        return [directory / "a.csv"]
    frame = frame.astype({"counted": "Int64"}) if request.param == "several" else frame
    parts = [frame] if request.param == "parquet" else [frame.iloc[:7], frame.iloc[7:500], frame.iloc[500:]]
    for number, part in enumerate(parts):
        part.to_parquet(directory / f"{number}.parquet", index=False, row_group_size=90)
    return sorted(directory.iterdir())


@pytest.fixture
def streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[context.Attempt]:
    """An attempt in which nothing fits in memory, and blocks of rows are short."""
    monkeypatch.setattr(datasets, "FRAME_SHARE", 0)
    attempt = context.Attempt()
    with context.attempt(tmp_path / "scratch", None, attempt):
        yield attempt
    assert attempt.notes["engine"].startswith("pyarrow: ")


CALLS = {
    "missing": lambda data: gaps.missing(data),
    "renamed": lambda data: derived.rename(data, {"maybe": "perhaps", "text": "truth", "truth": "text"}),
    "any": lambda data: gaps.dropna(data),
    "all": lambda data: gaps.dropna(data, how="all", subset=["text", "real"]),
    "thresh": lambda data: gaps.dropna(data, thresh=5, ignore_index=True),
    "subset": lambda data: gaps.dropna(data, subset=["counted", "truth"]),
    "filtered": lambda data: filter_rows(data, [("counted", ">", 3)]),
    "one": lambda data: rows.sample(data),
    "few": lambda data: rows.sample(data, 9, random_state=5),
    "half": lambda data: rows.sample(data, frac=0.5, ignore_index=True),
    "none": lambda data: rows.sample(data, 0),
    "again": lambda data: rows.sample(data, 3000, replace=True),
    "weighted": lambda data: rows.sample(data, 50, weights="weight"),
}


@pytest.mark.parametrize("name", CALLS)
def test_rows_that_stream_by_give_what_pandas_gives(name: str, files: list[Path], streaming, monkeypatch):
    found = CALLS[name](files)
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "FRAME_SHARE", 1)
        patched.setattr(context, "note", lambda *_: None)
        expected = CALLS[name](files)
    assert_frame_equal(found, expected, check_index_type=False)


def test_draws_and_names_that_make_no_sense_are_refused(files: list[Path], streaming):
    for call, reason in (
        (lambda: rows.sample(files, 1001), "can't be drawn"),
        (lambda: rows.sample(files, weights="text"), "numbers are needed"),
        (lambda: rows.sample(files, 10**12, replace=True), "Draw fewer"),
        (lambda: derived.rename(files, {"txt": "t"}), "'text'"),
        (lambda: derived.rename(files, {"text": "real"}), "several columns"),
        (lambda: gaps.dropna(files, subset="txt"), "'text'"),
    ):
        with pytest.raises(InvalidArguments, match=reason):
            call()


def test_what_has_to_be_in_memory_says_how_large_it_is_and_what_to_do(files: list[Path], tmp_path: Path):
    said = r"data.dropna.*about .* of the 5.* kB that.*data.select.*--memory-limit"
    attempt = context.attempt(tmp_path / "scratch", None, context.Attempt(memory_limit=5000))
    with attempt, pytest.raises(InputTooLarge, match=said):
        gaps.dropna(files, axis="columns")
