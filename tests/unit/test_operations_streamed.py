"""Operations that let rows stream by, where a table doesn't fit in memory, give what pandas gives of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InputTooLarge, InvalidArguments
from workbench.operations import columnar, context, csvfiles, datasets
from workbench.operations.data import derived, gaps, joins, rows, summaries
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
    monkeypatch.setattr(csvfiles, "BLOCK", 4096)
    monkeypatch.setattr(columnar, "BATCH_ROWS", 64)
    monkeypatch.setattr(datasets, "BATCH_ROWS", 70)
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
    "filled": lambda data: gaps.fillna(data, {"counted": 0, "text": "?", "maybe": 7, "real": -1.5}),
    "filled with one": lambda data: gaps.fillna(data, 0, columns=["counted", "real"]),
    "filled at most": lambda data: gaps.fillna(data, {"counted": 0, "text": "?"}, limit=100),
    "filled onward": lambda data: gaps.fillna(data, method="ffill"),
    "filled onward at most": lambda data: gaps.fillna(data, method="ffill", columns=["text", "real"], limit=2),
    "filled backward": lambda data: gaps.fillna(data, method="bfill"),
    "filled backward at most": lambda data: gaps.fillna(data, method="bfill", columns=["truth", "counted"], limit=1),
    "typed": lambda data: derived.astype(data, {"whole": "float32", "counted": "Int64", "weight": "str"}),
    "typed as text": lambda data: derived.astype(data, "str"),
    "typed as arrow's": lambda data: derived.astype(data, {"real": "double[pyarrow]", "truth": "boolean"}),
    "assigned": lambda data: derived.assign(
        data, {"half": "whole / 2", "whole": "whole + 1", "label": "if_else(half > 100, upper(text), 'low')"}
    ),
    "assigned with gaps": lambda data: derived.assign(
        data, {"gap": "if_else(whole > 500, None, whole)", "sum": "real + counted", "known": "is_missing(text)"}
    ),
    "assigned late": lambda data: derived.assign(
        data, {"inverse": "whole // (whole - 900)", "one": "1", "none": "None"}
    ),
    "below": lambda data: joins.concat([data, pd.DataFrame({"whole": [0.5], "truth": [None], "more": ["x"]})]),
    "below itself": lambda data: joins.concat([data, data], ignore_index=True),
    "shared": lambda data: joins.concat([data, pd.DataFrame({"more": [1], "whole": [7], "text": ["b"]})], join="inner"),
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
        (lambda: gaps.fillna(files, 0), "column 'text' holds .*'?0'? doesn't fit"),
        (lambda: gaps.fillna(files, {"txt": "?"}), "'text'"),
        (lambda: gaps.fillna(files, value=True, columns="truth"), "column 'truth' holds object"),
        (lambda: derived.astype(files, {"text": "int64"}), "column 'text'.* can't become int64"),
        (lambda: derived.astype(files, {"real": "int64"}), "column 'real'.* can't become int64"),
        (lambda: derived.assign(files, {"x": "txt + 1"}), "column 'x'.*'text'"),
        (lambda: derived.assign(files, {"x": "text + 1"}), "column 'x'.* at character 1: "),
        (lambda: joins.concat([files, pd.DataFrame({"whole": ["a"]})]), "column 'whole' holds"),
    ):
        with pytest.raises(InvalidArguments, match=reason):
            call()


def test_what_has_to_be_in_memory_says_how_large_it_is_and_what_to_do(files: list[Path], tmp_path: Path):
    for name, call in (
        ("data.dropna", lambda: gaps.dropna(files, axis="columns")),
        ("data.astype", lambda: derived.astype(files, {"text": "category"})),
        ("data.concat", lambda: joins.concat([files, files], keys=["a", "b"])),
    ):
        said = rf"{name}.*about .* of the 5.* kB that.*data.select.*--memory-limit"
        attempt = context.attempt(tmp_path / "scratch", None, context.Attempt(memory_limit=5000))
        with attempt, pytest.raises(InputTooLarge, match=said):
            call()


@pytest.mark.parametrize("name", ["filled", "typed", "assigned", "below"])
def test_a_file_that_is_asked_for_is_written(name: str, files: list[Path], tmp_path: Path):
    calls = {
        "filled": lambda **output: gaps.fillna(files, method="bfill", **output),
        "typed": lambda **output: derived.astype(files, {"whole": "float32", "maybe": "Int64"}, **output),
        "assigned": lambda **output: derived.assign(files, {"twice": "whole * 2"}, **output),
        "below": lambda **output: joins.concat([files, files], ignore_index=True, **output),
    }
    output = tmp_path / "out.parquet"
    assert calls[name](output=str(output)) == output
    assert_frame_equal(pd.read_parquet(output), calls[name](), check_dtype=False)
    with pytest.raises(InvalidArguments, match="is there already"):
        calls[name](output=str(output), overwrite="error")


def test_an_index_of_a_table_s_own_stays(tmp_path: Path, streaming, monkeypatch):
    path = tmp_path / "indexed.parquet"
    frame = pd.DataFrame({"x": [1.0, None, 3.0] * 50}, index=pd.Index([f"r{n}" for n in range(150)], name="row"))
    frame.to_parquet(path, row_group_size=40)
    assert_frame_equal(gaps.fillna(str(path), method="ffill"), frame.ffill())
    assert_frame_equal(derived.assign(str(path), {"y": "x * 2"}), frame.assign(y=frame["x"] * 2))
    assert_frame_equal(derived.astype(str(path), "float32"), frame.astype("float32"))
    assert_frame_equal(rows.select(str(path), ["x"]), frame)
    rows.select(frame, ["x"], output=str(tmp_path / "selected.parquet"))
    assert_frame_equal(pd.read_parquet(tmp_path / "selected.parquet"), frame)
    for columns, said in ((["x", "x"], "'x' is named twice"), (["row"], "no column 'row'")):
        with pytest.raises(InvalidArguments, match=said):
            rows.select(str(path), columns)


@pytest.mark.parametrize("index", [pd.date_range("2024-01-01", periods=150, name="t"), pd.RangeIndex(5, 155)])
def test_an_index_of_a_table_s_own_goes_where_rows_are_numbered_anew(index: pd.Index, tmp_path: Path, streaming):
    path, output = tmp_path / "indexed.parquet", tmp_path / "out.parquet"
    frame = pd.DataFrame({"x": [1.0, None, 3.0] * 50, "y": np.arange(150)}, index=index)
    frame.to_parquet(path, row_group_size=40)
    kept = frame.dropna().reset_index(drop=True)
    assert_frame_equal(gaps.dropna(str(path), ignore_index=True), kept, check_index_type=False)
    gaps.dropna(str(path), ignore_index=True, output=str(output))
    assert_frame_equal(pd.read_parquet(output), kept)
    drawn = rows.sample(str(path), 100, ignore_index=True)
    rows.sample(str(path), 100, ignore_index=True, output=str(output))
    assert_frame_equal(pd.read_parquet(output), drawn)


def test_columns_that_are_not_named_by_text_are_found_by_it(tmp_path: Path, streaming):
    path, output = tmp_path / "t.parquet", tmp_path / "out.parquet"
    frame = pd.crosstab(pd.Series(["x", "y", "x"], name="a"), pd.Series([1, 2, 2], name="m")).where(lambda n: n > 0)
    frame.to_parquet(path)
    gaps.fillna(frame, 0, output=str(output))
    assert_frame_equal(pd.read_parquet(output), frame.fillna(0))
    assert_frame_equal(gaps.fillna(frame, {"1": 7}, columns=["1"]), frame.fillna({1: 7}))
    derived.astype(frame, "Int64", output=str(output))
    assert_frame_equal(pd.read_parquet(output), frame.astype("Int64"))
    for call in (
        lambda: gaps.fillna(str(path), 0),
        lambda: derived.astype(str(path), "Int64"),
        lambda: derived.assign(str(path), {"one": "1 + 1"}),
        lambda: derived.assign(frame, {"one": "1 + 1"}, output=str(output)),
    ):
        with pytest.raises(InvalidArguments, match=r"column 1 is of type int.*text"):
            call()
    assert_frame_equal(summaries.profile(str(path)), summaries.profile(frame))
    assert_frame_equal(rows.select(str(path), ["2"]), frame[[2]])
    assert_frame_equal(gaps.dropna(str(path), subset="1"), frame.dropna(subset=1))
    with pytest.raises(InvalidArguments, match=r"no column '1' whose name is text.* type int"):
        derived.rename(str(path), {"1": "one"})


def test_categories_are_not_filled_where_each_block_has_its_own(tmp_path: Path, streaming):
    path = tmp_path / "categories.parquet"
    pd.DataFrame({"c": pd.Categorical(["a", None, "b"]), "x": [1, 2, 3]}).to_parquet(path)
    for call in (
        lambda: gaps.fillna(str(path), "a", columns="c"),
        lambda: gaps.fillna(str(path), method="ffill"),
        lambda: joins.concat([str(path), str(path)]),
    ):
        with pytest.raises(InvalidArguments, match="column 'c' is categorical"):
            call()
    assert derived.assign(str(path), {"d": "upper(c)"})["d"].tolist()[::2] == ["A", "B"]


def test_gaps_are_filled_backward_however_a_reader_cuts_the_rows(tmp_path: Path, streaming, monkeypatch):
    frame = pd.DataFrame({"x": [None, None, 1.0, None, None, None, None, 2.0, None] * 30})
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    cuts = iter([7, 64, 100, 31] * 9)
    batches = columnar.ParquetReader.open

    def cut_anew(self: columnar.ParquetReader):
        monkeypatch.setattr(columnar, "BATCH_ROWS", next(cuts))
        return batches(self)

    monkeypatch.setattr(columnar.ParquetReader, "open", cut_anew)
    assert_frame_equal(gaps.fillna(str(tmp_path / "t.parquet"), method="bfill", limit=3), frame.bfill(limit=3))
