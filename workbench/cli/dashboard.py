"""`workbench dashboard`: serve the live dashboard."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import Directory, Url, log, say, settings_of
from workbench.cli.main import app
from workbench.core.errors import WorkbenchError
from workbench.core.settings import DASHBOARD_READ_ONLY, DASHBOARD_USERS


@app.command(
    rich_help_panel="Its parts, on any machine",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def dashboard(
    context: typer.Context,
    url: Url = None,
    directory: Directory = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0 for any free port.")] = 5006,
    address: Annotated[str, typer.Option(help="The interface it listens on: by default only this machine.")] = (
        "127.0.0.1"
    ),
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Leave out everything that changes something.")
    ] = False,
    allow_user: Annotated[
        list[str] | None,
        typer.Option(help="Who may see it, of those who can log in; may be repeated. By default they all may."),
    ] = None,
) -> None:
    """Serve the live dashboard. Further options are those of `panel serve`, as --prefix and --basic-auth."""
    if importlib.util.find_spec("panel") is None:
        raise WorkbenchError("the dashboard needs Panel: pip install 'workbench[dashboard]'")
    from workbench.dashboard import serving

    log(quiet=True)
    if url is not None or directory is not None:  # what is running now, or will be by then: the app looks itself
        for name, value in _where(url, directory).items():
            os.environ[name] = value
    if read_only:
        os.environ[DASHBOARD_READ_ONLY] = "1"
    if allow_user:
        if not all(name.strip() for name in allow_user):
            raise WorkbenchError("--allow-user takes a name, and got none: everybody would be let in")
        os.environ[DASHBOARD_USERS] = ",".join(allow_user)
    if until_eof:
        serving.end_with_input()
    serving.serve(address, port, context.args, say)


def _where(url: str | None, directory: Path | None) -> dict[str, str]:
    if directory is not None:
        os.environ.pop("WORKBENCH_BROKER_URL", None)
        return {"WORKBENCH_DIRECTORY": str(directory.absolute())}
    return {"WORKBENCH_BROKER_URL": settings_of(url, None).broker_url}
