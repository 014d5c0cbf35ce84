"""CSV, written: quotes only where something needs them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.operations.csvfiles import NULLS
from workbench.operations.tabular import Write, as_text

_LARGE = 1 << 28
"""Bytes of a batch from which its lines may need more than the 2 GiB that one array of text holds."""


@contextlib.contextmanager
def csv_writer(path: Path, schema: Any, compression: str, delimiter: str) -> Iterator[Write]:
    """Write a CSV file: UTF-8, a header, lines that end in a line feed.

    What needs quotes has them: separators, quotes and ends of lines; and text that would be taken for a missing value,
    which is written as nothing at all.
    """
    import pyarrow as pa

    for field in schema:
        type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
            raise InvalidArguments(f"to: the column {field.name!r} holds {type_}, which CSV can't. Convert to parquet")
    with pa.output_stream(str(path), compression=None if compression == "none" else compression) as file:
        names = pa.array([str(name) for name in schema.names])
        header = delimiter.join(_quoted(names, delimiter).to_pylist()) if len(names) else ""
        file.write(f"{header}\n".encode())
        yield lambda batch: file.write(_lines(batch, delimiter))


def _lines(batch: Any, delimiter: str) -> Any:
    """Return a batch as text: one buffer, made without a Python object for each row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not batch.num_rows:
        return b""
    cells = [_quoted(as_text(column), delimiter, _is_text(column.type)) for column in batch.columns]
    missing = "NA" if len(cells) == 1 else ""  # a single empty cell would be a blank line, which readers skip
    end = {"null_handling": "replace", "null_replacement": missing}
    kind = pa.large_string() if batch.nbytes > _LARGE else pa.string()
    cells = [cell.cast(kind) for cell in cells]
    cells[-1] = pc.binary_join_element_wise(cells[-1], "\n", "", **end)
    lines = pc.binary_join_element_wise(*cells, delimiter, **end) if len(cells) > 1 else cells[0]
    return lines.buffers()[2]  # fresh from a kernel, so that it holds these lines and nothing else


def _is_text(type_: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_dictionary(type_)
    )


def _quoted(text: Any, delimiter: str, may_look_null: bool = True) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not may_look_null and delimiter not in "-+.:eTZ 0123456789":
        return text
    if not pa.types.is_large_string(text.type):
        text = text.cast(pa.string())
    needs = None
    if _holds_any(text, f'{delimiter}"\r\n '):
        needs = pc.match_substring_regex(text, f'[{re.escape(delimiter)}"\r\n]|^ | $')
    if may_look_null:
        like_null = pc.is_in(text, pa.array(NULLS, text.type))
        needs = like_null if needs is None else pc.or_(needs, like_null)
    if needs is None or not pc.any(needs).as_py():
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(needs, quoted, text)


def _holds_any(text: Any, characters: str) -> bool:
    """Tell whether any of the characters may occur in a column: a look at its bytes, far faster than at its values."""
    import numpy as np
    import pyarrow as pa

    _, offsets, data = text.buffers()
    if data is None or not len(text):
        return False
    bounds = np.frombuffer(offsets, np.int64 if pa.types.is_large_string(text.type) else np.int32)
    start, end = int(bounds[text.offset]), int(bounds[text.offset + len(text)])
    own = bytes(data[start:end])
    return any(character.encode() in own for character in characters)
