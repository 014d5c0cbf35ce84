"""Queries that want more than the tables they are given: `SECRET` stands for a file's path, `OUT` for one to write.

Each has to end in an error; none may crash, read the secret, leave a file, or take more than its limits.
"""

from __future__ import annotations

import json

READS: dict[str, list[str]] = {
    "it reads the tables it is given, and nothing else: Permission Error: Cannot access file": [
        "SELECT * FROM 'SECRET'",
        "FROM 'SECRET'",
        'SELECT * FROM "SECRET"',
        "SELECT * FROM read_csv('SECRET')",
        "SELECT * FROM read_csv_auto('SECRET', header=false)",
        "SELECT * FROM sniff_csv('SECRET')",
        "SELECT * FROM read_text('SECRET')",
        "SELECT * FROM read_blob('SECRET')",
        "SELECT * FROM read_json('SECRET')",
        "SELECT * FROM read_json_auto('SECRET')",
        "SELECT * FROM read_ndjson_objects('SECRET')",
        "SELECT * FROM read_parquet('SECRET')",
        "SELECT * FROM parquet_scan('SECRET')",
        "SELECT * FROM parquet_metadata('SECRET')",
        "SELECT * FROM parquet_schema('SECRET')",
        "SELECT * FROM parquet_bloom_probe('SECRET', 'x', 1)",
        "SELECT * FROM read_duckdb('SECRET')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM glob('SECRET')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_text('/dev/stdin')",
        "SELECT * FROM read_text(['SECRET'])",
        "SELECT * FROM read_text('file:SECRET')",
        "SELECT * FROM read_text('file://SECRET')",
        "SELECT (SELECT content FROM read_text('SECRET')) FROM t",
        "SELECT * FROM t WHERE EXISTS (FROM read_text('SECRET'))",
        "WITH s AS MATERIALIZED (FROM read_text('SECRET')) SELECT * FROM s",
        "SELECT * FROM query_table('SECRET')",
        "SELECT * FROM query_table(['SECRET'])",
        "SELECT * FROM read_csv('https://127.0.0.1:1/a.csv')",
        "SELECT * FROM read_parquet('s3://bucket/a.parquet')",
        "SELECT * FROM read_text('hf://datasets/a/b/c.txt')",
    ],
    "calls query, which runs SQL that is in a text": [
        "SELECT * FROM query('FROM read_text(''SECRET'')')",
    ],
    "extension. It knows the tables it is given": [
        "SELECT * FROM sqlite_scan('SECRET', 't')",
        "SELECT * FROM st_read('SECRET')",
        "SELECT * FROM read_xlsx('SECRET')",
        "SELECT * FROM iceberg_scan('SECRET')",
        "SELECT * FROM delta_scan('SECRET')",
    ],
    "does not exist!": [
        "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')",
        "SELECT * FROM 'http://169.254.169.254/latest/meta-data/'",
        "SELECT getenv('HOME')",
        "SELECT * FROM frame",
        "SELECT * FROM data",
        "SELECT * FROM tables",
    ],
    "calls json_execute_serialized_sql, which runs SQL that is in a text": [
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''SECRET'')'))",
    ],
}
"""What the error says, and the queries that would read something else than their tables."""

CHANGES: dict[str, list[str]] = {
    "takes a statement that reads, SELECT … or WITH … SELECT …, got COPY": [
        "COPY t TO 'OUT'",
        "COPY (SELECT 1) TO 'OUT' (FORMAT parquet)",
        "COPY t FROM 'SECRET'",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got EXPORT": [
        "EXPORT DATABASE 'OUT'",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got PRAGMA": [
        "IMPORT DATABASE 'OUT'",
        "PRAGMA database_list",
        "PRAGMA add_parquet_key('k', '0123456789112345')",
        "PRAGMA json_execute_serialized_sql('{}')",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got ATTACH": [
        "ATTACH 'OUT' AS other",
        "ATTACH 'OUT' (TYPE sqlite)",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got DETACH": [
        "DETACH memory",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got SET": [
        "USE memory",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET temp_directory = '/tmp'",
        "SET allowed_directories = ['/']",
        "SET VARIABLE x = (SELECT content FROM read_text('SECRET'))",
        "RESET enable_external_access",
        "PRAGMA enable_external_access = true",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got LOAD": [
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD 'SECRET'",
        "FORCE INSTALL spatial FROM community",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …: ": [
        "UPDATE EXTENSIONS",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got CREATE": [
        "CREATE TABLE x AS SELECT 1",
        "CREATE OR REPLACE VIEW t AS FROM read_text('SECRET')",
        "CREATE TEMP MACRO f() AS TABLE FROM read_text('SECRET')",
        "CREATE Secret s (TYPE s3, KEY_ID 'a', Secret 'b')",
        "CREATE PERSISTENT Secret s (TYPE s3)",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got DROP": [
        "DROP VIEW t",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got ALTER": [
        "ALTER VIEW t RENAME TO u",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got INSERT": [
        "INSERT INTO t VALUES (1)",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got UPDATE": [
        "UPDATE t SET x = 1",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got DELETE": [
        "DELETE FROM t",
        "TRUNCATE t",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got MERGE_INTO": [
        "MERGE INTO t USING t AS u ON false WHEN NOT MATCHED THEN INSERT VALUES (1)",
    ],
    "takes a statement all of whose parts read, got INSERT in it": [
        "WITH s AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM s",
    ],
    "takes a statement all of whose parts read, got COPY in it": [
        "WITH s AS (COPY t TO 'OUT') SELECT * FROM s",
        "WITH s AS NOT MATERIALIZED (/* */ COPY t TO 'OUT') SELECT 1 UNION SELECT 2",
        "WITH s AS (COPY t TO (current_setting('temp_directory') || '/x') (USE_TMP_FILE false)) FROM s",
    ],
    "takes a statement all of whose parts read, got DELETE in it": [
        "WITH s AS (DELETE FROM t RETURNING *) SELECT * FROM s",
    ],
    "takes a statement all of whose parts read, got UPDATE in it": [
        "WITH s AS (UPDATE t SET x = 1 RETURNING *) SELECT * FROM s",
    ],
    "calls query, which runs SQL that is in a text": [
        "SELECT * FROM query('WITH s AS (COPY (SELECT 6 x) TO ''OUT'') SELECT * FROM s')",
        "SELECT * FROM \"QUERY\"('FROM ' || 't')",
        "SELECT (SELECT count(*) FROM system.main.query('SELECT 1')) FROM t",
        "SELECT * FROM query(CASE WHEN random() < 2 THEN 'SELECT 1' END)",
        "SELECT * FROM query('COPY t TO ''OUT''')",
        "SELECT * FROM query('SET lock_configuration = false')",
    ],
    "calls json_execute_serialized_sql, which runs SQL that is in a text": [
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('WITH s AS (COPY t TO ''OUT'') FROM s'))",
        "SELECT * FROM Json_Execute_Serialized_SQL(json_serialize_sql('WITH s AS (CO' || 'PY t TO ''OUT'') FROM s'))",
    ],
    'Invalid Input Error: Cannot change configuration option "enable_logging" - the configuration has been locked': [
        "SELECT * FROM enable_logging()",
    ],
    "takes one statement, got 2": [
        "SELECT 1; COPY t TO 'OUT'",
        "SELECT 1;; DROP VIEW t",
        "/* ; */ SELECT 1 -- ;\n; COPY t TO 'OUT'",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got PREPARE": [
        "PREPARE p AS COPY t TO 'OUT'",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got EXECUTE": [
        "EXECUTE p",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got CALL": [
        "CALL pragma_version()",
        "CALL enable_logging(storage='file', storage_path='OUT')",
        "CHECKPOINT",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got EXPLAIN": [
        "EXPLAIN ANALYZE COPY t TO 'OUT'",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got TRANSACTION": [
        "BEGIN TRANSACTION",
    ],
    "takes a statement that reads, SELECT … or WITH … SELECT …, got VACUUM": [
        "VACUUM",
    ],
    'Parser Error: syntax error at or near "INTO"': [
        "SELECT * INTO x FROM t",
    ],
    "takes one statement, got 0": [
        "",
        ";",
        "-- nothing",
    ],
}
"""What the error says, and the queries that would change something, or run what can."""

CRASHES = [
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)",
    "SELECT * FROM arrow_scan_dumb(1::POINTER, 2::POINTER, 3::POINTER)",
    "SELECT * FROM pandas_scan(1::POINTER)",
    "SELECT * FROM pandas_scan(CAST(81985529216486895 AS POINTER))",
    "SELECT * FROM python_map_function(1::POINTER)",
    "SELECT * FROM seq_scan()",
    "SELECT * FROM python_scan(1)",
    "SELECT " + "(" * 50_000,
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "SELECT " + "-" * 1 + " -".join("1" * 20_000),
    "SELECT " + "NOT " * 20_000 + "true",
    "SELECT " + "[" * 20_000 + "]" * 20_000,
    "SELECT " + "CASE WHEN true THEN " * 4000 + "1" + " END" * 4000,
    "SELECT * FROM " + "(SELECT * FROM " * 5000 + "t" + ")" * 5000,
    "SELECT '" + "\\" * 50_000,
    "SELECT 1 \0 , 2",
    "SELECT json_extract('" + "[" * 90_000 + "', '$')",
    f"SELECT * FROM json_execute_serialized_sql({json.dumps('x')!r})",
    "SELECT x FROM t WHERE x = $1",
    "SELECT * FROM t WHERE x = ?",
    "SELECT " + "NOT " * 20_000 + "query",
    "SELECT " + " + ".join(["x"] * 900) + " FROM t",
]

HEAVY = [
    "SELECT repeat('x', 4000000000)",
    "SELECT sum(length(repeat('x', 100000000 + i::INT))) FROM range(100) r(i)",
    "SELECT list(i) FROM range(3000000000) r(i)",
    "SELECT string_agg(repeat('x', 1000000), '') FROM range(100000)",
    "SELECT range(4000000000)",
    "SELECT lpad('x', 2000000000, 'x') || lpad('x', 2000000000, 'x')",
    "SELECT list_resize([1], 4000000000)",
    "SELECT histogram(i) FROM range(1000000000) r(i)",
]
"""Memory without end; each is over within the slot's limit, as an error of memory."""
