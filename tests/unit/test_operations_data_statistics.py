from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import statistics
from workbench.values import codecs
from workbench.values.files import Files


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    x = rng.normal(size=200)
    return pd.DataFrame(
        {
            "x": x,
            "z": rng.normal(size=200) * 1e6,
            "y": 3 + 2 * x + rng.normal(size=200) / 10,
            "seats": pd.array([*range(198), None, 5000], dtype="Int64"),
            "arrow": pd.array([float(each) for each in range(199)] + [None], dtype="double[pyarrow]"),
            "carrier": pd.Categorical(["UA", "AA"] * 100),
        }
    )


NUMBERS = ["x", "z", "y", "seats", "arrow"]


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("q", [0.5, [0.0, 0.1, 1.0]])
def test_quantiles_are_pandass(frame: pd.DataFrame, q, interpolation):
    wanted = q if isinstance(q, list) else [q]
    expected = frame[NUMBERS].quantile(wanted, interpolation=interpolation)
    assert_frame_equal(statistics.quantile(frame, q, interpolation=interpolation), expected)
    assert_frame_equal(
        statistics.quantile(frame.head(0), q, columns=["x"]), frame.head(0)[["x"]].quantile(wanted), check_dtype=False
    )


@pytest.mark.parametrize(
    ("q", "columns", "reason"),
    [
        (1.5, None, "0 to 1"),
        ([], None, "0 to 1"),
        (float("nan"), None, "0 to 1"),
        (0.5, "carrier", "numbers are needed"),
        (0.5, "w", "no column 'w'"),
        (0.5, ["x", "x"], "twice"),
    ],
)
def test_quantiles_that_make_no_sense_are_refused(frame: pd.DataFrame, q, columns, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        statistics.quantile(frame, q, columns=columns)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlations_are_pandass(frame: pd.DataFrame, method):
    assert_frame_equal(statistics.corr(frame, method=method), frame[NUMBERS].corr(method=method))
    some = statistics.corr(frame, ["x", "seats"], method=method, min_periods=1000)
    assert_frame_equal(some, frame[["x", "seats"]].corr(method=method, min_periods=1000))
    with pytest.raises(InvalidArguments, match="no columns of numbers"):
        statistics.corr(frame[["carrier"]])


def test_outliers_beyond_tukeys_fences_are_found(frame: pd.DataFrame):
    seats = frame["seats"].astype("Float64")
    low, high = seats.quantile(0.25), seats.quantile(0.75)
    expected = (seats < low - 1.5 * (high - low)) | (seats > high + 1.5 * (high - low))

    found = statistics.outliers(frame, ["seats", "x"])

    x = frame["x"]
    far = (x - x.median()).abs() > 1.5 * (x.quantile(0.75) - x.quantile(0.25)) * 1.6
    assert found.loc[199, "outlier"] == "seats"
    assert set(found.index) >= set(frame.index[expected.fillna(False).astype(bool)]) | set(frame.index[far])
    assert_frame_equal(found.drop(columns="outlier"), frame.loc[found.index])


def test_outliers_by_deviations_are_found(frame: pd.DataFrame):
    seats = frame["seats"].astype("float64")
    by_mean = ((seats - seats.mean()) / seats.std()).abs() > 3
    distance = (seats - seats.median()).abs()
    by_median = 0.6745 * distance / distance.median() > 3.5
    for method, expected in (("zscore", by_mean), ("mad", by_median)):
        found = statistics.outliers(frame, "seats", method=method, mask=True, into="far")
        assert found["far"].tolist() == expected.tolist()
        assert_frame_equal(found.drop(columns="far"), frame)
    assert len(statistics.outliers(frame, "seats", method="zscore", threshold=100)) == 0


def test_a_row_says_in_which_columns_it_is_an_outlier():
    data = pd.DataFrame({"a": [1, 2, 3, 99], "b": [1.0, 2.0, 3.0, -99.0]}, index=list("wxyz"))
    found = statistics.outliers(data, threshold=0.5)
    assert found["outlier"].to_dict() == {"z": "a, b"}
    assert_frame_equal(codecs.decode(codecs.encode(found, Files("")), Files("")), found)


@pytest.mark.parametrize("method", ["iqr", "zscore", "mad"])
def test_columns_without_spread_or_values_have_no_outliers(method):
    data = pd.DataFrame({"same": [1, 1, 1], "none": [np.nan] * 3, "one": [np.nan, 5.0, np.nan]})
    for each in (data, data.head(0)):
        assert not statistics.outliers(each, method=method, mask=True)["outlier"].any()
        assert len(statistics.outliers(each, method=method)) == 0


@pytest.mark.parametrize(
    ("columns", "options", "reason"),
    [
        ("carrier", {}, "numbers are needed"),
        ("x", {"into": "y"}, "'y' already"),
        ("x", {"threshold": 0}, "above zero"),
        ("x", {"threshold": float("nan")}, "above zero"),
    ],
)
def test_outliers_of_what_makes_no_sense_are_refused(frame: pd.DataFrame, columns, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        statistics.outliers(frame, columns, **options)


def test_a_regression_with_one_term_is_numpys(frame: pd.DataFrame):
    fit = statistics.regression(frame, "y", "x")
    (slope, constant), covariance = np.polyfit(frame["x"], frame["y"], 1, cov=True)

    table = fit["coefficients"]
    assert table.index.tolist() == ["intercept", "x"]
    assert table["coefficient"].tolist() == pytest.approx([constant, slope])
    assert table["std_error"].tolist() == pytest.approx(np.sqrt(np.diag(covariance))[::-1])
    assert table["t"].tolist() == pytest.approx((table["coefficient"] / table["std_error"]).tolist())
    assert fit["r2"] == pytest.approx(frame["x"].corr(frame["y"]) ** 2)
    assert (fit["n"], fit["left_out"]) == (200, 0)
    decoded = codecs.decode(codecs.encode(fit, Files("")), Files(""))
    assert_frame_equal(decoded["coefficients"], table)


def test_a_regression_with_terms_of_all_sizes_solves_the_normal_equations(frame: pd.DataFrame):
    fit = statistics.regression(frame, "y", ["x", "z", "seats"])
    used = frame[["y", "x", "z", "seats"]].dropna().astype("float64")
    design = np.column_stack([np.ones(len(used)), used[["x", "z", "seats"]]])
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ used["y"].to_numpy()
    residuals = used["y"].to_numpy() - design @ coefficients
    variance = residuals @ residuals / (len(used) - 4)

    assert fit["coefficients"]["coefficient"].tolist() == pytest.approx(coefficients.tolist())
    assert fit["coefficients"]["std_error"].tolist() == pytest.approx(np.sqrt(variance * np.diag(inverse)).tolist())
    assert (fit["n"], fit["left_out"]) == (199, 1)
    assert fit["residual_std"] == pytest.approx(np.sqrt(variance))
    r2 = 1 - residuals @ residuals / ((used["y"] - used["y"].mean()) ** 2).sum()
    assert fit["r2_adjusted"] == pytest.approx(1 - (1 - r2) * 198 / 195)


def test_a_regression_without_a_constant_goes_through_the_origin():
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.1, 3.9, 6.0]})
    fit = statistics.regression(data, "y", "x", intercept=False)
    assert fit["coefficients"]["coefficient"].tolist() == pytest.approx([(data["x"] @ data["y"]) / 14])
    assert 0.99 < fit["r2"] < 1


@pytest.mark.parametrize(
    ("y", "x", "reason"),
    [
        ("y", "carrier", "numbers are needed"),
        ("carrier", "x", "numbers are needed"),
        ("y", ["x", "y"], "among x"),
        ("y", "w", "no column 'w'"),
        ("y", ["x", "double"], "follow from each other"),
        ("y", ["x", "constant"], "follow from each other"),
        ("y", "infinite", "infinite"),
        ("y", "missing", "rows without missing values"),
    ],
)
def test_a_regression_that_has_no_solution_is_refused(frame: pd.DataFrame, y, x, reason: str):
    data = frame.assign(double=frame["x"] * 2, constant=4.0, infinite=np.inf, missing=np.nan)
    with pytest.raises(InvalidArguments, match=reason):
        statistics.regression(data, y, x)
