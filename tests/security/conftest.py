"""A root with a table in it, a secret beside it, and who holds paths against that root."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.values.files import Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "a.csv").write_text("x\n1\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.csv").write_text("password\nhunter2\n")
    return tmp_path / "root"


@pytest.fixture
def files(tmp_path: Path, root: Path) -> Files:
    return Files(str(tmp_path / "store"), [str(root)])
