"""The command itself, its own options, and how an error of ours ends it: with one clear message."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from workbench import __version__
from workbench.cli.common import err, say
from workbench.core.errors import WorkbenchError
from workbench.core.texts import plain

app = typer.Typer(
    add_completion=False,
    name="workbench",
    help="Submit work from a notebook; real workers do it over RabbitMQ; real objects come back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except WorkbenchError as error:
        err.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        err.print(plain(str(error)), markup=False, highlight=False)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass
