"""CSV, written: quotes only where something needs them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.operations.tabular import NULLS, Write, as_text
from workbench.values import bounds

_IN_NUMBERS = "-+.:eTZ 0123456789"  # delimiters that may occur in what isn't text
_WIDTH = 16_000  # bytes that Arrow's writer takes for a column, whatever is in it
_LARGE = 1 << 28
"""Bytes of a batch from which its lines may need more than the 2 GiB that one array of text holds."""


@contextlib.contextmanager
def csv_writer(path: Path, schema: Any, compression: str, delimiter: str) -> Iterator[Write]:
    """Write a CSV file: UTF-8, a header, lines that end in a line feed.

    What needs quotes has them: separators, quotes and ends of lines; and text that would be taken for a missing value,
    which is written as nothing at all.
    """
    import pyarrow as pa

    bounds.check_width("CSV", len(schema), _WIDTH, "its writer")
    for field in schema:
        type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
            raise InvalidArguments(f"to: the column {field.name!r} holds {type_}, which CSV can't. Convert to parquet")
    with pa.output_stream(str(path), compression=None if compression == "none" else compression) as file:
        names = pa.array([str(name) for name in schema.names])
        header = delimiter.join(_quoted(names, _needing(names, delimiter)).to_pylist()) if len(names) else ""
        file.write(f"{header}\n".encode())
        yield lambda batch: _write(batch, file, delimiter)


def _write(batch: Any, file: Any, delimiter: str) -> None:
    """Write a batch without making a Python object of each row."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    if not batch.num_rows:
        return
    cells = [column if _is_plain(column.type) else as_text(column) for column in batch.columns]
    needing = [
        _needing(cell, delimiter, may_look_null=_is_text(column.type))
        for cell, column in zip(cells, batch.columns, strict=True)
    ]
    if len(cells) > 1 and not any(mask is not None for mask in needing):
        options = pacsv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none")
        pacsv.write_csv(pa.RecordBatch.from_arrays(cells, names=batch.schema.names), file, options)
    else:
        cells = [_quoted(cell, mask) for cell, mask in zip(cells, needing, strict=True)]
        file.write(_joined(cells, delimiter, large=batch.nbytes > _LARGE))


def _joined(cells: list[Any], delimiter: str, *, large: bool) -> Any:
    """Return columns of text as the lines of a CSV, in one buffer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = "NA" if len(cells) == 1 else ""  # a single empty cell would be a blank line, which readers skip
    end = {"null_handling": "replace", "null_replacement": missing}
    cells = [cell.cast(pa.large_string() if large else pa.string()) for cell in cells]
    cells[-1] = pc.binary_join_element_wise(cells[-1], "\n", "", **end)
    lines = pc.binary_join_element_wise(*cells, delimiter, **end) if len(cells) > 1 else cells[0]
    return lines.buffers()[2]  # fresh from a kernel, so that it holds these lines and nothing else


def _is_plain(type_: Any) -> bool:
    """Tell whether Arrow's own writer writes values of a type as `as_text` does."""
    import pyarrow as pa

    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_string(type_)
        or pa.types.is_date(type_)
        or (pa.types.is_timestamp(type_) and type_.tz is None)
    )


def _is_text(type_: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_dictionary(type_)
    )


def _needing(cell: Any, delimiter: str, *, may_look_null: bool = True) -> Any:
    """Return where a column's values need quotes, as an array of truth values; None where none does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not may_look_null and delimiter not in _IN_NUMBERS:
        return None
    text = _text(cell)
    needs = pc.is_in(text, pa.array(NULLS, text.type)) if may_look_null else None
    if _holds_any(text, f'{delimiter}"\r\n '):
        signs = pc.match_substring_regex(text, f'[{re.escape(delimiter)}"\r\n]|^ | $')
        needs = signs if needs is None else pc.or_(needs, signs)
    return needs if needs is not None and pc.any(needs).as_py() else None


def _quoted(cell: Any, needs: Any) -> Any:
    """Return a column as text, in quotes where it needs them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = _text(cell)
    if needs is None:
        return text
    quote, nothing = pa.scalar('"', text.type), pa.scalar("", text.type)
    quoted = pc.binary_join_element_wise(quote, pc.replace_substring(text, '"', '""'), quote, nothing)
    return pc.if_else(needs, quoted, text)


def _text(cell: Any) -> Any:
    import pyarrow as pa

    kept = pa.types.is_string(cell.type) or pa.types.is_large_string(cell.type)
    return cell if kept else as_text(cell).cast(pa.string())


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
