"""An operation that does nothing, so that what is left is the framework's own cost."""

import workbench as wb


@wb.operation("bench.noop")
def noop(number: int) -> int:
    """Return the number."""
    return number


@wb.operation("bench.fail")
def fail(number: int) -> int:
    """Fail."""
    raise ValueError(number)
