"""One table into many files, by the values of some columns, in directories named as Hive names them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.core.errors import InvalidArguments
from workbench.operations import context, reading, tabular
from workbench.operations.context import Output, Overwrite
from workbench.operations.formats import Target
from workbench.operations.tabular import Reader, Source, Write

MOST = 512
"""Partitions, each of which is an open file while the table is read."""

GATHERED = 128 << 20
"""Bytes of rows that wait, over all partitions, until they are enough to be written."""

MISSING = "__HIVE_DEFAULT_PARTITION__"
COMPLETE = "_SUCCESS"
"""A file beside the partitions, as Spark and Hadoop have it: it is there once all of a set are, and lists them."""


def write(
    reader: Reader, source: Source, by: list[str], target: Target, output: str | None, *, overwrite: Overwrite
) -> dict[str, Path]:
    """Write a file for each partition: see `convert.partition`."""
    if not by or len(set(by)) < len(by):
        raise InvalidArguments(f"partition_by: takes one or more different columns, got {by}")
    if output is not None:
        context.make_directory(Path(output))
    with (
        reader.open() as (schema, batches),
        reading.ahead(batches) as ready,
        contextlib.ExitStack() as files,
    ):
        tabular.check_known(by, schema.names, source, "partition_by")
        kept = [name for name in schema.names if name not in by]
        if not kept:
            raise InvalidArguments("partition_by: leaves no column for the files: leave one out")
        partitions = _Partitions(files, target, source, schema, kept, output, overwrite)
        for batch in ready:
            for place, rows in _divided(batch, by):
                partitions.add(place, rows.select(kept))
        partitions.flush()
        if output is not None:
            Path(output, COMPLETE).unlink(missing_ok=True)
        files.close()  # only now do they take their names, one after the other
    written = dict(sorted(partitions.written.items()))
    if output is not None:
        listing = "".join(f"{place}\n" for place in written)
        context.write_file(COMPLETE, Output(str(Path(output, COMPLETE))), lambda part: _write(part, listing))
    return written


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


class _Partitions:
    """The files that are being written, and the rows that wait for them."""

    def __init__(
        self,
        files: contextlib.ExitStack,
        target: Target,
        source: Source,
        schema: Any,
        kept: list[str],
        output: str | None,
        overwrite: Overwrite,
    ) -> None:
        self._files = files
        self._target = target
        self._stem = source.stem
        self._schema = schema.empty_table().select(kept).schema
        self._root = context.scratch_file("partitions") if output is None else Path(output)
        self._overwrite = overwrite
        self._writers: dict[str, Write] = {}
        self._waiting: dict[str, list[Any]] = {}
        self._bytes = 0
        self.written: dict[str, Path] = {}

    def add(self, place: str, rows: Any) -> None:
        """Take rows of a partition in."""
        if place not in self._waiting:
            if len(self._waiting) == MOST:
                raise InvalidArguments(
                    f"partition_by: there are more than {MOST} partitions. Take columns of fewer values, or "
                    "convert.split with a number of rows"
                )
            self._waiting[place] = []
        self._waiting[place].append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= GATHERED:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        import pyarrow as pa

        for place, waiting in self._waiting.items():
            if waiting:
                rows = pa.Table.from_batches(waiting, self._schema).combine_chunks()
                waiting.clear()
                for batch in rows.to_batches():
                    self._writer(place)(batch)
        self._bytes = 0

    def _writer(self, place: str) -> Write:
        if place not in self._writers:
            self._writers[place] = self._files.enter_context(self._opened(place))
        return self._writers[place]

    @contextlib.contextmanager
    def _opened(self, place: str) -> Iterator[Write]:
        name = self._target.name(self._stem)
        directory = self._root / place
        context.make_directory(directory)
        with (
            context.file_in_the_making(directory / name, overwrite=self._overwrite) as part,
            self._target.writer(part, self._schema) as put,
        ):
            yield put
        self.written[f"{place}/{name}"] = directory / name


def _divided(batch: Any, by: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the rows of each partition in a batch, in their order, with the partition's place."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes, values = None, []
    for name in by:
        column = batch.column(name)
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        encoded = plain.dictionary_encode(null_encoding="encode")
        index = encoded.indices.cast(pa.int64())
        values.append(encoded.dictionary)
        codes = index if codes is None else pc.add(pc.multiply(codes, len(encoded.dictionary)), index)
    for code in pc.unique(codes).to_pylist():
        rows = batch.filter(pc.equal(codes, code))
        names = []
        for name, dictionary in zip(reversed(by), reversed(values), strict=True):
            code, position = divmod(code, len(dictionary))
            names.append(f"{quote(name, safe=' ')}={_text(dictionary[position])}")
        yield "/".join(reversed(names)), rows


def _text(value: Any) -> str:
    """Return a value as a directory's name; what has a meaning in names is written as in a URL."""
    if not value.is_valid:
        return MISSING
    import pyarrow as pa

    text = tabular.as_text(pa.array([value.as_py()], value.type))[0].as_py()
    return quote(text, safe=" ") or MISSING
