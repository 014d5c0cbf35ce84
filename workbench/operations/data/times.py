"""Data operations along time, or along the order of rows: periods and moving windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data.columns import Columns, distinct, kind, known, numeric, refusing, room, single
from workbench.operations.data.groups import check_aggregations
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame

Statistic = Literal["mean", "sum", "min", "max", "count", "median", "std", "var", "skew", "kurt"]


@operation("data.resample")
def resample(
    data: DataFrame,
    rule: str,
    agg: dict[str, str | list[str]],
    *,
    on: str | None = None,
    closed: Literal["left", "right"] | None = None,
    label: Literal["left", "right"] | None = None,
) -> DataFrame:
    """Group rows by periods of time and aggregate columns, as `data.resample(rule).agg(agg)`.

    Parameters
    ----------
    data
        A table with a column, or an index, of times.
    rule
        The period, by pandas's names: `"15min"`, `"1h"`, `"D"`, `"W"`, `"MS"` …
    agg
        For each column what to compute, as in `data.groupby`.
    on
        The column of times; None for the index.
    closed
        Which end of a period belongs to it; None for pandas's default.
    label
        Which end it is named by; None for pandas's default.

    Returns
    -------
    pandas.DataFrame
        A row for each period from the first time to the last, also where no row falls in it.

    Raises
    ------
    InvalidArguments
        If a column isn't known or isn't one of times, or the rule isn't one, or makes too many periods.

    Examples
    --------
    >>> import pandas as pd
    >>> flights = pd.DataFrame({"at": pd.to_datetime(["2013-01-01", "2013-01-31", "2013-02-01"]), "delay": [2.0, 4, 9]})
    >>> resample(flights, "MS", {"delay": "mean"}, on="at")["delay"].tolist()
    [3.0, 9.0]
    """
    distinct(data)
    single(data, list(agg))
    check_aggregations(agg)
    times: Any = data[single(data, on)[0]] if on is not None else data.index
    if kind(times) not in ("time", "zoned", "duration"):
        where = f"column {on!r}" if on is not None else "the index"
        raise InvalidArguments(f"{where} holds {times.dtype}, not times: name a column in on, or see data.astype")
    width = sum(1 if isinstance(functions, str) else len(functions) for functions in agg.values())
    room(_periods(times, rule), width, "Take longer periods")
    with refusing("the rows can't be grouped so"):
        periods: Any = data.resample(rule, on=on, closed=closed, label=label)
        resampled: DataFrame = periods.agg(agg)
        return resampled


def _periods(times: Any, rule: str) -> int:
    """Return about how many periods a rule makes: pandas would make them all, whatever memory that takes."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    try:
        offset = to_offset(rule)
        if offset is None:
            raise ValueError("it is empty")
        start = pd.Timestamp("2000-01-01")
        step = (start + offset * 10 - start) / 10
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArguments(f"rule: {rule!r} is not a period of time: {error}. Take 1h, D, W, MS …") from error
    if step <= pd.Timedelta(0):
        raise InvalidArguments(f"rule: {rule!r} is not a period of time: it has to be longer than zero")
    present = times.dropna()
    return int((present.max() - present.min()) / step) + 1 if len(present) else 0


@operation("data.rolling")
def rolling(
    data: DataFrame,
    window: int | str,
    func: Statistic = "mean",
    *,
    columns: Columns | None = None,
    on: str | None = None,
    min_periods: int | None = None,
    center: bool = False,
    closed: Literal["right", "left", "both", "neither"] | None = None,
) -> DataFrame:
    """Compute a statistic over a window that moves along the rows, as `data.rolling(window)` does.

    Parameters
    ----------
    data
        Any table, its rows in order.
    window
        How many rows, or how much time by pandas's names: `"7D"`, `"90min"`.
    func
        The statistic.
    columns
        Of which columns; None for all that hold numbers.
    on
        For a window of time: the column of times, in order; None for the index.
    min_periods
        Values a window must hold, or its result is missing. None for all rows of it, or for one in a window of time.
    center
        Name a window by its middle row, and not by its last.
    closed
        Which ends belong to a window; None for pandas's default.

    Returns
    -------
    pandas.DataFrame
        These columns, and `on`, with a row for each row of the table.

    Raises
    ------
    InvalidArguments
        If a column isn't known or doesn't hold numbers, or the window doesn't fit the table.

    Examples
    --------
    >>> import pandas as pd
    >>> rolling(pd.DataFrame({"a": [1, 3, 5]}), 2)["a"].tolist()
    [nan, 2.0, 4.0]
    """
    if isinstance(window, int) and window < 1:
        raise InvalidArguments(f"window takes a number of rows above zero, or a text such as '7D', got {window}")
    if isinstance(window, int) and on is not None:
        raise InvalidArguments("on goes with a window of time, such as '7D'")
    chosen = numeric(data, columns)
    if on is not None:
        single(data, on)
        chosen = [*(name for name in known(data, list(data.columns)) if name in chosen or name == on)]
    with refusing(f"a window of {window!r} doesn't fit"):
        windows: Any = data[chosen].rolling(window, on=on, min_periods=min_periods, center=center, closed=closed)
        rolled: DataFrame = getattr(windows, func)()
        return rolled
