"""A file's beginning, to look at. However large the file is, little of it is read.

What isn't as its name says is shown as text, or as bytes.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import zlib
from pathlib import Path
from typing import Any

from workbench.core.errors import InputError
from workbench.values import images

HEAD = 64 << 10
"""Bytes of a text that are looked at."""
EDGE = 256
"""Pixels that a picture's preview is wide or high."""
_BYTES = 256
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ico", ".jp2", ".avif")


def of(path: Path, name: str, rows: int) -> Any:
    """Return a file's beginning.

    Parameters
    ----------
    path
        The file; in the store it has no telling name.
    name
        Its name, whose extension says what it is.
    rows
        Rows of a table, or lines of a text.

    Returns
    -------
    pandas.DataFrame, PIL.Image.Image, str or bytes
        The first rows of a table, a picture of at most 256 × 256 pixels, the first lines of a text, or the first bytes.
    """
    lower = name.lower()
    extension = Path(lower.removesuffix(".gz")).suffix
    if extension in _PICTURES:
        with contextlib.suppress(InputError):
            return _picture(path, name)
    head = _head(path, zipped=lower.endswith(".gz"))
    with contextlib.suppress(Exception):  # damaged, or not what its name says: shown as it is
        match extension:
            case ".csv" | ".tsv":
                return _csv(head, rows)
            case ".jsonl":
                return _jsonl(head, rows)
            case ".parquet":
                return _parquet(path, rows)
            case ".feather" | ".arrow":
                return _arrow(path, rows)
    return _text(head, rows)


def _picture(path: Path, name: str) -> Any:
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(images.load(path, name))
    picture.thumbnail((EDGE, EDGE))
    return picture


def _head(path: Path, zipped: bool) -> bytes:
    """Return the beginning, unzipped; up to a line's end where it is of lines."""
    head = b""
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            head = file.read(HEAD)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        pass  # damaged: nothing of it can be shown
    if len(head) == HEAD:
        head = head[: head.rfind(b"\n") + 1 or HEAD]
    return head


def _decoded(head: bytes) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        return head.decode("utf-8-sig")
    return head.decode("latin-1")


def _csv(head: bytes, rows: int) -> Any:
    import pandas as pd

    text = _decoded(head)
    try:
        separator = csv.Sniffer().sniff("\n".join(text.splitlines()[:20]), ",;\t|").delimiter
    except csv.Error:
        separator = ","
    return pd.read_csv(io.StringIO(text), sep=separator, nrows=rows, index_col=False)


def _jsonl(head: bytes, rows: int) -> Any:
    import pandas as pd

    lines = itertools.islice(filter(str.strip, _decoded(head).splitlines()), rows)
    return pd.read_json(io.StringIO("\n".join(lines)), lines=True)


def _parquet(path: Path, rows: int) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        batches = list(itertools.islice(file.iter_batches(max(1, rows)), 1))
        return pa.Table.from_batches(batches, file.schema_arrow).slice(0, rows).to_pandas()


def _arrow(path: Path, rows: int) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped:
        try:
            reader = pa.ipc.open_file(mapped)
            batches = [reader.get_batch(0)] if reader.num_record_batches else []
        except pa.ArrowInvalid:
            mapped.seek(0)
            reader = pa.ipc.open_stream(mapped)
            batches = list(itertools.islice(reader, 1))
        for batch in batches:
            batch.validate(full=True)  # offsets that lead out of a buffer would crash whoever follows them
        return pa.Table.from_batches(batches, reader.schema).slice(0, rows).to_pandas()


def _text(head: bytes, rows: int) -> str | bytes:
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
    if controls:
        return head[:_BYTES]
    return "\n".join(_decoded(head).splitlines()[:rows])
