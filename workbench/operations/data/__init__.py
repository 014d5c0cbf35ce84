"""The data family. Parameters and words are pandas's (https://pandas.pydata.org/docs), and so are the results."""

from workbench.operations.data import derived, groups, rows, summaries

__all__ = ["derived", "groups", "rows", "summaries"]
