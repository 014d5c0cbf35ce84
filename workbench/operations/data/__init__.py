"""The data family. Parameters and words are pandas's (https://pandas.pydata.org/docs), and so are the results."""

from workbench.operations.data import derived, gaps, groups, joins, rows, shapes, statistics, summaries, times

__all__ = ["derived", "gaps", "groups", "joins", "rows", "shapes", "statistics", "summaries", "times"]
