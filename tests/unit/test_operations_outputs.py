"""Conversions and operations on images that write a file where they are told to: replaced or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from workbench.core.errors import InvalidArguments
from workbench.operations import context, convert, registry
from workbench.operations.image import animation
from workbench.operations.image import files as pictures
from workbench.values.refs import FileRef

TABLE = pd.DataFrame({"a": [3, 1, 1]})
PICTURE = Image.linear_gradient("L")

CALLS: dict[str, Callable[[dict[str, FileRef], dict[str, Any]], object]] = {
    "convert.concat": lambda files, to: convert.concat([files["csv"]], "parquet", **to),
    "convert.image": lambda files, to: convert.image(PICTURE, "png", **to),
    "convert.pages": lambda files, to: convert.pages([PICTURE], **to),
    "convert.table": lambda files, to: convert.table(files["csv"], "parquet", **to),
    "image.animate": lambda files, to: animation.animate([PICTURE, Image.new("L", (256, 256))], **to),
    "image.optimize": lambda files, to: pictures.optimize(PICTURE, 10_000, **to),
    "image.strip_metadata": lambda files, to: pictures.strip_metadata(files["png"], **to),
}
FOLDERS = {"convert.batch", "convert.partition"}  # these write into directories


@pytest.fixture
def files(tmp_path: Path) -> dict[str, FileRef]:
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    PICTURE.save(tmp_path / "a.png")
    return {each: FileRef(str(tmp_path / f"a.{each}"), f"a.{each}") for each in ("csv", "png")}


def test_all_operations_that_write_where_they_are_told_to_are_here() -> None:
    registry.load()
    specs = registry.specs(("image", "convert"))
    writing = {spec.name for spec in specs if any(parameter.name == "output" for parameter in spec.parameters)}
    assert writing == CALLS.keys() | FOLDERS


@pytest.mark.parametrize("name", CALLS)
def test_a_file_that_is_there_is_replaced_or_refused(name: str, files: dict[str, FileRef], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "result"
    target.write_text("old")
    with context.attempt(tmp_path / "first"), pytest.raises(InvalidArguments, match="is there already"):
        CALLS[name](files, {"output": str(target), "overwrite": "error"})
    assert target.read_text() == "old"
    with context.attempt(tmp_path / "second"):
        assert CALLS[name](files, {"output": str(target)}) == target
    assert target.read_bytes()[:3] != b"old"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", CALLS)
def test_a_file_that_is_not_there_is_written(name: str, files: dict[str, FileRef], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "result"
    with context.attempt(tmp_path / "task"):
        assert CALLS[name](files, {"output": str(target), "overwrite": "error"}) == target
    assert target.stat().st_size > 50
    assert list(target.parent.iterdir()) == [target]
