"""A producer in a process of its own, to be killed: `python -m tests.faults.producing MARKS ACCEPTED`.

Each number on its standard input makes it map over so many further numbers; it appends to the file ACCEPTED, once `map`
has returned, each number and its task's id.
"""

from __future__ import annotations

import sys
from pathlib import Path

import workbench as wb


def main(marks: str, accepted: Path) -> None:
    first = 0
    with wb.Producer(confirm_timeout=300.0) as producer, accepted.open("a") as file:
        print("ready", flush=True)
        for line in sys.stdin:
            numbers = range(first, first + int(line))
            first = numbers.stop
            tasks = producer.map("text.number", numbers, directory=marks)
            file.writelines(f"{number} {task.id}\n" for number, task in zip(numbers, tasks, strict=True))
            file.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
