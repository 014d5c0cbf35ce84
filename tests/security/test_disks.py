"""A full disk: whoever writes where it lies is told so, by its place, and what was half written is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.faults.disks import Disk, why_not
from workbench.core.errors import InputTooLarge, OutputFailed, StoreError
from workbench.operations import context, registry
from workbench.values.refs import FileRef
from workbench.worker import failures

registry.load()
TABLES = ["csv", "tsv", "jsonl", "json", "parquet", "feather", "arrow", "orc", "xlsx"]
IMAGES = ["png", "tiff", "pdf", "gif", "webp", "bmp", "avif", "jpeg"]


@pytest.fixture(scope="module", autouse=True)
def _mountable(tmp_path_factory: pytest.TempPathFactory) -> None:
    if reason := why_not(tmp_path_factory.mktemp("mountable") / "disk"):
        pytest.skip(reason)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path / "disk", 8 << 20) as disk:
        yield disk


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and a picture of which every format makes more than a hundred kilobytes."""
    directory = tmp_path_factory.mktemp("sources")
    texts = [f"{number * 2654435761 % 2**32:08x}{number * 40503 % 65536:04x}" for number in range(50_000)]
    pd.DataFrame({"x": range(50_000), "s": texts}).to_csv(directory / "a.csv", index=False)
    Image.effect_noise((600, 600), 90).convert("RGB").save(directory / "a.png")
    return directory


def made(to: str, sources: Path, output: Path | None) -> None:
    operation, name = ("convert.table", "a.csv") if to in TABLES else ("convert.image", "a.png")
    kwargs = {} if output is None else {"output": str(output)}
    registry.get(operation).function(FileRef(str(sources / name), name), to, **kwargs)


@pytest.mark.parametrize("to", [*TABLES, *IMAGES])
def test_a_full_disk_where_the_output_goes_is_told_and_what_was_there_stays(
    to: str, sources: Path, disk: Disk, tmp_path: Path
) -> None:
    output = disk.path / f"new.{to}"
    output.write_text("old")
    words = (
        rf"^output: {output} can't be written, and nothing of it is left: No space left on device \(\d.* free\)\. "
        rf"Make room in {disk.path}, or name a place on another disk$"
    )
    with (
        disk.full(but=80 << 10),
        context.attempt(tmp_path / "scratch"),
        pytest.raises(OutputFailed, match=words) as caught,
    ):
        made(to, sources, output)
    assert [path.name for path in disk.path.iterdir()] == [output.name]
    assert output.read_text() == "old"
    failure = failures.describe(caught.value)
    assert (failure.type, failure.transient) == ("OutputFailed", False)


@pytest.mark.parametrize("to", ["csv", "parquet", "xlsx", "png", "tiff"])
def test_a_full_disk_where_the_store_lies_is_told_and_may_pass(to: str, sources: Path, disk: Disk) -> None:
    with (
        disk.full(but=80 << 10),
        context.attempt(disk.path / "scratch"),
        pytest.raises(StoreError, match=rf"^can't write in {disk.path}/scratch, .*No space left on device") as caught,
    ):
        made(to, sources, None)
    assert not [path.name for path in disk.path.rglob("*") if path.suffix == ".part" or path.stem == "a"]
    assert failures.describe(caught.value).transient


def test_a_disk_that_is_read_only_is_told(sources: Path, disk: Disk, tmp_path: Path) -> None:
    with (
        disk.read_only(),
        context.attempt(tmp_path / "scratch"),
        pytest.raises(OutputFailed, match=rf"output: {disk.path}/a.csv can't be written, .*Read-only file system"),
    ):
        made("csv", sources, disk.path / "a.csv")


@pytest.mark.parametrize("what", ["convert.batch", "convert.partition"])
def test_a_full_disk_is_told_where_several_files_are_written(
    what: str, sources: Path, disk: Disk, tmp_path: Path
) -> None:
    with disk.full(but=80 << 10), context.attempt(tmp_path / "scratch"):
        if what == "convert.batch":
            rows = registry.get(what).function(str(sources), str(disk.path / "out"), "csv", pattern="*.csv")
            assert rows["status"].tolist() == ["failed"]
            assert "No space left on device" in rows["error"][0]
        else:
            (tmp_path / "a.csv").write_text((sources / "a.csv").read_text().replace("x,s", "s,x"))
            source = FileRef(str(tmp_path / "a.csv"), "a.csv")
            frame = pd.read_csv(sources / "a.csv").assign(k="one")
            frame.to_csv(tmp_path / "a.csv", index=False)
            with pytest.raises(OutputFailed, match=rf"output: {disk.path}/out/k=one/a\.csv can't be written"):
                registry.get(what).function(source, ["k"], to="csv", output=str(disk.path / "out"))
        assert not [path for path in (disk.path / "out").rglob("*") if path.is_file()]


QUERY = "SELECT i, hash(i) AS h FROM range(6000000) r(i) ORDER BY h"


def spilt(directory: Path) -> None:
    with context.attempt(directory / "scratch", None, context.Attempt(memory_limit=256 << 20)):
        registry.get("data.sql").function(QUERY, t=pd.DataFrame({"x": [1]}))


def test_a_query_that_fills_its_share_of_a_disk_that_is_else_free_would_do_so_again(tmp_path: Path) -> None:
    with Disk(tmp_path / "disk", 32 << 20) as disk:
        with pytest.raises(
            InputTooLarge,
            match=rf"no room on the disk for what doesn't fit in memory: .* A task may fill half of what is free in "
            rf"{disk.path}/scratch, now \d.*: filter or aggregate first",
        ) as caught:
            spilt(disk.path)
        assert not failures.describe(caught.value).transient
        assert not [path for path in disk.path.rglob("*") if path.is_file()]


def test_a_query_that_finds_a_disk_which_others_have_filled_may_be_tried_again(tmp_path: Path) -> None:
    with Disk(tmp_path / "disk", 64 << 20) as disk, disk.full(but=20 << 20):
        with pytest.raises(
            StoreError, match=rf"no room on the disk for what doesn't fit in memory: .* free in {disk.path}/scratch\)$"
        ) as caught:
            spilt(disk.path)
        assert failures.describe(caught.value).transient
