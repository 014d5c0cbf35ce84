"""Operations on tables that write into a file: whole or not at all, and over another one only if that may be."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import workbench.operations.data  # noqa: F401 - registers them
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import datasets, registry
from workbench.operations.data import duck

ARGUMENTS = {
    "data.assign": lambda data: ((data, {"c": "a * 2"}), {}),
    "data.astype": lambda data: ((data, {"b": "str"}), {}),
    "data.concat": lambda data: (([data, data],), {}),
    "data.dropna": lambda data: ((data,), {}),
    "data.rename": lambda data: ((data, {"b": "c"}), {}),
    "data.sample": lambda data: ((data, 2), {}),
    "data.drop_duplicates": lambda data: ((data,), {}),
    "data.fillna": lambda data: ((data, {"b": "?"}), {}),
    "data.filter": lambda data: ((data, [("a", ">", 0)]), {}),
    "data.head": lambda data: ((data, 2), {}),
    "data.merge": lambda data: ((data, pd.DataFrame({"a": [1, 2]})), {}),
    "data.select": lambda data: ((data, ["a"]), {}),
    "data.sort": lambda data: ((data, "a"), {}),
    "data.sql": lambda data: (("SELECT a FROM t ORDER BY a",), {"t": data}),
}
"""What each of them is called with."""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "source.csv"
    path.write_text("a,b\n2,x\n1,y\n")
    return str(path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "out"
    directory.mkdir()
    return directory / "result.parquet"


def called(name: str, data: object, **options: object) -> object:
    arguments, keywords = ARGUMENTS[name](data)
    return registry.get(name).function(*arguments, **keywords, **options)


def test_each_operation_with_an_output_file_can_be_told_not_to_replace_one():
    taken = {spec.name: {parameter.name for parameter in spec.parameters} for spec in registry.specs(["data"])}
    writing = {name: parameters for name, parameters in taken.items() if "output" in parameters}
    assert set(writing) == set(ARGUMENTS)
    assert all("overwrite" in parameters for parameters in writing.values())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_file_that_is_there_is_replaced_unless_that_is_an_error(name: str, source: str, target: Path):
    assert called(name, source, output=str(target), overwrite="error") == target
    written = target.read_bytes()
    assert 1 in pd.read_parquet(target)["a"].tolist()

    with pytest.raises(InvalidArguments, match=r"result\.parquet is there already: pass overwrite='replace'"):
        called(name, source, output=str(target), overwrite="error")
    assert target.read_bytes() == written

    target.write_text("old")
    assert called(name, source, output=str(target)) == target
    assert target.read_bytes() == written
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_file_that_must_not_be_replaced_is_refused_before_anything_is_read(
    name: str, source: str, target: Path, monkeypatch: pytest.MonkeyPatch
):
    target.write_text("old")
    monkeypatch.setattr(datasets.Dataset, "batches", lambda *_, **__: pytest.fail("it was read"))
    monkeypatch.setattr(duck, "opened", lambda **_: pytest.fail("DuckDB was opened"))
    for output, options in ((target, {"overwrite": "error"}), (target.parent, {}), (target / "below", {})):
        with pytest.raises(InvalidArguments, match="output"):
            called(name, source, output=str(output), **options)
    with pytest.raises(InvalidArguments, match="overwrite"):
        called(name, source, output=str(target), overwrite="append")
    assert target.read_text() == "old"


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "data.head"])  # which doesn't read so far
def test_what_fails_in_the_middle_leaves_nothing_behind(name: str, tmp_path: Path, target: Path):
    damaged = tmp_path / "damaged.csv"
    damaged.write_text("a,b\n" + "1,x\n" * 600_000 + "1,x,y\n")

    with pytest.raises(InputError):
        called(name, str(damaged), output=str(target))
    assert list(target.parent.iterdir()) == []

    target.write_text("old")
    with pytest.raises(InputError):
        called(name, str(damaged), output=str(target))
    assert list(target.parent.iterdir()) == [target]
    assert target.read_text() == "old"
