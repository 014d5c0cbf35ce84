"""What the documentation says of itself, of the command line and of the tests is so."""

from __future__ import annotations

import argparse
import doctest
import importlib
import pkgutil
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import workbench.operations
from workbench import cli
from workbench.operations import registry

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGE = workbench.operations.__name__ + "."
MODULES = sorted(
    module.name.removeprefix(PACKAGE) for module in pkgutil.walk_packages(workbench.operations.__path__, PACKAGE)
)


@pytest.fixture(autouse=True)
def own_operations() -> Iterator[None]:
    """Forget what the examples register."""
    registry.load()
    known = dict(registry._operations)
    yield
    registry._operations.clear()
    registry._operations.update(known)


def by_name(path: Path) -> str:
    return path.name


def anchors(page: Path) -> set[str]:
    """Return a page's headings as the links that lead to them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """Yield the words after `workbench` of each command in a page: in inline code, and in blocks for a shell."""
    text = page.read_text()
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line for kind, block in blocks if kind in ("sh", "ini") for line in block.splitlines()]
    for line in [*inline, *lines]:
        found = re.match(r"\s*(?:ExecStart=\S*/|(?:[A-Z_]+=\S+ )*)workbench ([^#]*)", line)
        if found:
            yield tuple(found[1].split())


def test_the_catalogue_of_operations_is_up_to_date() -> None:
    rendered = runpy.run_path(str(ROOT / "scripts" / "write_operations"))["render"]()
    written = (ROOT / "docs" / "operations.md").read_text()
    assert written == rendered, "run .venv/bin/python scripts/write_operations"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if linked.suffix == ".png":
            assert linked.parent == ROOT / "docs" / "images", target
        else:
            assert linked.is_file(), target
            assert not anchor or anchor in anchors(linked), target


def options_of_panel() -> set[str]:
    """What `panel serve` takes, and so the dashboard does."""
    command = pytest.importorskip("panel.command.serve")
    parser = argparse.ArgumentParser()
    command.Serve(parser=parser)
    return {option for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_command_and_option_exists(page: Path) -> None:
    known = typer.main.get_command(cli.app).commands
    for name, *words in commands(page):
        if name.startswith("--"):
            continue
        assert name in known, f"workbench {name}"
        command = known[name]
        if words and hasattr(command, "commands"):
            name = f"{name} {words[0]}"
            assert words[0] in command.commands, f"workbench {name}"
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        if name == "dashboard":
            options |= options_of_panel()
        for word in words:
            assert not word.startswith("--") or word in options, f"workbench {name} {word}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert f"def {name}(" in code, name


def test_commands_are_found_in_the_pages() -> None:
    assert {name for page in PAGES for name, *_ in commands(page)} >= {"up", "down", "status", "worker", "tracker"}


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_operations_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"workbench.operations.{module}")).failed == 0
