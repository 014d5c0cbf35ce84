"""Data operations that compute statistics of columns of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import large_descriptions
from workbench.operations.data.columns import Columns, distinct, new_name, numeric, refusing, shown, single
from workbench.operations.data.large_descriptions import Interpolation
from workbench.operations.datasets import Dataset, too_large
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame


@operation("data.quantile")
def quantile(
    data: Dataset,
    q: float | list[float] = 0.5,
    *,
    columns: Columns | None = None,
    interpolation: Interpolation = "linear",
) -> DataFrame:
    """Compute quantiles of columns of numbers, as `data.quantile` does.

    Parameters
    ----------
    data
        A table of any size. What doesn't fit in memory is sorted on disk, and so is exact all the same.
    q
        One or several, from 0 to 1.
    columns
        Of which; None for all that hold numbers.
    interpolation
        What stands for a quantile between two values.

    Returns
    -------
    pandas.DataFrame
        A row for each quantile, named by it, and a column for each column.

    Raises
    ------
    InvalidArguments
        If a column doesn't hold numbers, or a quantile isn't from 0 to 1.

    Examples
    --------
    >>> import pandas as pd
    >>> quantile(pd.DataFrame({"a": [1, 2, 3, 4]}), [0.25, 0.5])["a"].tolist()
    [1.75, 2.5]
    """
    wanted = q if isinstance(q, list) else [q]
    if not wanted or not all(0 <= each <= 1 for each in wanted):
        raise InvalidArguments(f"q takes numbers from 0 to 1, got {q!r}")
    data = Dataset.of(data)
    if too_large("duckdb", data):
        return large_descriptions.quantile(data, wanted, numeric(data.blank, columns), interpolation)
    frame = data.frame()
    with refusing("the quantiles can't be computed"):
        found: DataFrame = frame[numeric(frame, columns)].quantile(wanted, interpolation=interpolation)
        return found


@operation("data.corr")
def corr(
    data: DataFrame,
    columns: Columns | None = None,
    *,
    method: Literal["pearson", "spearman"] = "pearson",
    min_periods: int = 1,
) -> DataFrame:
    """Correlate columns of numbers with each other, as `data.corr` does.

    Parameters
    ----------
    data
        Any table.
    columns
        Which; None for all that hold numbers.
    method
        Of the values, or of their ranks.
    min_periods
        Rows in which both values must be there, or a correlation is missing.

    Returns
    -------
    pandas.DataFrame
        A row and a column for each column.

    Examples
    --------
    >>> import pandas as pd
    >>> float(corr(pd.DataFrame({"a": [1, 2, 3], "b": [3, 2, 1]})).loc["a", "b"].round(6))
    -1.0
    """
    with refusing("the columns can't be correlated"):
        return data[numeric(data, columns)].corr(method=method, min_periods=min_periods)


@operation("data.outliers")
def outliers(
    data: DataFrame,
    columns: Columns | None = None,
    *,
    method: Literal["iqr", "zscore", "mad"] = "iqr",
    threshold: float | None = None,
    mask: bool = False,
    into: str = "outlier",
) -> DataFrame:
    """Find rows with values far from the others of their column.

    Parameters
    ----------
    data
        Any table.
    columns
        Where to look; None for all that hold numbers. A missing value is no outlier.
    method
        `"iqr"`: beyond the quartiles by more than `threshold` (1.5) times their distance (Tukey's fences).
        `"zscore"`: further from the mean than `threshold` (3) standard deviations.
        `"mad"`: 0.6745 times the distance from the median is more than `threshold` (3.5) times the median of all such
        distances (Iglewicz and Hoaglin's modified z-score).
    threshold
        How far is far; None for the method's own.
    mask
        Return all rows, with a column that tells whether each is an outlier, instead of the outliers.
    into
        The column's name. Among the outliers it holds the names of the columns in which a row is one.

    Returns
    -------
    pandas.DataFrame
        The rows found, with their index, and the column `into`.

    Raises
    ------
    InvalidArguments
        If a column doesn't hold numbers, or `into` is taken.

    Examples
    --------
    >>> import pandas as pd
    >>> outliers(pd.DataFrame({"delay": [1, 2, 2, 3, 90]}))["delay"].tolist()
    [90]
    """
    import numpy as np

    if threshold is not None and not 0 < threshold < float("inf"):
        raise InvalidArguments(f"threshold takes a number above zero, got {threshold}")
    distinct(data)
    new_name(data, into, "into")
    names = numeric(data, columns)
    far = {name: _far(data[name], method, threshold) for name in names}
    found = np.logical_or.reduce(list(far.values()))
    if mask:
        return data.assign(**{into: found})
    texts = np.full(len(data), "", dtype=object)
    for name in names:
        texts[far[name]] += f", {name}"
    return data[found].assign(**{into: [text.removeprefix(", ") for text in texts[found]]}).astype({into: "str"})


def _far(column: Any, method: str, threshold: float | None) -> Any:
    import numpy as np

    values = column.to_numpy(dtype="float64", na_value=np.nan)
    present = values[~np.isnan(values)]
    if not len(present):
        return np.zeros(len(values), dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        match method:
            case "iqr":
                low, high = np.quantile(present, [0.25, 0.75])
                reach = (1.5 if threshold is None else threshold) * (high - low)
                return (values < low - reach) | (values > high + reach)
            case "zscore":
                spread = present.std(ddof=1) if len(present) > 1 else 0.0
                return np.abs(values - present.mean()) > (3.0 if threshold is None else threshold) * spread
        distances = np.abs(values - np.median(present))
        typical = np.median(np.abs(present - np.median(present)))
        return 0.6745 * distances > (3.5 if threshold is None else threshold) * typical


@operation("data.regression")
def regression(data: DataFrame, y: str, x: Columns, *, intercept: bool = True) -> dict[str, Any]:
    """Fit a linear model by ordinary least squares.

    Parameters
    ----------
    data
        Any table. Rows in which one of the columns is missing are left out.
    y
        The column that is explained.
    x
        The column, or columns, that explain it.
    intercept
        Whether the model has a constant.

    Returns
    -------
    dict
        `coefficients`, a table with a row for each term (`intercept` first): `coefficient`, `std_error` and `t`, their
        ratio; `r2`, the share of the variance that is explained (without an intercept of the squares, as nothing is
        centred); `r2_adjusted`; `residual_std`; `n`, the rows used; `left_out`, those with missing values.

    Raises
    ------
    InvalidArguments
        If a column doesn't hold numbers, there are too few rows, or a column follows from the others.

    Examples
    --------
    >>> import pandas as pd
    >>> fit = regression(pd.DataFrame({"x": [0, 1, 2, 3], "y": [1, 3, 5, 7]}), "y", "x")
    >>> fit["coefficients"]["coefficient"].round(6).tolist(), round(fit["r2"], 6)
    ([1.0, 2.0], 1.0)
    """
    import numpy as np
    import pandas as pd

    terms = numeric(data, x)
    if y in terms:
        raise InvalidArguments(f"y: {y!r} is among x as well")
    if intercept and "intercept" in terms:
        raise InvalidArguments("x: a column named 'intercept' can't be told from the model's: rename it")
    names = numeric(data, [y, *single(data, terms)])
    used = data[names].dropna()
    numbers = used.to_numpy(dtype="float64")
    if not np.isfinite(numbers).all():
        raise InvalidArguments(f"the columns {shown(names)} hold infinite values: filter them out first")
    explained, given = numbers[:, 0], numbers[:, 1:]
    labels = ["intercept", *terms] if intercept else terms
    design = np.column_stack([np.ones(len(used)), given]) if intercept else given
    n, p = design.shape
    if n <= p:
        raise InvalidArguments(f"{n} rows without missing values can't settle {p} coefficients: more are needed")
    # By columns of one length, so that units that differ by orders of magnitude don't look like dependence.
    lengths = np.linalg.norm(design, axis=0)
    scaled = design / np.where(lengths > 0, lengths, 1)
    solution, _, rank, _ = np.linalg.lstsq(scaled, explained)
    if rank < p:
        raise InvalidArguments(f"the columns {shown(labels)} follow from each other: leave one out")
    coefficients = solution / lengths
    residuals = explained - design @ coefficients
    squares = float(residuals @ residuals)
    freedom = n - p
    variance = squares / freedom
    triangle = np.linalg.qr(scaled, mode="r")
    errors = np.sqrt(variance * (np.linalg.inv(triangle) ** 2).sum(axis=1)) / lengths
    centred = explained - explained.mean() if intercept else explained
    total = float(centred @ centred)
    r2 = 1 - squares / total if total > 0 else float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        table = {"coefficient": coefficients, "std_error": errors, "t": coefficients / errors}
    return {
        "coefficients": pd.DataFrame(table, index=pd.Index(labels, name="term")),
        "r2": r2,
        "r2_adjusted": 1 - (1 - r2) * (n - int(intercept)) / freedom,
        "residual_std": float(np.sqrt(variance)),
        "n": n,
        "left_out": len(data) - n,
    }
