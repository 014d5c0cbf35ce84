"""The data family. Parameters and words are pandas's (https://pandas.pydata.org/docs), and so are the results."""

from workbench.operations.data import (
    charts,
    comparing,
    derived,
    filters,
    gaps,
    groups,
    joins,
    pseudonyms,
    rows,
    schemas,
    shapes,
    sql,
    statistics,
    summaries,
    times,
)

__all__ = [
    "charts",
    "comparing",
    "derived",
    "filters",
    "gaps",
    "groups",
    "joins",
    "pseudonyms",
    "rows",
    "schemas",
    "shapes",
    "sql",
    "statistics",
    "summaries",
    "times",
]
