from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from workbench.operations.reading import ahead

BATCH = pa.record_batch([pa.array(range(1000))], names=["x"])  # 8,000 bytes


class Source:
    """Batches, counted as they are read."""

    def __init__(self, count: int, then: Exception | None = None) -> None:
        self.count = count
        self.then = then
        self.read = 0
        self.more = threading.Condition()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for _ in range(self.count):
            with self.more:
                self.read += 1
                self.more.notify_all()
            yield BATCH
        if self.then is not None:
            raise self.then

    def wait(self, read: int) -> bool:
        with self.more:
            return self.more.wait_for(lambda: self.read >= read, 30)


def test_batches_come_in_order_and_all_of_them() -> None:
    tables = (pa.record_batch([pa.array([number])], names=["x"]) for number in range(500))
    with ahead(tables, 100) as ready:
        assert [batch.column(0)[0].as_py() for batch in ready] == list(range(500))


def test_as_many_bytes_are_read_ahead_as_may_wait_and_one_batch_more() -> None:
    source = Source(50)
    with ahead(iter(source), 3 * BATCH.nbytes) as ready:
        assert source.wait(4)  # three that wait, and one that is handed over next
        next(ready)
        assert source.wait(5)
        assert source.read == 5
        assert sum(1 for _ in ready) == 49


def test_an_error_comes_after_the_batches_before_it() -> None:
    seen = 0
    with pytest.raises(ZeroDivisionError), ahead(iter(Source(3, ZeroDivisionError()))) as ready:  # noqa: PT012
        for _ in ready:
            seen += 1
    assert seen == 3


def test_nothing_is_read_any_more_once_it_is_left() -> None:
    source = Source(1_000_000)
    with ahead(iter(source), BATCH.nbytes) as ready:
        next(ready)
    assert source.read <= 3
    assert "read ahead" not in [thread.name for thread in threading.enumerate()]
