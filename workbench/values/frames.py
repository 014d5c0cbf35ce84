"""`pandas.DataFrame`s, `Series` and `pyarrow.Table`s as Arrow streams, behind a header that says the rest.

What comes back is equal: rows' and columns' index, their names and types, and each column's dtype.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from workbench.core.errors import InputError
from workbench.values import plain
from workbench.values.columns import Spec, check_arrow_type, codes_and_values, freq_text, from_arrow, to_arrow
from workbench.values.packed import Packed
from workbench.values.plain import Code, Refused, label, read_header, split_header, with_header

_encode = msgspec.msgpack.Encoder().encode


def pack_frame(frame: Any) -> Packed:
    """Pack a DataFrame.

    Raises
    ------
    Refused
        Naming the column that can't travel unchanged, and the cure.
    """
    _check_labels(frame.columns)
    arrays: list[Any] = []
    index = _index_out(frame.index, arrays, "the index")
    columns = []
    for position, name in enumerate(frame.columns):
        spec, array = _array_of(frame.iloc[:, position], f"column {name!r}")
        columns.append(spec)
        arrays.append(array)
    labels = _labels_out(frame.columns)
    return _packed(Code.FRAME, [index, labels, columns, _attrs(frame)], arrays)


def pack_series(series: Any) -> Packed:
    """Pack a Series. Raises as `pack_frame` does."""
    arrays: list[Any] = []
    index = _index_out(series.index, arrays, "the index")
    spec, array = _array_of(series, "the series")
    arrays.append(array)
    return _packed(Code.SERIES, [index, _name(series.name), spec, _attrs(series)], arrays)


def pack_table(table: Any) -> Packed:
    """Pack a pyarrow.Table. Raises as `pack_frame` does."""
    for field in table.schema:
        try:
            check_arrow_type(field.type)
        except Refused as refused:
            raise Refused(f"column {field.name!r} {refused.reason}") from None

    def write(file: BinaryIO, compress: bool) -> None:
        _write_stream(table, file, compress)

    return Packed(Code.TABLE, table.nbytes + 1024, write)


def unpack_frame(source: bytes | Path) -> Any:
    """Return the DataFrame."""
    import pandas as pd

    (index_spec, labels, specs, attrs), table = _read(source)
    columns = iter(table.columns)
    index = _index_in(index_spec, columns)
    rows = pd.RangeIndex(len(index))
    # A Series per column, so that pandas infers nothing; their memory is Arrow's, and is copied into the frame's own.
    data = {
        position: pd.Series(values := from_arrow(spec, next(columns)), index=rows, dtype=values.dtype, copy=False)
        for position, spec in enumerate(specs)
    }
    frame = pd.DataFrame(data, index=rows, columns=pd.RangeIndex(len(specs)), copy=True)
    frame.index = index
    frame.columns = _labels_in(labels)
    frame.attrs.update(attrs)
    return frame


def unpack_series(source: bytes | Path) -> Any:
    """Return the Series."""
    import pandas as pd

    (index_spec, name, spec, attrs), table = _read(source)
    columns = iter(table.columns)
    index = _index_in(index_spec, columns)
    values = from_arrow(spec, next(columns))
    series = pd.Series(values, index=index, name=name, dtype=values.dtype, copy=True)
    series.attrs.update(attrs)
    return series


def unpack_table(source: bytes | Path) -> Any:
    """Return the pyarrow.Table."""
    import pyarrow as pa

    if isinstance(source, Path):
        with pa.OSFile(str(source)) as file:
            return _read_stream(file)
    return _read_stream(pa.BufferReader(source))


# --- the stream -------------------------------------------------------------------------------------


def _packed(code: int, header: list[Any], arrays: list[Any]) -> Packed:
    import pyarrow as pa

    table = pa.table(arrays, names=[str(position) for position in range(len(arrays))])
    head = with_header(header)

    def write(file: BinaryIO, compress: bool) -> None:
        file.write(head)
        _write_stream(table, file, compress)

    return Packed(code, len(head) + table.nbytes + 512, write)


def _stream_of(arrays: list[Any]) -> bytes:
    return bytes(_packed(Code.TABLE, [], arrays).inline().data)


def _write_stream(table: Any, file: BinaryIO, compress: bool) -> None:
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression="zstd" if compress else None)
    with pa.ipc.new_stream(file, table.schema, options=options) as writer:
        if table.num_rows or not table.num_columns:
            writer.write_table(table)
        else:  # of which write_table writes nothing: categories would be lost
            arrays = [column.combine_chunks() for column in table.columns]
            chunks = [array.chunk(0) if isinstance(array, pa.ChunkedArray) else array for array in arrays]
            writer.write_batch(pa.RecordBatch.from_arrays(chunks, schema=table.schema))


def _read(source: bytes | Path) -> tuple[Any, Any]:
    import pyarrow as pa

    if isinstance(source, bytes):
        header, rest = split_header(source)
        return header, _read_stream(pa.BufferReader(pa.py_buffer(rest)))
    with source.open("rb") as opened:
        header = read_header(opened)
        offset = opened.tell()
    # Mapped: a column's way from the file into the frame is one copy then, not two. Nothing of the frame may lie in the
    # file afterwards, see `columns.own`: a file that a sweep removes on a file server would take the process with it.
    with pa.memory_map(str(source)) as file:
        file.seek(offset)
        return header, _read_stream(file)


def _read_stream(file: Any) -> Any:
    """Read a stream and check it: offsets that lead out of a buffer would otherwise crash whoever follows them."""
    import pyarrow as pa

    with pa.ipc.open_stream(file) as reader:
        for field in reader.schema:
            check_arrow_type(field.type)
        table = reader.read_all()
    table.validate(full=True)
    return table


# --- indexes ----------------------------------------------------------------------------------------


def _array_of(values: Any, what: str) -> tuple[Spec, Any]:
    try:
        return to_arrow(values.array)
    except Refused as refused:
        raise Refused(f"{what} {refused.reason}") from None


def _index_out(index: Any, arrays: list[Any], what: str) -> Spec:
    """Return an index's spec, and append its arrays."""
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        return ["range", index.start, index.stop, index.step, _name(index.name)]
    try:
        if not isinstance(index, pd.MultiIndex):
            spec, array = to_arrow(index.array, mixed=True)
            arrays.append(array)
            return ["index", spec, freq_text(index), _name(index.name)]
        specs = []
        for level, codes in zip(index.levels, index.codes, strict=True):
            spec, array = _level_out(level, codes)
            specs.append(spec)
            arrays.append(array)
        return ["multi", specs, [_name(name) for name in index.names]]
    except Refused as refused:
        raise Refused(f"{what} {refused.reason}. Or take it out of the way: frame.reset_index(drop=True)") from None


def _level_out(level: Any, codes: Any) -> tuple[Spec, Any]:
    """Return one level of a MultiIndex: its labels as the dictionary of its codes, or in the header."""
    import pandas as pd
    import pyarrow as pa

    # A range has no labels to send, and Arrow's streams can't hold dictionaries of dictionaries.
    if isinstance(level, pd.RangeIndex) or pa.types.is_dictionary(
        (column := to_arrow(level.array, mixed=True))[1].type
    ):
        return ["header", _labels_out(level)], pa.array(codes)
    spec, array = column
    missing = codes == -1
    return ["dictionary", spec, freq_text(level)], pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=missing if missing.any() else None),
        array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array,
    )


def _index_in(spec: Spec, columns: Any) -> Any:
    import pandas as pd
    import pyarrow as pa

    match spec:
        case ["range", start, stop, step, name]:
            return pd.RangeIndex(start, stop, step, name=name)
        case ["index", values, freq, name]:
            return _one_index(from_arrow(values, next(columns)), freq, name)
        case ["multi", levels, names]:
            all_codes, all_levels = [], []
            for level, column in zip(levels, columns, strict=False):
                if level[0] == "header":
                    all_codes.append(column.to_numpy().copy())
                    all_levels.append(_labels_in(level[1]))
                else:
                    codes, values = codes_and_values(column)
                    all_codes.append(codes)
                    all_levels.append(_one_index(from_arrow(level[1], pa.chunked_array([values])), level[2], None))
            return pd.MultiIndex(all_levels, all_codes, names=names)
    raise InputError("it has no index")


def _one_index(values: Any, freq: str | None, name: Any) -> Any:
    import pandas as pd

    index: Any = pd.Index(values, dtype=values.dtype, name=name, tupleize_cols=False, copy=True)
    if freq is not None:
        index.freq = pd.tseries.frequencies.to_offset(freq)
    return index


def _labels_out(columns: Any) -> list[Any]:
    """Return the columns' labels: plain ones as a list, others as a stream of their own."""
    import pandas as pd

    dtype = columns.dtype
    if isinstance(dtype, pd.StringDtype) and not columns.hasnans:
        return [
            "strings",
            dtype.storage,
            "NA" if dtype.na_value is pd.NA else "nan",
            columns.tolist(),
            _name(columns.name),
        ]
    arrays: list[Any] = []
    spec = _index_out(columns, arrays, "the columns' index")
    if not arrays:
        return ["plain", spec]
    return ["stream", spec, _stream_of(arrays)]


def _labels_in(labels: list[Any]) -> Any:
    import pandas as pd

    match labels:
        case ["strings", storage, na, items, name]:
            dtype = pd.StringDtype(storage) if na == "NA" else pd.StringDtype(storage, na_value=float("nan"))
            return pd.Index(items, dtype=dtype, name=name)
        case ["plain", spec]:
            return _index_in(spec, iter(()))
        case ["stream", spec, data]:
            return _index_in(spec, iter(_read(data)[1].columns))
    raise InputError("it has no columns")


def _check_labels(columns: Any) -> None:
    if columns.is_unique:
        return
    twice = columns[columns.duplicated()].unique().tolist()
    names = ", ".join(repr(name) for name in twice[:5])
    raise Refused(
        f"the columns {names} occur more than once. Rename them, or keep the first of each: "
        "frame.loc[:, ~frame.columns.duplicated()]"
    )


def _name(name: Any) -> object:
    try:
        return label(name)
    except Refused as refused:
        raise Refused(f"the name {name!r} can't travel: {refused.reason}") from None


def _attrs(value: Any) -> object:
    try:
        return plain.plain(dict(value.attrs), plain.refuse_rich)
    except Refused as refused:
        raise Refused(f"its attrs can't travel ({refused}). Drop them: frame.attrs.clear()") from None
