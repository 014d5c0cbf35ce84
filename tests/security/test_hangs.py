"""Small files that would keep a slot busy for hours: whatever looks for something in them takes time in proportion."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.limits import tried
from workbench.core.errors import InputError, InputTooLarge
from workbench.operations import context, jsonarrays, registry
from workbench.operations.datasets import Dataset
from workbench.operations.tabular import Source
from workbench.values import bounds, codecs, decoders
from workbench.values.refs import FileRef

SOURCE = Source(Path("/a.json"), "a.json", "json", None)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.parametrize(
    "head", [b"<!---->" * 146, b"<!-- " + b"-->" * 300, b" " * 1023, b"<?xml" + b">" * 1000, b"<!DOCTYPE>" * 100]
)
def test_what_stands_before_an_svgs_root_is_looked_through_once(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_bytes(head)
    with pytest.raises(InputError, match=r"^a\.svg is not an image that can be read\. Known formats"):
        assert seconds(lambda: decoders.load(tmp_path / "a.svg", "a.svg")) < 1


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 400_000, b'"' + b'\\"' * 400_000 + b"\\", b'"a" ' * 200_000])
def test_texts_without_an_end_are_looked_for_once(text: bytes) -> None:
    def look() -> None:
        with contextlib.suppress(InputError):
            bounds.check_depth(text + b"[" * (bounds.DEPTH + 1) + b"\n", "a.jsonl")

    assert seconds(look) < 3


def test_a_line_of_more_keys_than_a_table_may_have_columns_is_refused(tmp_path: Path) -> None:
    keys = {f"k{n}": 'x": "y' for n in range(bounds.COLUMNS)} | {'a\\"b': 1, "x:": {"inner": ":"}}
    (tmp_path / "a.jsonl").write_text(json.dumps(keys) + "\n")
    with pytest.raises(InputTooLarge, match=r"^a\.jsonl has 100,002 columns"):
        Dataset.of(tmp_path / "a.jsonl").frame()


@pytest.mark.parametrize("piece", [b"{},", b"{}", b'"",', b"[{"])
@pytest.mark.parametrize("start", [b"[", b'[{"a":[', b'[{"a":"'])
def test_an_array_of_json_without_an_end_of_a_record_is_looked_through_once(start: bytes, piece: bytes) -> None:
    def read(megabytes: int) -> None:
        text = start + piece * ((megabytes << 20) // len(piece))
        with pytest.raises(InputError, match=r"^a\.json"):
            list(jsonarrays.blocks(io.BytesIO(text), SOURCE, 1 << 17))

    assert seconds(lambda: read(2)) < 3


_VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.sampled_from(["}", "},", '\\"', '"', "{[", "é\n", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(['b"', "c}", ",{"]), inner, max_size=2),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(st.sampled_from("ab"), _VALUES, max_size=2), max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
)
@settings(max_examples=300, deadline=None)
def test_an_array_is_cut_into_its_records_wherever_blocks_end(rows: list[dict], size: int, indent: int | None) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=indent is None).encode()
    found: list[object] = []
    for number, block in jsonarrays.blocks(io.BytesIO(text), SOURCE, size):
        assert number == len(found) + 1
        found += [json.loads(line) for line in block.splitlines() if line]
    assert found == rows


# --- what travels with an outcome -------------------------------------------------------------------


def test_names_of_megabytes_do_not_travel_with_an_outcome(tmp_path: Path) -> None:
    registry.load()
    name = "n" * 3_000_000
    rows = [json.dumps({name: 1})] * 3 + [json.dumps({name: 1.5})]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    attempt = context.Attempt()
    with context.attempt(tmp_path / "scratch", None, attempt):
        registry.get("convert.table").function(FileRef(str(tmp_path / "a.jsonl"), "a.jsonl"), "csv")
        for number in range(1000):
            context.note(f"{number}{name}", name)
    assert len(attempt.notes) == context.MOST_NOTES
    assert all(len(text) <= context.LONGEST_NOTE for note in attempt.notes.items() for text in note)
    for value in (FileRef("/a", name, 3), FileRef("/a", name), {name: 1}, [name], Path(name)):
        assert len(codecs.describe(value)) <= 280, type(value)


def test_a_csv_whose_names_are_too_long_to_be_told_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n" * 200_000 + ",b\n1,2\n")
    went = tried("registry.get('convert.table').function(FileRef(PATH, 'a.csv'), 'parquet')", PATH=tmp_path / "a.csv")
    assert went.kind == "InputError", went
    assert "a.csv is empty: there is no header to name the columns, or a name in it is longer than 131,072" in went.text
