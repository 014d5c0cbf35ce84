"""The data family. Parameters and words are pandas's (https://pandas.pydata.org/docs), and so are the results."""

from workbench.operations.data import groups, rows, summaries

__all__ = ["groups", "rows", "summaries"]
