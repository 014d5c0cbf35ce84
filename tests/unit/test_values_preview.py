"""A file's beginning: of a table, a picture, a text; never more is read than is shown."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from workbench.values import preview
from workbench.values.files import Files
from workbench.values.refs import FileRef

TABLE = pd.DataFrame({"n": range(100), "s": [f"text {n}" for n in range(100)]})


def reference(directory: Path, name: str, data: bytes) -> FileRef:
    (directory / name).write_bytes(data)
    return Files(str(directory / "store")).reference(directory / name)


def written(method: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    getattr(TABLE, method)(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", written("to_csv", index=False)),
        ("A.CSV", written("to_csv", index=False)),
        ("semicolons.csv", written("to_csv", index=False, sep=";")),
        ("bom.csv", b"\xef\xbb\xbf" + written("to_csv", index=False)),
        ("a.tsv", written("to_csv", index=False, sep="\t")),
        ("a.csv.gz", gzip.compress(written("to_csv", index=False))),
        ("a.jsonl", written("to_json", orient="records", lines=True)),
        ("a.parquet", written("to_parquet")),
        ("groups.parquet", written("to_parquet", row_group_size=2)),
        ("a.feather", written("to_feather")),
        ("a.arrow", written("to_feather")),
    ],
)
def test_a_table_shows_its_first_rows(name: str, data: bytes, tmp_path: Path) -> None:
    ref = reference(tmp_path, name, data)
    shown = ref.preview()
    assert shown["s"].tolist()[:2] == ["text 0", "text 1"]
    assert len(shown) in (5, 2)
    assert len(ref.preview(0)) == 0
    assert shown.columns.tolist() == ["n", "s"]


def test_only_the_beginning_of_a_long_file_is_read(tmp_path: Path) -> None:
    whole = b"a,b\n" + b"1,x\n" * 100_000 + b"no,row,of,this\n" * 3
    assert reference(tmp_path, "long.csv", whole).preview(3)["a"].tolist() == [1, 1, 1]
    one_line = reference(tmp_path, "line.txt", b"x" * 1_000_000).preview()
    assert one_line == "x" * preview.HEAD


def test_a_picture_is_small_and_upright(tmp_path: Path) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # on its side
    Image.new("RGB", (600, 300), "red").save(buffer, "JPEG", exif=exif)
    small = reference(tmp_path, "a.jpg", buffer.getvalue()).preview()
    assert small.size == (128, 256)
    assert small.getpixel((5, 5))[0] > 250


@pytest.mark.parametrize(
    ("name", "data", "shown"),
    [
        ("a.txt", b"one\ntwo\n" * 10, "one\ntwo\none\ntwo\none"),
        ("latin.txt", "Käse".encode("latin-1"), "Käse"),
        ("a.bin", bytes(range(256)) * 2, bytes(range(256))),
        ("empty.txt", b"", ""),
        ("empty.csv", b"", ""),
        ("not.csv", b'"open\n', '"open'),
        ("not.parquet", b"PAR1 it says", "PAR1 it says"),
        ("not.png", b"text", "text"),
        ("not.csv.gz", b"a,b\n1,2\n", ""),
    ],
)
def test_anything_else_shows_its_first_lines_or_bytes(
    name: str, data: bytes, shown: str | bytes, tmp_path: Path
) -> None:
    assert reference(tmp_path, name, data).preview() == shown
