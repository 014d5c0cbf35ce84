"""What the data operations share: the columns that are meant, or an error that names those that come close."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from workbench.core.errors import InvalidArguments

if TYPE_CHECKING:
    from pandas import DataFrame


Columns = str | list[str]


def known(data: DataFrame, columns: Columns) -> list[str]:
    """Return the columns as a list, if all of them are there."""
    wanted = [columns] if isinstance(columns, str) else list(columns)
    if not wanted:
        raise InvalidArguments("at least one column has to be named")
    for column in wanted:
        if column not in data.columns:
            names = [str(name) for name in data.columns]
            close = difflib.get_close_matches(str(column), names, n=3)
            meant = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Columns: {', '.join(names[:20])}"
            raise InvalidArguments(f"there is no column {column!r}. {meant}")
    return wanted
