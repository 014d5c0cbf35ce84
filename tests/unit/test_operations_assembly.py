"""`convert.split`, `convert.concat` and `convert.pages`: several files into one, and one into several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.feather
import pytest
from PIL import Image, ImageSequence

from workbench.core.errors import InputError, InvalidArguments, PathRefused
from workbench.operations import convert, registry, signature
from workbench.values import arguments
from workbench.values.files import Files
from workbench.values.refs import FileRef, FileRefs


def ref(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"n": range(100_001), "x": np.linspace(0, 1, 100_001), "s": [f"r{i % 7}" for i in range(100_001)]}
    )


@pytest.mark.parametrize("to", [None, "csv", "jsonl", "parquet", "feather"])
def test_the_parts_of_a_table_have_so_many_rows_each_and_are_it_together(
    frame: pd.DataFrame, tmp_path: Path, to: str | None
) -> None:
    source = tmp_path / "table.parquet"
    frame.to_parquet(source, row_group_size=30_000)
    parts = convert.split(ref(source), 40_000, to=to)
    assert [part.name for part in parts] == [f"table-000{n}.{to or 'parquet'}" for n in (1, 2, 3)]
    read = {"csv": pd.read_csv, "jsonl": lambda p: pd.read_json(p, lines=True), "feather": pyarrow.feather.read_feather}
    frames = [read.get(to or "", pd.read_parquet)(part) for part in parts]
    assert [len(one) for one in frames] == [40_000, 40_000, 20_001]
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), frame, check_dtype=False)


def test_a_csv_is_split_without_its_cells_being_changed(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_text("zip,x\n00123,1.50\n00124,2\n00125,3\n")
    first, second = convert.split(ref(source), 2)
    assert first.read_text() == "zip,x\n00123,1.50\n00124,2\n"
    assert second.read_text() == "zip,x\n00125,3\n"


def test_cells_are_concatenated_and_partitioned_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,x\n007,1.50\n")
    (tmp_path / "b.tsv").write_text("x\tzip\n2\tA1\n")
    both = FileRefs([ref(tmp_path / "a.csv"), ref(tmp_path / "b.tsv")])
    assert convert.concat(both, "csv").read_text() == "zip,x\n007,1.50\nA1,2\n"
    assert convert.concat(both, "jsonl").read_text() == '{"zip":"007","x":1.5}\n{"zip":"A1","x":2.0}\n'
    made = convert.partition(ref(tmp_path / "a.csv"), ["zip"], to="csv")
    assert {place: path.read_text() for place, path in made.items()} == {"zip=007/a.csv": "x\n1.50\n"}


def test_csv_is_assembled_by_the_options_of_convert_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("name|n|x\nDvořák|-|1\nb|2|2\n".encode("cp1250"))
    options = {
        "columns": ["n", "name"],
        "column_types": {"n": "float64"},
        "delimiter": "|",
        "encoding": "cp1250",
        "null_values": ["-"],
    }
    lines = '{"n":null,"name":"Dvořák"}\n{"n":2.0,"name":"b"}\n'
    assert convert.concat(FileRefs([ref(tmp_path / "a.csv")]), "jsonl", **options).read_text() == lines
    assert (
        "".join(part.read_text() for part in convert.split(ref(tmp_path / "a.csv"), 1, to="jsonl", **options)) == lines
    )
    made = convert.partition(ref(tmp_path / "a.csv"), ["name"], to="jsonl", **options)
    assert [path.read_text() for path in made.values()] == ['{"n":null}\n', '{"n":2.0}\n']


def test_a_table_without_rows_is_split_into_one_file_without_rows(tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    pd.DataFrame({"a": pd.Series([], dtype="int64")}).to_parquet(source)
    (only,) = convert.split(ref(source), 5)
    assert pd.read_parquet(only).empty


def test_a_text_whose_later_rows_contradict_the_first_is_split_as_the_wider_type(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_text("a\n" + "1\n" * 3_000_000 + "x\n")
    parts = convert.split(ref(source), 1_500_000, to="parquet")
    assert [len(pd.read_parquet(part)) for part in parts] == [1_500_000, 1_500_000, 1]
    assert pd.read_parquet(parts[0])["a"].iloc[0] == "1"


def test_rows_have_to_be_positive(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(InvalidArguments, match="rows"):
        convert.split(ref(tmp_path / "t.csv"), 0)


def test_tables_of_different_formats_are_put_below_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,v\na,1\nb,2\n")
    (tmp_path / "b.jsonl").write_text('{"v": 3.5, "k": "c"}\n')
    pd.DataFrame({"k": ["d"], "v": [4]}).to_parquet(tmp_path / "c.parquet")
    sources = [ref(tmp_path / name) for name in ("a.csv", "b.jsonl", "c.parquet")]
    joined = pd.read_parquet(convert.concat(sources, "parquet"))
    assert joined["k"].tolist() == ["a", "b", "c", "d"]
    assert joined["v"].tolist() == [1.0, 2.0, 3.5, 4.0]
    assert list(joined.columns) == ["k", "v"]


def test_tables_that_differ_in_their_columns_are_refused_with_the_difference(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,v\na,1\n")
    (tmp_path / "b.csv").write_text("k,w\na,1\n")
    with pytest.raises(InvalidArguments, match="differ in the columns v, w"):
        convert.concat([ref(tmp_path / "a.csv"), ref(tmp_path / "b.csv")], "csv")
    with pytest.raises(InvalidArguments, match="at least one"):
        convert.concat([], "csv")


def test_types_that_nothing_holds_together_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"k": [1]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"k": ["x"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InvalidArguments, match=r"'k' is int64 in a\.parquet"):
        convert.concat([ref(tmp_path / "a.parquet"), ref(tmp_path / "b.parquet")], "parquet")


def test_images_become_the_pages_of_a_document(tmp_path: Path) -> None:
    images = [Image.new("RGBA", (300, 200), (255, 0, 0, 0)), Image.new("L", (100, 150), 7), Image.new("CMYK", (50, 50))]
    tiff = convert.pages(images, "tiff", output=str(tmp_path / "out.tiff"))
    with Image.open(tiff) as document:
        assert document.n_frames == 3
        assert document.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        document.seek(1)
        assert document.size == (100, 150)
    pdf = convert.pages(images, resolution=100).read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 3


def test_files_become_pages_in_the_order_of_a_list_or_of_the_names_that_match_a_glob(tmp_path: Path, monkeypatch):
    spec = registry.get("convert.pages").spec
    files = Files(str(tmp_path / "store"), [str(tmp_path)])
    for number in (10, 1, 2):
        Image.new("L", (number, 7), number).save(tmp_path / f"{number:02}.png")
    monkeypatch.chdir(tmp_path)
    for given, widths in (
        ("*.png", [1, 2, 10]),
        (["10.png", Path("01.png")], [10, 1]),
        ([Image.new("L", (3, 3))], [3]),
    ):
        sent, _ = signature.bind(spec, [given, "tiff"], {}, lambda kind, each: arguments.to_wire(kind, each, files))
        bound, _ = signature.bind(spec, list(sent), {}, lambda kind, each: arguments.from_wire(kind, each, files))
        made = convert.pages(*bound)
        with Image.open(made) as document:
            assert [frame.width for frame in ImageSequence.Iterator(document)] == widths
        assert made.name == f"{'image' if widths == [3] else f'{widths[0]:02}'}.tiff"


def test_a_file_that_is_no_image_is_named_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    output = tmp_path / "out.pdf"
    with pytest.raises(InputError, match=r"notes\.png"):
        convert.pages([ref(tmp_path / "notes.png")], output=str(output))
    assert not output.exists()


def test_pages_need_images_and_a_resolution() -> None:
    with pytest.raises(InvalidArguments, match="at least one"):
        convert.pages([])
    with pytest.raises(InvalidArguments, match="resolution"):
        convert.pages([Image.new("L", (9, 9))], resolution=0)


def test_the_files_to_put_together_are_a_list_or_a_glob_and_each_has_to_be_readable(tmp_path: Path, monkeypatch):
    spec = registry.get("convert.concat").spec
    files = Files(str(tmp_path / "store"), [str(tmp_path)])
    for number in (10, 1, 2):
        (tmp_path / f"{number:02}.csv").write_text("x\n1\n")
    monkeypatch.chdir(tmp_path)

    def travelled(value: object, leaf: Callable[[str, object, Files], object]) -> list[str]:
        bound, _ = signature.bind(spec, [value, "csv"], {}, lambda kind, each: leaf(kind, each, files))
        return [each.name for each in bound[0]]

    assert travelled("*.csv", arguments.to_wire) == ["01.csv", "02.csv", "10.csv"]
    assert travelled(["10.csv", Path("01.csv")], arguments.to_wire) == ["10.csv", "01.csv"]
    assert travelled([ref(tmp_path / "02.csv")], arguments.from_wire) == ["02.csv"]
    with pytest.raises(PathRefused):
        travelled(["/etc/passwd"], arguments.from_wire)
    for leaf in (arguments.to_wire, arguments.from_wire):
        with pytest.raises(InvalidArguments, match="at least one"):
            travelled([], leaf)
        with pytest.raises(InvalidArguments, match=r"takes files \(a list of paths or FileRefs, or a glob\), got"):
            travelled(3, leaf)
