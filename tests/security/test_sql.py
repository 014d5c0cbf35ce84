"""`data.sql` reads the tables it is given and nothing else; what wants more is an error, and the process lives on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.security import hostile_sql
from tests.security.limits import Tried, tried
from workbench.core.errors import InvalidArguments, StoreError
from workbench.operations import context, registry
from workbench.values.refs import FileRef

registry.load()


def run(query: str, directory: Path) -> pd.DataFrame:
    secret, out = directory / "secret.csv", directory / "out"
    secret.write_text("password\nhunter2\n")
    query = query.replace("SECRET", str(secret)).replace("OUT", str(out))
    try:
        with context.attempt(directory / "scratch", None, context.Attempt(memory_limit=512 << 20)):
            return registry.get("data.sql").function(query, t=pd.DataFrame({"x": [1, 2]}))
    finally:
        assert not list(directory.glob("out*"))


REFUSED = [
    (words, query)
    for group in (hostile_sql.READS, hostile_sql.CHANGES)
    for words, queries in group.items()
    for query in queries
]


@pytest.mark.parametrize(("words", "query"), REFUSED)
def test_a_query_that_wants_more_than_its_tables_is_refused(words: str, query: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArguments) as caught:
        run(query, tmp_path)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


COPY = "WITH s AS (COPY (SELECT 6 AS x) TO 'PATH' (FORMAT parquet, USE_TMP_FILE false)) SELECT * FROM s"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (COPY, "^query: takes a statement all of whose parts read, got COPY in it$"),
        (
            "FROM json_execute_serialized_sql(json_serialize_sql('{}'))".format(COPY.replace("'", "''")),
            "^query: calls json_execute_serialized_sql, which runs SQL that is in a text: write that SQL itself$",
        ),
    ],
)
def test_a_query_leaves_the_files_of_its_own_tables_as_they_are(query: str, words: str, tmp_path: Path) -> None:
    """DuckDB would write whatever it may read: a shared file, or one in the store."""
    path = tmp_path / "a.parquet"
    pd.DataFrame({"x": [1, 2]}).to_parquet(path)
    before = path.read_bytes()
    with context.attempt(tmp_path / "scratch"), pytest.raises(InvalidArguments, match=words):
        registry.get("data.sql").function(query.replace("PATH", str(path)), t=FileRef(str(path), path.name))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "query",
    [
        "SELECT x AS copy, 'insert' AS query FROM t",
        "WITH s AS (FROM t), u AS (VALUES ('update')) SELECT * FROM s, u UNION ALL SELECT x, 'delete' FROM t",
        "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 3) SELECT x FROM s",
        """SELECT '"type":"COPY_QUERY_NODE","modifiers":' AS a, '"function_name":"query"' AS b FROM t""",
        "SUMMARIZE t",
    ],
)
def test_a_query_that_only_speaks_of_changes_is_run(query: str, tmp_path: Path) -> None:
    assert len(run(query, tmp_path)) > 0


def test_the_tables_themselves_are_read(tmp_path: Path) -> None:
    assert run("SELECT sum(x) AS s FROM t", tmp_path)["s"].tolist() == [3]


NO_POINTERS = "query: Catalog Error: Type with name POINTER does not exist!"
TOO_DEEP = "query: has brackets more than 200 deep, open ones in texts included"
TOO_LONG = "Parser Error: Max expression depth limit of 1000 exceeded. Compute it in steps: WITH … AS (SELECT …)"
FILLED = "query: has parameters ($1, ?), which nothing fills: write the values out"

REASONS = {
    "SELECT * FROM arrow_scan(1, ": "Binder Error: No function matches the given name and argument types 'arrow_scan(",
    "SELECT * FROM arrow_scan(1::POINTER": NO_POINTERS,
    "SELECT * FROM arrow_scan_dumb(": NO_POINTERS,
    "SELECT * FROM pandas_scan(": NO_POINTERS,
    "SELECT * FROM python_map_function(": 'Binder Error: Table function "python_map_function" requires a subquery as',
    "SELECT * FROM seq_scan(": 'Invalid Input Error: Cannot call function "seq_scan" directly',
    "SELECT * FROM python_scan(": "query: Catalog Error: Table Function with name python_scan does not exist! ",
    "SELECT ((((": TOO_DEEP,
    "SELECT [[[[": TOO_DEEP,
    "SELECT * FROM (SELECT * FROM (": TOO_DEEP,
    "SELECT json_extract('[[[[": TOO_DEEP,
    "SELECT -1 -1 ": TOO_LONG,
    "SELECT NOT NOT ": TOO_LONG,
    "SELECT CASE WHEN true THEN CASE ": TOO_LONG,
    "SELECT '\\\\": "Parser Error: unterminated string literal",
    "SELECT * FROM json_execute_serialized_sql(": "query: calls json_execute_serialized_sql, which runs SQL that is",
    "SELECT x FROM t WHERE x = $1": FILLED,
    "SELECT * FROM t WHERE x = ?": FILLED,
    "SELECT lpad('x', 2000000000, 'x')": "Invalid Input Error: lpad: pads to 100,000,000 characters at most",
}
"""How a query begins that is refused, and how the error does."""
HARMLESS = ("SELECT 1 \0", "SELECT x + x + ")
"""How those begin that only look as if they would crash: they are run."""
HOSTILE = [*hostile_sql.CRASHES, *hostile_sql.HEAVY]


def tried_with(query: str, directory: Path) -> Tried:
    (directory / "query.sql").write_text(query)
    call = "registry.get('data.sql').function(Path(PATH).read_text(), t=pandas.DataFrame({'x': [1, 2]}))"
    went = tried(call, PATH=directory / "query.sql", megabytes=1024)
    assert went.seconds < 20, went
    return went


@pytest.mark.parametrize("query", [query for query in HOSTILE if query.startswith(tuple(REASONS))])
def test_a_query_that_would_crash_is_refused_with_the_reason(query: str, tmp_path: Path) -> None:
    (words,) = (words for begins, words in REASONS.items() if query.startswith(begins))
    went = tried_with(query, tmp_path)
    assert (went.how, went.kind) == ("raised", "InvalidArguments"), went
    assert went.text.startswith(words), went


@pytest.mark.parametrize("query", [query for query in HOSTILE if not query.startswith((*REASONS, *HARMLESS))])
def test_a_query_that_would_take_all_memory_ends_in_an_error_of_memory(query: str, tmp_path: Path) -> None:
    """Of which the slot says what its limit is, and how to raise it (see `test_slots`)."""
    went = tried_with(query, tmp_path)
    assert (went.how, went.kind) == ("raised", "MemoryError"), went
    assert went.text.startswith("DuckDB: Out of Memory Error: "), went


@pytest.mark.parametrize("query", [query for query in HOSTILE if query.startswith(HARMLESS)])
def test_a_query_that_only_looks_as_if_it_would_crash_is_run(query: str, tmp_path: Path) -> None:
    went = tried_with(query, tmp_path)
    assert (went.how, went.kind) == ("returned", "DataFrame"), went


def test_a_query_leaves_half_of_the_disk_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, (1 << 40) - (64 << 20), 64 << 20))
    with pytest.raises(StoreError, match="there is no room on the disk for what doesn't fit in memory"):
        run("SELECT count(DISTINCT hash(i)) FROM range(30000000) r(i)", tmp_path)
    with pytest.raises(StoreError, match="there is no room on the disk for what doesn't fit in memory"):
        run("SELECT i FROM range(30000000) r(i) ORDER BY hash(i)", tmp_path)


def test_a_text_is_padded_to_a_length_that_is_bounded(tmp_path: Path) -> None:
    assert run("SELECT lpad('a', 3, 'x') || rpad('b', 3, 'y') AS s", tmp_path)["s"].tolist() == ["xxabyy"]
    assert run("SELECT lpad(NULL, 3, 'x') AS s", tmp_path)["s"].isna().all()
    for query in ("SELECT lpad('a', 2000000000, 'x')", "SELECT rpad('a', x + 2000000000, 'x') FROM t"):
        with pytest.raises(InvalidArguments, match=r"[lr]pad: pads to 100,000,000 characters at most"):
            run(query, tmp_path)
