"""The table of faults in docs/reliability.md: rows that tests measured, written at the end of `make faults`."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import msgspec

BEGIN = "<!-- faults: begin -->"
END = "<!-- faults: end -->"
HEAD = ("fault", "what was done", "tasks", "lost", "executed twice", "recovered after")
PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"


class Row(msgspec.Struct, frozen=True):
    """What a test saw of one fault."""

    fault: str
    done: str
    tasks: int
    lost: int
    twice: int
    recovered: float | None = None  # seconds until the first task that was begun after it had ended

    def cells(self) -> tuple[str, ...]:
        """Return the row's cells."""
        recovered = "" if self.recovered is None else f"{self.recovered:.1f} s"
        return (self.fault, self.done, f"{self.tasks:,}", f"{self.lost:,}", f"{self.twice:,}", recovered)


class Report:
    """Collects rows; those of one test count once it has passed."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}  # by the test's id
        self._failed: set[str] = set()

    def recorder(self, test: str) -> Recorder:
        """Return what a test records with."""
        return Recorder(self._rows.setdefault(test, []))

    def failed(self, test: str) -> None:
        """Note that a test failed: its rows say nothing."""
        self._failed.add(test)

    def rows(self) -> list[Row]:
        """Return the rows of the tests that passed, in the order they ran."""
        return [row for test, rows in self._rows.items() if test not in self._failed for row in rows]

    def failures(self) -> list[str]:
        """Return the tests that failed."""
        return sorted(self._failed)

    def write(self, rabbitmq: str, page: Path = PAGE) -> None:
        """Put the table into the page, in place of the one that is there; rows of other faults stay as they were."""
        text = page.read_text()
        before, _, rest = text.partition(BEGIN)
        old, _, after = rest.partition(END)
        cells = merge(read(old), (row.cells() for row in self.rows()))
        measured = f"Measured by `make faults` on {date.today():%d %B %Y}"
        said = f"{measured}, with RabbitMQ {rabbitmq} and Python {platform.python_version()}."
        table = [said, "", _line(HEAD), _line("---" for _ in HEAD), *map(_line, cells)]
        page.write_text(f"{before}{BEGIN}\n" + "\n".join(table) + f"\n{END}{after}")


class Recorder:
    """What a test records its rows with."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def add(self, fault: str, done: str, tasks: int, lost: int, twice: int, recovered: float | None) -> None:
        """Record what became of the tasks of one scenario."""
        self._rows.append(Row(fault, done, tasks, lost, twice, recovered))


def read(table: str) -> list[tuple[str, ...]]:
    """Return the cells of a table's rows."""
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def merge(old: Iterable[tuple[str, ...]], new: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the old rows with the new ones in their places; what is new altogether comes last."""
    rows = {row[:2]: row for row in old}
    rows.update({row[:2]: row for row in new})
    return list(rows.values())


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
