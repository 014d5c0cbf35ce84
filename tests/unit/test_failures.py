from __future__ import annotations

import pytest

import workbench as wb
from workbench.worker.failures import describe


@pytest.mark.parametrize(
    ("error", "asks", "retry_in"),
    [
        (wb.Retry("busy", delay=3.0), "retry", 3.0),
        (ExceptionGroup("of a task group", [ValueError("x"), wb.Retry("busy", delay=3.0)]), "retry", 3.0),
        (ExceptionGroup("outer", [ExceptionGroup("inner", [wb.Reject("no text")])]), "reject", None),
        (ExceptionGroup("both", [wb.Retry("busy", delay=3.0), wb.Reject("no text")]), "reject", None),
        (ExceptionGroup("neither", [ValueError("x")]), "", None),
    ],
)
def test_what_an_operation_asks_for_is_found_in_groups_of_exceptions_too(
    error: Exception, asks: str, retry_in: float | None
) -> None:
    failure = describe(error)
    assert (failure.asks, failure.retry_in) == (asks, retry_in)
