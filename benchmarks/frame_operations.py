"""What the benchmark of frames runs."""

from __future__ import annotations

from pandas import DataFrame

import workbench as wb


@wb.operation("bench.touch")
def touch(data: DataFrame, number: int) -> DataFrame:
    """Return the frame with one cell changed, so that its bytes haven't been in the store before."""
    data.iloc[0, 0] = number
    return data
