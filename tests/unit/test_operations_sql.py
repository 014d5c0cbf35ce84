"""`data.sql` reads the tables it is given, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations import registry
from workbench.operations.data.sql import TIME_LIMIT, sql

SALES = pd.DataFrame({"k": ["a", "a", "b"], "x": [1, 3, 5]})


def test_frames_and_files_are_joined_by_name(tmp_path: Path):
    names = tmp_path / "names.csv"
    names.write_text("k,name\na,Anna\nb,NA\n")

    found = sql(
        "WITH s AS (SELECT k, sum(x) AS total, avg(x) AS mean FROM sales GROUP BY k) "
        "SELECT name, total, mean FROM s JOIN names USING (k) ORDER BY total",
        sales=SALES,
        names=str(names),
    )

    assert_frame_equal(found, pd.DataFrame({"name": ["Anna", None], "total": [4, 5], "mean": [2.0, 5.0]}))


def test_a_query_that_finds_nothing_has_its_columns():
    found = sql("SELECT k, sum(x) AS total FROM sales WHERE x > 9 GROUP BY k", sales=SALES)

    assert found.empty
    assert found.dtypes.to_dict() == {"k": pd.Series(["a"]).dtype, "total": "int64"}


def test_a_result_can_be_written_into_a_file(tmp_path: Path):
    output = tmp_path / "out.parquet"

    assert sql("SELECT x FROM sales ORDER BY x DESC", output=str(output), sales=SALES) == output
    assert pd.read_parquet(output)["x"].tolist() == [5, 3, 1]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "nothing else.*/etc/passwd"),
        ("SELECT * FROM read_text('/etc/passwd')", "nothing else"),
        ("SELECT * FROM read_blob('/proc/self/environ')", "nothing else"),
        ("SELECT * FROM glob('/etc/*')", "nothing else"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM read_csv('https://example.com/a.csv')", "."),
        ("SELECT * FROM sales; SELECT 1", "one statement, got 2"),
        ("", "one statement, got 0"),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "reads.*COPY"),
        ("CREATE TABLE t AS SELECT 1", "reads.*CREATE"),
        ("DROP VIEW sales", "reads.*DROP"),
        ("INSERT INTO sales VALUES ('c', 1)", "reads.*INSERT"),
        ("WITH a AS (SELECT 1) INSERT INTO sales SELECT * FROM a", "reads.*INSERT"),
        ("SET memory_limit = '100GB'", "reads.*SET"),
        ("RESET lock_configuration", "reads"),
        ("PRAGMA database_list", "reads.*PRAGMA"),
        ("INSTALL httpfs", "reads"),
        ("LOAD httpfs", "reads.*LOAD"),
        ("ATTACH '/tmp/x.db'", "reads.*ATTACH"),
        ("CALL pragma_version()", "reads.*CALL"),
        ("EXPORT DATABASE '/tmp/x'", "reads.*EXPORT"),
        ("EXPLAIN SELECT 1", "reads.*EXPLAIN"),
        ("SELECT getenv('HOME')", "getenv"),
        ("SELECT y FROM sales", '"y" not found'),
        ("SELEKT 1", "syntax error"),
        ("SELECT $1", "parameters"),
        ("SELECT x, x FROM sales", "more than once"),
        ("SELECT x FROM settings_", "does not exist"),
        ("SELECT 9223372036854775807::HUGEINT * 2 AS x", "beyond 64 bits"),
        ("SELECT '" + "a" * 100_000 + "'", "characters long"),
    ],
)
def test_what_a_query_may_not_do_is_refused_with_the_reason(query: str, reason: str):
    with pytest.raises(InvalidArguments, match=f"(?s){reason}"):
        sql(query, sales=SALES)


def test_a_query_has_a_time_limit_of_its_own():
    assert registry.get("data.sql").spec.timeout == TIME_LIMIT


def test_columns_that_differ_in_their_case_are_refused_with_the_cure():
    with pytest.raises(InvalidArguments, match="rename"):
        sql("SELECT 1", t=pd.DataFrame({"a": [1], "A": [2]}))


@pytest.mark.parametrize("span", ["b - a", "[b - a]", "{'of': b - a}"])
@pytest.mark.parametrize("rows", [1, 0])
def test_an_interval_is_refused_with_what_to_write_instead(span: str, rows: int):
    times = pd.DataFrame({"a": [pd.Timestamp("2024-01-01")], "b": [pd.Timestamp("2024-01-02 12:00")]})

    with pytest.raises(InvalidArguments, match=r"'d' of the result is an INTERVAL.*epoch\(b - a\)"):
        sql(f"SELECT {span} AS d FROM t", t=times[:rows])

    found = sql("SELECT epoch(b - a) AS seconds, date_diff('day', a, b) AS days FROM t", t=times)
    assert found.to_dict("list") == {"seconds": [129_600.0], "days": [1]}


def test_times_with_a_zone_are_in_utc_unless_told_otherwise():
    times = pd.DataFrame({"t": [pd.Timestamp("2024-07-01 00:30", tz="Europe/Berlin")]})

    found = sql("SELECT day(t) AS utc, day(timezone('Europe/Berlin', t)) AS there FROM times", times=times)

    assert found.to_dict("list") == {"utc": [30], "there": [1]}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_are_whole_numbers_of_their_unit(unit: str):
    spans = pd.DataFrame({"d": pd.Series(pd.to_timedelta(["1h", "2h"])).astype(f"timedelta64[{unit}]")})

    expected = pd.Series(pd.to_timedelta(["2h"])).astype(f"timedelta64[{unit}]").astype("int64").tolist()
    assert sql("SELECT max(d) AS d FROM spans", spans=spans)["d"].tolist() == expected
