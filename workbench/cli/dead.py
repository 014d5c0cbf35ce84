"""`workbench dead`: look at dead letters, send them again, remove them."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.common import (
    Directory,
    Json,
    Url,
    ask,
    print_json,
    print_table,
    say,
    time_text,
)
from workbench.cli.main import app

dead = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay and purge them.")
app.add_typer(dead, name="dead", rich_help_panel="Its tasks")

SomeIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="The ids of their tasks.", show_default=False)]
Operation = Annotated[str | None, typer.Option(help="Only those of this operation.")]
ReasonType = Annotated[str | None, typer.Option(help="Only those that died of this, such as OutOfAttempts.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds for all of it.")]


@dead.command("list")
def list_letters(
    url: Url = None,
    directory: Directory = None,
    operation: Operation = None,
    reason_type: ReasonType = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, the oldest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List dead letters, the oldest first."""
    letters = ask(
        url,
        directory,
        lambda client: client.dead_letters(limit, operation=operation, reason_type=reason_type),
    )
    if as_json:
        print_json(letters)
        return
    if not letters:
        say("There are no dead letters" + (" like that." if operation or reason_type else "."))
        return
    print_table(
        ("task", "operation", "died of", "when", "worker", "attempts", "reason"),
        [
            (
                letter.task_id or letter.message_id,
                letter.operation or letter.kind,
                letter.reason_type,
                time_text(letter.at),
                letter.worker,
                str(letter.attempts or ""),
                letter.reason.partition("\n")[0][:200],
            )
            for letter in letters
        ],
    )


@dead.command("show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The id of its task.", show_default=False)],
    url: Url = None,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Show one dead letter. `workbench show` has the record and the attempts of its task."""
    letter = ask(url, directory, lambda client: client.dead_letter(letter_id))
    if as_json:
        print_json(letter)
        return
    for name, value in (
        ("task", letter.task_id),
        ("message", letter.message_id),
        ("holds", letter.kind if letter.kind != "other" else "neither a task nor an outcome: it can't be sent again"),
        ("operation", letter.operation),
        ("routing key", letter.routing_key),
        ("died of", letter.reason_type),
        ("reason", letter.reason),
        ("when", time_text(letter.at)),
        ("worker", letter.worker),
        ("attempts", str(letter.attempts or "")),
        ("sent again", f"{letter.replay} times" if letter.replay else ""),
        ("size", f"{letter.size:,} bytes"),
        ("deaths", letter.deaths),
    ):
        if value:
            say(f"{name:<13}{value}")


@dead.command("replay")
def replay_letters(
    ids: SomeIds = None,
    url: Url = None,
    directory: Directory = None,
    everything: All = False,
    operation: Operation = None,
    reason_type: ReasonType = None,
    timeout: Timeout = 120.0,
) -> None:
    """Send dead letters again: by id, all of them, or those that match."""
    _check_choice(ids, everything, operation, reason_type)
    handles = ask(
        url,
        directory,
        lambda client: client.replay(
            ids or None, all=everything, operation=operation, reason_type=reason_type, timeout=timeout
        ),
    )
    say(f"{len(handles)} sent again.")
    for handle in handles[:20]:
        say(f"  {handle.id} {handle.operation}")
    if len(handles) > 20:
        say(f"  and {len(handles) - 20:,} more")


@dead.command("purge")
def purge_letters(
    ids: SomeIds = None,
    url: Url = None,
    directory: Directory = None,
    everything: All = False,
    operation: Operation = None,
    reason_type: ReasonType = None,
    timeout: Timeout = 120.0,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove dead letters for good: by id, all of them, or those that match. Their tasks stay on record."""
    _check_choice(ids, everything, operation, reason_type)
    which = f"{len(ids)} dead letters" if ids else "all dead letters" + _like(operation, reason_type)
    if not yes:
        typer.confirm(f"Remove {which} for good?", abort=True)
    purged = ask(
        url,
        directory,
        lambda client: client.purge_dead(
            ids or None, all=everything, operation=operation, reason_type=reason_type, timeout=timeout
        ),
    )
    say(f"{purged} removed.")


def _like(operation: str | None, reason_type: str | None) -> str:
    of = f" of {operation}" if operation else ""
    return of + (f" that died of {reason_type}" if reason_type else "")


def _check_choice(ids: list[str] | None, everything: bool, operation: str | None, reason_type: str | None) -> None:
    if bool(ids) + (everything or operation is not None or reason_type is not None) != 1:
        raise typer.BadParameter("name ids, or --all, or --operation and --reason-type")
