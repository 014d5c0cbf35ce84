"""Operations of the data family as tasks call them: arguments are checked and travel, and so does what comes back."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workbench.core.errors import InvalidArguments
from workbench.operations import registry
from workbench.operations.signature import bind
from workbench.values import arguments, codecs
from workbench.values.files import Files

FRAME = pd.DataFrame(
    {
        "id": range(12),
        "group": pd.Categorical(["x", "y", "z"] * 4),
        "name": ["a", "b", None] * 4,
        "at": pd.date_range("2013-01-01", periods=12, tz="Europe/Berlin"),
        "u": [1.0, 4.0, np.nan, 2.0] * 3,
        "v": pd.array([3, 1, None, 7, 2, 9] * 2, dtype="Int64"),
    }
)

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("data.sample", (FRAME, 3), {"weights": "id"}),
    ("data.sample", (FRAME,), {"frac": 1}),
    ("data.quantile", (FRAME, [0, 0.5, 1]), {"columns": ["u", "v"]}),
    ("data.rename", (FRAME, {"u": "w"}), {}),
    ("data.astype", (FRAME, {"u": "float32"}), {}),
    ("data.assign", (FRAME, {"w": "if_else(u > 1, u * 2, None)"}), {}),
    ("data.cut", (FRAME, "u", [0, 2, 5]), {}),
    ("data.cut", (FRAME, "u"), {"q": 2, "labels": ["low", "high"]}),
    ("data.drop_duplicates", (FRAME, "group"), {"keep": False}),
    ("data.missing", (FRAME,), {}),
    ("data.fillna", (FRAME, {"name": "?", "u": 0, "at": pd.Timestamp("2013-01-01", tz="UTC")}), {}),
    ("data.fillna", (FRAME,), {"method": "ffill", "columns": ["v"]}),
    ("data.interpolate", (FRAME,), {"columns": "u"}),
    ("data.dropna", (FRAME,), {"subset": ["name"]}),
    ("data.pivot_table", (FRAME, ["u", "v"], "group", "name"), {"aggfunc": ["mean", "count"], "fill_value": 0}),
    ("data.pivot_table", (FRAME, "v", "group", "name", {"v": "max"}), {"margins": True}),
    ("data.melt", (FRAME, ["id"], ["u", "v"]), {}),
    ("data.crosstab", (FRAME, "group", "name"), {"normalize": "index", "margins": True}),
    ("data.crosstab", (FRAME, "group", ["name", "u"]), {"normalize": True}),
    ("data.merge", (FRAME, FRAME[["id", "u"]], "left"), {"on": "id", "suffixes": ("", "_r"), "indicator": True}),
    ("data.concat", ([FRAME, FRAME],), {"keys": ["one", "two"]}),
    ("data.resample", (FRAME, "W", {"u": ["mean", "max"]}), {"on": "at"}),
    ("data.rolling", (FRAME, "2D"), {"on": "at", "columns": "u"}),
    ("data.corr", (FRAME,), {"method": "spearman"}),
    ("data.outliers", (FRAME, ["u", "v"]), {"threshold": 1, "method": "mad"}),
    ("data.regression", (FRAME, "u", ["v", "id"]), {}),
    ("data.compare", (FRAME, FRAME.assign(u=2.0).head(9), "id"), {}),
    ("data.anonymise", (FRAME, {"name": "person"}), {"key_env": "WORKBENCH_KEY_TRAVEL"}),
    ("data.validate", (FRAME, {"u": {"min": 2, "nullable": False}, "name": {"isin": ["a"]}}), {"limit": 2}),
    ("data.chart", (FRAME, "scatter", ["u", "v"], "at"), {"width": 200, "height": 200}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_task_gets_what_a_call_gets(name, args, kwargs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKBENCH_KEY_TRAVEL", "0123456789abcdef")
    files = Files("")
    operation = registry.get(name)
    sent, named = bind(operation.spec, args, kwargs, functools.partial(arguments.to_wire, files=files))
    wire, wired = codecs.encode_call(sent, named, files)
    got = tuple(codecs.decode(each, files) for each in wire)
    given = {key: codecs.decode(each, files) for key, each in wired.items()}
    bound, options = bind(operation.spec, got, given, functools.partial(arguments.from_wire, files=files))

    result = operation.function(*bound, **options)

    assert_same(result, operation.function(*args, **kwargs))
    assert_same(codecs.decode(codecs.encode(result, files, limit=1 << 24), files), result)


def assert_same(one: Any, other: Any) -> None:
    if isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    elif isinstance(other, Image.Image):
        assert one.tobytes() == other.tobytes()
    elif isinstance(other, dict) and "doc" not in other:  # a document of Bokeh's has new ids each time
        assert one.keys() == other.keys()
        for key, value in other.items():
            assert_same(one[key], value)
    elif not isinstance(other, dict):
        assert one == other


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "reason"),
    [
        ("data.outliers", (FRAME,), {"method": "magic"}, "'iqr', 'zscore', 'mad'"),
        ("data.sample", (FRAME, "three"), {}, "'n' takes int or None"),
        ("data.assign", (FRAME, {"w": 3}), {}, "'columns' takes dict"),
        ("data.concat", (FRAME,), {}, "'data' takes list"),
        ("data.anonymise", (FRAME, "name"), {"key": "secret"}, "no parameter 'key'"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_before_they_travel(name, args, kwargs, reason: str):
    leaf = functools.partial(arguments.to_wire, files=Files(""))
    with pytest.raises(InvalidArguments, match=reason):
        bind(registry.get(name).spec, args, kwargs, leaf)
