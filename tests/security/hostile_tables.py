"""Small files that unfold into large tables, or break who reads them. Each maker returns the file's path."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq


def parquet_of_many_rows(directory: Path, rows: int = 200_000_000) -> Path:
    """Runs of one value: a row group's pages take a few bytes."""
    path = directory / "rows.parquet"
    step = rows // 20
    batch = pa.table({"x": np.zeros(step, "i8")})
    with pq.ParquetWriter(path, batch.schema, compression="zstd", data_page_size=1 << 30) as writer:
        for _ in range(20):
            writer.write_table(batch, row_group_size=step)
    return path


def parquet_of_one_long_text(directory: Path) -> Path:
    """A dictionary of one text of a megabyte, and two million references to it."""
    path = directory / "texts.parquet"
    column = pa.DictionaryArray.from_arrays(np.zeros(2_000_000, "i4"), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"s": column}), path, store_schema=False)
    return path


def parquet_whose_footer_is_longer_than_itself(directory: Path) -> Path:
    path = directory / "footer.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100 + (0x7FFFFFF0).to_bytes(4, "little") + b"PAR1")
    return path


def parquet_whose_footer_claims_a_billion_columns(directory: Path) -> Path:
    """Thrift: version 2, then a list of structs whose length is 2**31 - 1."""
    path = directory / "thrift.parquet"
    footer = b"\x15\x02\x19\xfc" + b"\xff\xff\xff\xff\x07" + b"\0" * 50
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


def feather_of_many_rows(directory: Path) -> Path:
    path = directory / "rows.feather"
    pyarrow.feather.write_feather(
        pa.table({"x": np.zeros(100_000_000, "i8")}), path, compression="zstd", chunksize=100_000_000
    )
    return path


def _replaced(directory: Path, name: str, table: pa.Table, before: np.ndarray, after: np.ndarray) -> Path:
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    data = buffer.getvalue()
    assert before.tobytes() in data
    path = directory / name
    path.write_bytes(data.replace(before.tobytes(), after.tobytes()))
    return path


def feather_whose_offsets_lead_out(directory: Path) -> Path:
    words = pa.array(["a"] * 1000)
    offsets = np.frombuffer(words.buffers()[1], "i4")
    out = np.where(np.arange(len(offsets)) < 500, offsets, 2**30).astype("i4")
    return _replaced(directory, "offsets.feather", pa.table({"x": words}), offsets, out)


def feather_whose_categories_are_not_there(directory: Path) -> Path:
    codes = np.arange(7, 107, dtype="i4")
    column = pa.DictionaryArray.from_arrays(codes, pa.array(["a"] * 1000))
    return _replaced(directory, "codes.feather", pa.table({"x": column}), codes, codes + np.int32(10**9))


def arrow_whose_metadata_is_absurdly_long(directory: Path) -> Path:
    path = directory / "metadata.arrow"
    path.write_bytes(b"\xff\xff\xff\xff" + (0x7FFFFFFF).to_bytes(4, "little") + b"\0" * 100)
    return path


def _zipped(path: Path, text: bytes, times: int, first: bytes = b"x\n") -> Path:
    """Write gzip's members, one after the other: to whoever reads them they are one."""
    with path.open("wb") as file:
        file.write(gzip.compress(first))
        member = gzip.compress(text, 9)
        for _ in range(times):
            file.write(member)
    return path


def zipped_zeros(directory: Path) -> Path:
    """Three gigabytes of rows."""
    return _zipped(directory / "zeros.csv.gz", b"0\n" * 5_000_000, 300)


def zipped_endless_line(directory: Path) -> Path:
    """A line of more than two gigabytes."""
    return _zipped(directory / "line.csv.gz", b"0" * 10_000_000, 220)


def csv_of_a_million_columns(directory: Path) -> Path:
    path = directory / "columns.csv"
    path.write_text(",".join(f"c{i}" for i in range(1_000_000)) + "\n" + ",".join(["1"] * 1_000_000) + "\n")
    return path


def csv_of(shape: str, directory: Path, size: int) -> Path:
    """Write about so many bytes of text, of which a reader makes far more, or all at once."""
    header, row = {
        "digits": (b"x", b"0"),
        "letters": (b"x", b"a"),
        "nothing": (b"x,y", b","),
        "columns": (b",".join(b"c%d" % n for n in range(100)), b",".join([b"1"] * 100)),
        "many columns": (b",".join(b"c%d" % n for n in range(50_000)), b",".join([b"1"] * 50_000)),
        "long lines": (b"x,y", b"1," + b"x" * 3_000_000),
        "carriage returns": (b"x", b"\r0" * 1000),
        "quotes": (b"x", b'"' + b"\n" * 1000 + b'"'),
        "blank lines": (b"x", b"\n" * 1000),
    }[shape]
    path = directory / f"{shape}.csv"
    path.write_bytes(header + b"\n" + (row + b"\n") * (size // (len(row) + 1)))
    return path


def zipped_lines(shape: str, directory: Path) -> Path:
    """Lines of JSON, hundreds of megabytes and more of them."""
    text, times = {
        "digits": (b'{"a":0}\n' * 500_000, 300),
        "empty": (b"{}\n" * 500_000, 300),
        "lists": (b'{"x":[' + b"0," * 400_000 + b"0]}\n", 300),
        "many columns": (b"{" + b",".join(b'"c%d":1' % n for n in range(20_000)) + b"}\n", 1000),
        "long lines": (b'{"a":"' + b"0" * 3_000_000 + b'"}\n', 200),
        "spaces": (b" " * 1_000_000 + b"\n", 1000),
        "endless line": (b"0" * 4_000_000, 300),
    }[shape]
    return _zipped(directory / f"{shape}.jsonl.gz", text, times, first=b"")


def csv_of_one_name_for_all_columns(directory: Path) -> Path:
    path = directory / "names.csv"
    path.write_text(",".join(["c"] * 90_000) + "\n" + ",".join(["1"] * 90_000) + "\n")
    return path


def nested_json(directory: Path, name: str = "deep.json", depth: int = 100_000) -> Path:
    path = directory / name
    path.write_text('[{"a":' + "[" * depth + "1" + "]" * depth + "}]")
    return path


def nested_lines(directory: Path, opening: str = "[", closing: str = "]") -> Path:
    path = directory / "deep.jsonl"
    path.write_text('{"a": 1}\n{"a": NaN}\n{"a":' + opening * 100_000 + "1" + closing * 100_000 + "}\n")
    return path


def unclosed_json(directory: Path) -> Path:
    path = directory / "open.json"
    path.write_text("[" * 1_000_000)
    return path


def lines_of_a_key_each(directory: Path, name: str = "keys.jsonl", rows: int = 60_000) -> Path:
    """Each row has a column of its own: a square of cells."""
    path = directory / name
    lines = [f'{{"k{row}": 1}}' for row in range(rows)]
    path.write_text("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]")
    return path
