from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from workbench.core.errors import InputError, InvalidArguments, PathRefused, WorkbenchError
from workbench.operations import context, registry
from workbench.operations.data import pseudonyms
from workbench.values.files import Files

KEY = "correct horse battery staple"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_KEY_TEST", KEY)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": ["Ann", "Bob", None, "Ann"],
            "friend": ["Bob", "Ann", "Eve", None],
            "number": [7.0, None, 8.5, 7.0],
            "age": [31, 27, 40, 31],
        },
        index=[5, 5, 6, 7],
    )


def test_a_pseudonym_is_the_beginning_of_an_hmac_of_realm_and_value(frame: pd.DataFrame):
    found = pseudonyms.anonymise(frame, "name", key_env="WORKBENCH_KEY_TEST", length=64)

    def expected(value: str) -> str:
        return hmac.new(KEY.encode(), b"\0\0\0\x04name" + value.encode(), hashlib.sha256).hexdigest()

    assert found["name"].tolist()[:2] == [expected("Ann"), expected("Bob")]
    assert found["name"].isna().tolist() == frame["name"].isna().tolist()
    assert str(found["name"].dtype) == "str"
    assert_frame_equal(found.drop(columns="name"), frame.drop(columns="name"))
    assert frame["name"].tolist()[0] == "Ann"


def test_equal_values_have_equal_pseudonyms_within_a_realm_only(frame: pd.DataFrame):
    apart = pseudonyms.anonymise(frame, ["name", "friend"], key_env="WORKBENCH_KEY_TEST")
    assert not set(apart["name"].dropna()) & set(apart["friend"].dropna())
    joined = pseudonyms.anonymise(frame, {"name": "person", "friend": "person"}, key_env="WORKBENCH_KEY_TEST")
    assert joined["name"].iloc[0] == joined["name"].iloc[3] == joined["friend"].iloc[1]
    assert joined["name"].iloc[0] != apart["name"].iloc[0]
    assert {len(each) for each in joined["name"].dropna()} == {32}


def test_another_key_makes_other_pseudonyms(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch):
    one = pseudonyms.anonymise(frame, "name", key_env="WORKBENCH_KEY_TEST")
    assert_frame_equal(pseudonyms.anonymise(frame, "name", key_env="WORKBENCH_KEY_TEST"), one)
    monkeypatch.setenv("WORKBENCH_KEY_TEST", KEY + "r")
    other = pseudonyms.anonymise(frame, "name", key_env="WORKBENCH_KEY_TEST")
    assert not set(one["name"].dropna()) & set(other["name"].dropna())


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([7, 8, 7]),
        pd.Series([7.0, 8.0, 7.0]),
        pd.Series(["7", "8", "7"]),
        pd.Series(["7", "8", "7"], dtype="category"),
        pd.Series([7, 8, 7], dtype="Int64"),
        pd.Series([7, 8, 7], dtype="int8").astype("category"),
        pd.Series(["7", "8", "7"], dtype="object"),
        pd.Series([7, 8, 7], dtype="int64[pyarrow]"),
    ],
    ids=lambda values: str(values.dtype),
)
def test_a_number_keeps_its_pseudonym_in_a_column_of_another_type(values: pd.Series):
    plain = pseudonyms.anonymise(pd.DataFrame({"id": [7, 8, 7]}), "id", key_env="WORKBENCH_KEY_TEST")
    found = pseudonyms.anonymise(pd.DataFrame({"id": values}), "id", key_env="WORKBENCH_KEY_TEST")
    assert_series_equal(found["id"], plain["id"])


def test_times_have_the_pseudonym_of_their_moment():
    moments = pd.date_range("2013-01-01", periods=3, tz="Europe/Berlin")
    one, other = (
        pseudonyms.anonymise(pd.DataFrame({"at": each}), "at", key_env="WORKBENCH_KEY_TEST")
        for each in (moments, moments.tz_convert("UTC"))
    )
    assert_frame_equal(one, other)
    assert one["at"].nunique() == 3


def test_columns_without_values_are_kept(frame: pd.DataFrame):
    for data in (frame.head(0), frame.assign(name=None)):
        found = pseudonyms.anonymise(data, "name", key_env="WORKBENCH_KEY_TEST")
        assert found["name"].isna().all()
        assert len(found) == len(data)


def test_the_key_may_lie_in_a_file_below_the_workers_roots(frame: pd.DataFrame, tmp_path: Path):
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    for directory in (shared, elsewhere):
        directory.mkdir()
        (directory / "key").write_text(f"{KEY}\n")
    files = Files("", roots=(shared,))
    expected = pseudonyms.anonymise(frame, "name", key_env="WORKBENCH_KEY_TEST")
    with context.attempt(tmp_path / "scratch", files.local_path):
        found = pseudonyms.anonymise(frame, "name", key_file=str(shared / "key"))
        assert_frame_equal(found, expected)
        with pytest.raises(PathRefused):
            pseudonyms.anonymise(frame, "name", key_file=str(elsewhere / "key"))


def test_a_keys_file_never_travels():
    parameter = {each.name: each for each in registry.get("data.anonymise").spec.parameters}["key_file"]
    assert {part.kind for part in parameter.type.args} == {"str", "none"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "either key_env or key_file"),
        ({"key_env": "WORKBENCH_KEY_TEST", "key_file": "/x"}, "either key_env or key_file"),
        ({"key_env": "PATH"}, "begins with WORKBENCH_KEY_"),
        ({"key_env": "WORKBENCH_KEY_"}, "begins with WORKBENCH_KEY_"),
        ({"key_env": "WORKBENCH_KEY_MISSING"}, "it has 0"),
        ({"key_env": "WORKBENCH_KEY_SHORT"}, "it has 12"),
        ({"key_file": "key"}, "absolute"),
        ({"key_file": "store:abc"}, "absolute"),
        ({"key_file": "/nowhere/at/all"}, "isn't there"),
        ({"key_env": "WORKBENCH_KEY_TEST", "length": 8}, "16 to 64"),
        ({"columns": "names", "key_env": "WORKBENCH_KEY_TEST"}, "'name'"),
        ({"columns": {"nam": "x"}, "key_env": "WORKBENCH_KEY_TEST"}, "'name'"),
        ({"columns": "lists", "key_env": "WORKBENCH_KEY_TEST"}, "no pseudonyms"),
    ],
)
def test_what_cannot_be_made_anonymous_is_refused_without_a_word_of_the_key(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, options, reason: str
):
    monkeypatch.setenv("WORKBENCH_KEY_SHORT", "  short secret\n")
    data = frame.assign(lists=[[1]] * 4)
    with pytest.raises(WorkbenchError, match=reason) as caught:
        pseudonyms.anonymise(data, **({"columns": "name"} | options))
    assert isinstance(caught.value, InvalidArguments | InputError)
    assert "secret" not in str(caught.value)
    assert KEY not in str(caught.value)
