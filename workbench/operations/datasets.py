"""`Dataset`: a table of any size, in one file, in several, or in memory.

Small ones are worked on by pandas. What doesn't fit is streamed by pyarrow, or sorted, grouped and joined by DuckDB, in
bounded memory (`workbench.operations.data.duck`). The files are read by the same readers either way, so that a value is
missing, a number or text whichever engine works on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core.errors import InputTooLarge, InvalidArguments
from workbench.operations import context, datasetfiles, formats, reading, tabular
from workbench.operations.columnar import parquet_writer
from workbench.operations.tabular import Options, Reader, Source
from workbench.values import arguments
from workbench.values.files import Files
from workbench.values.frugality import frugal
from workbench.values.refs import FileRef, size_text

if TYPE_CHECKING:
    from pandas import DataFrame

R = TypeVar("R")

DEFAULT_LIMIT = 4 * 1024**3
"""Bytes that are taken for the memory there is where the slot has no limit."""
FRAME_SHARE = 1 / 3
"""Of that memory a table may take up as a DataFrame: working on it takes as much again, and often twice."""
BATCH_ROWS = 64 * 1024
EXACT = 2**53
"""The whole number up to which floats hold all of them."""


class Dataset:
    """A table of any size: an operation's parameter that takes files as well as frames.

    Annotate a parameter with it, and it can be called with a DataFrame or an Arrow table, a path, a `FileRef`, a glob
    (expanded where it is submitted) or a list of paths: several files are one table, rows in the files' order.

    Parameters
    ----------
    files
        The files, in the order of their rows; empty where it is a frame.
    frame
        The table, where it is in memory.

    Examples
    --------
    >>> import pandas as pd
    >>> data = Dataset.of(pd.DataFrame({"a": [1, 2]}))
    >>> data.names, data.fits
    (['a'], True)
    """

    def __init__(self, files: Sequence[FileRef | Path] = (), frame: DataFrame | None = None) -> None:
        self._files = tuple(files)
        self._frame = frame
        self._readers: list[Reader] | None = None
        self._schema: Any = None

    def __repr__(self) -> str:
        names = ", ".join(str(getattr(file, "name", file)) for file in self._files[:3])
        more = f" and {len(self._files) - 3} more" if len(self._files) > 3 else ""
        return f"<Dataset: {names or 'a frame'}{more}>"

    @classmethod
    def of(cls, value: Any) -> Dataset:
        """Return a dataset of whatever is one: itself, a frame, a table, a file, or a list of files."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str | os.PathLike):
            return cls([value if isinstance(value, FileRef) else Path(value)])
        if isinstance(value, list | tuple):
            if not value:
                raise InvalidArguments("a list of files has to name at least one")
            return cls([each if isinstance(each, FileRef) else Path(each) for each in value])
        return cls(frame=value if hasattr(value, "columns") and hasattr(value, "iloc") else exact_frame(value))

    # --- what it is ---------------------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        """Whether it came as a frame."""
        return self._frame is not None

    @property
    def sources(self) -> list[Source]:
        """The files, as this process reaches them.

        Raises
        ------
        InputNotFound, InputError
            If one isn't there, or can't be read as a table.
        """
        found = [(context.input_path(file), file) for file in self._files]
        return [tabular.source_of(path, getattr(file, "name", path.name)) for path, file in found]

    @property
    def stem(self) -> str:
        """The first file's name without its extension; `table` for a frame."""
        return self.sources[0].stem if self._files else "table"

    @property
    def size(self) -> int:
        """Bytes it takes up as a DataFrame: known of a frame, estimated of files."""
        if self._frame is not None:
            return int(self._frame.memory_usage(deep=False).sum())
        return sum(map(datasetfiles.size_of, self.sources))

    @property
    def fits(self) -> bool:
        """Whether pandas can work on it within the memory there is."""
        return self._frame is not None or self.size <= limit() * FRAME_SHARE

    @property
    def schema(self) -> Any:
        """Its `pyarrow.Schema`: of several files the narrowest types that hold all of theirs."""
        if self._schema is None:
            if self._frame is not None:
                self._schema = self._arrow().schema
            else:
                self._schema = self._joint()
        return self._schema

    @property
    def names(self) -> list[str]:
        """Its columns."""
        return list(self.schema.names if self._frame is None else self._frame.columns)

    @property
    def blank(self) -> DataFrame:
        """A frame of its columns, their types and no rows: whole numbers and truth values as where none is missing."""
        frame: DataFrame = self.schema.empty_table().to_pandas() if self._frame is None else self._frame.iloc[:0]
        return frame

    # --- what it holds ------------------------------------------------------------------------------

    def frame(self) -> DataFrame:
        """Return it as a DataFrame, with the types that `pandas.read_csv` or `pandas.read_parquet` would give it."""
        if self._frame is not None:
            return self._frame
        with frugal(), reading.bounded(self.sources):
            return exact_frame(retyped(lambda: reading.loaded(self.batches(), self.schema, self.sources), self))

    def batches(self, columns: list[str] | None = None, filters: Callable[[Any], Any] | None = None) -> Iterator[Any]:
        """Yield its rows as `pyarrow.RecordBatch`es, so many that they needn't be in memory together.

        Parameters
        ----------
        columns
            Only these, in this order.
        filters
            Returns, for a batch, an Arrow array that is true where a row is kept.

        Raises
        ------
        workbench.operations.tabular.Contradicted
            If a later row doesn't fit the types that the first ones suggested: see `retyped`.
        """
        schema = self.schema
        names = schema.names if columns is None else columns
        for batch in self._whole_batches():
            kept = batch if filters is None else batch.filter(filters(batch))
            yield kept.select(names)

    def settle(self) -> None:
        """Look at every row of files that are text, for types that fit them all."""
        if self._files:
            for reader in self._opened():
                reader.settle()
        self._schema = None

    def parquet(self, directory: Path) -> list[Path]:
        """Return Parquet files of its rows: its own, if that is what they are and they agree in their types.

        Parameters
        ----------
        directory
            Where to make one otherwise.
        """
        if self._frame is None and all(source.format == "parquet" for source in self.sources):
            schemas = {schema.remove_metadata() for schema in self._schemas()}
            if len(schemas) == 1:
                return [source.path for source in self.sources]
        path = directory / f"{os.urandom(6).hex()}.parquet"
        retyped(lambda: self._write(path), self)
        return [path]

    # --- inside -------------------------------------------------------------------------------------

    def _write(self, path: Path) -> None:
        with parquet_writer(path, self.schema, "snappy") as put:
            for batch in self.batches():
                put(batch)

    def _whole_batches(self) -> Iterator[Any]:
        schema = self.schema
        if self._frame is not None:
            yield from self._arrow().to_batches(max_chunksize=BATCH_ROWS)
            return
        yield from reading.together(self._opened(), schema)

    def _arrow(self) -> Any:
        import pyarrow as pa

        try:
            return pa.Table.from_pandas(self._frame)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InvalidArguments(f"the frame can't be written as a file: {error}") from error

    def _opened(self) -> list[Reader]:
        if self._readers is None:
            self._readers = [datasetfiles.reader_of(source) for source in self.sources]
        return self._readers

    def _schemas(self) -> list[Any]:
        return list(map(reading.schema_of, self._opened()))

    def _joint(self) -> Any:
        sources = self.sources
        joint = reading.joined(sources, self._opened())
        return datasetfiles.without_nulls(joint) if any(source.delimited for source in sources) else joint


def from_wire(kind: str, value: object, files: Files) -> object:
    """Turn what travelled into what the operation asks for: as `values.arguments.from_wire`, and tables from files."""
    found = arguments.from_wire(kind, value, files)
    match kind:
        case "dataset":
            return Dataset.of(found)
        case "frame" if isinstance(found, list):
            data = Dataset(found)
            _note("pandas", data)
            return data.frame()
        case "table" if isinstance(found, list):
            return _table(Dataset(found).sources)
    return found


def _table(sources: Sequence[Source]) -> Any:
    """Return files as one `pyarrow.Table`, of the types that Arrow finds."""
    with frugal(), reading.bounded(sources):
        readers = [formats.reader_of(source, Options()) for source in sources]

        def read() -> Any:
            schema = reading.joined(sources, readers)
            return reading.loaded(reading.together(readers, schema), schema, sources)

        return reading.settled(read, *readers)


def exact_frame(table: Any) -> DataFrame:
    """Return a table, or a record batch, as a DataFrame: in pandas's own types, but for what floats can't hold.

    Where one is missing, pandas makes floats of all of a column: of two whole numbers beyond 2⁵³ they can make one.
    """
    import pandas as pd
    import pyarrow as pa

    table = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
    frame: DataFrame = table.to_pandas()
    wide = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    exact = []
    for name in table.column_names:
        column = table[name]
        if column.type in wide and column.null_count and name in frame.columns and farthest(column) > EXACT:
            frame[name] = column.to_pandas(types_mapper=wide.get).array
            exact.append(name)
    if exact:
        context.note("types", f"Int64, as floats would lose digits of what isn't missing: {', '.join(exact[:20])}")
    return frame


def farthest(column: Any) -> int:
    """Return how far an Arrow column's whole numbers go from zero; 0 where there are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type) or column.null_count == len(column):
        return 0
    least, most = pc.min_max(column).as_py().values()
    return int(max(-least, most))


def limit() -> int:
    """Return the bytes of memory there are: the slot's, or a default where it has no limit."""
    return context.memory_limit() or DEFAULT_LIMIT


def too_large(engine: str, *data: Dataset, stream: bool = False) -> bool:
    """Choose the engine and note it: whether these don't fit, each or all together, so that pandas can't do it.

    Parameters
    ----------
    engine
        What does it then: `pyarrow` or `duckdb`.
    data
        What the operation works on.
    stream
        Whether it is to be that engine in any case.
    """
    large = sum(each.size for each in data if not each.in_memory) > limit() * FRAME_SHARE
    _note(engine if large or stream else "pandas", *data)
    return large or stream


def in_memory(what: str, *data: Dataset) -> None:
    """Note that pandas works on these, which needs all of them in memory; raise where that can't be.

    Parameters
    ----------
    what
        What needs them there.
    data
        What it works on.

    Raises
    ------
    workbench.core.errors.InputTooLarge
        If they take up more than there is.
    """
    size = sum(each.size for each in data)
    if size > limit():
        raise InputTooLarge(
            f"{what} needs its table in memory, where it would take about {size_text(size)} of the "
            f"{size_text(limit())} that the task may use. Select columns, filter or aggregate first (data.select, "
            "data.filter, data.groupby), or give the worker a higher --memory-limit"
        )
    _note("pandas", *data)


def _note(engine: str, *data: Dataset) -> None:
    sizes = " and ".join(size_text(each.size) for each in data)
    context.note("engine", f"{engine}: about {sizes} as a DataFrame, of {size_text(limit())} of memory")


def retyped(work: Callable[[], R], *data: Dataset) -> R:
    """Return what `work` does; where a row contradicts the types that the first ones suggested, once more with others.

    Parameters
    ----------
    work
        Reads the datasets from their beginning each time it is called.
    data
        The datasets.
    """
    try:
        return work()
    except tabular.Contradicted as contradiction:
        context.note("types", f"widened, as a later row of {contradiction} contradicts the first ones")
        for each in data:
            each.settle()
        return work()
