"""The functions that an expression (see `expressions`) may call, and what kinds of values they take.

None of them lets a value grow beyond its arguments' sizes together, so that a short expression needs little memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from workbench.operations.data.columns import kind


class Misfit(Exception):
    """A function doesn't take a value; the message goes on after its name."""


class Function(NamedTuple):
    """A function of the language."""

    usage: str
    least: int
    most: int
    compute: Callable[..., Any]
    literals: tuple[int, ...] = ()  # which arguments have to be written out


def is_column(value: object) -> bool:
    """Tell whether a value is a column, and not one number or text."""
    return hasattr(value, "dtype") and hasattr(value, "index")


def kind_of(value: Any) -> str:
    """Return the kind (see `columns.kind`) of a column or a scalar; `none` for None."""
    if is_column(value):
        return kind(value)
    if value is None:
        return "none"
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "bool"
    return "text" if isinstance(value, str) else "number"


def name_of(value: Any) -> str:
    """Return what an error calls a value."""
    if is_column(value):
        return f"a column of {value.dtype}" + (f" ({value.name})" if value.name is not None else "")
    return "None" if value is None else f"{value!r}"[:40]


def decoded(column: Any) -> Any:
    """Return a column of categories as what they are of: what is computed of them needn't be one of them."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.cat.categories.dtype if not column.hasnans else _holding_missing(column))
    return column


def _holding_missing(column: Any) -> Any:
    dtype = column.cat.categories.dtype
    return "float64" if dtype.kind in "iu" and not hasattr(dtype, "na_value") else dtype


def as_float(value: Any) -> Any:
    """Return a scalar number as numpy's float, which ends at infinity; a column as it is."""
    import numpy as np

    return value if is_column(value) or kind_of(value) != "number" else np.float64(value)


def is_moment(text: str, kinds: set[str]) -> bool:
    """Tell whether a text names a moment, or a duration, whichever is among the kinds."""
    import pandas as pd

    if not kinds & {"time", "zoned", "duration"}:
        return False
    try:
        return not pd.isna(pd.Timedelta(text) if "duration" in kinds else pd.Timestamp(text))
    except ValueError:
        return False


def _needs(value: Any, *kinds: str, what: str) -> Any:
    found = kind_of(value)
    if found not in kinds and found != "empty":
        raise Misfit(f"takes {what}, this is {name_of(value)}")
    return value


def _number(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: compute(as_float(_needs(value, "number", what="numbers")))


def _ufunc(name: str) -> Callable[[Any], Any]:
    def compute(value: Any) -> Any:
        import numpy as np

        return getattr(np, name)(value)

    return _number(compute)


def _abs(value: Any) -> Any:
    return abs(_needs(value, "number", "duration", what="numbers"))


def _round(value: Any, digits: Any = 0) -> Any:
    _needs(value, "number", what="numbers")
    if not isinstance(digits, int) or isinstance(digits, bool) or abs(digits) > 30:
        raise Misfit(f"takes a whole number of digits from -30 to 30, got {digits!r}")
    return value.round(digits) if is_column(value) else round(value, digits)


def _text(name: str, *, length: bool = False) -> Callable[..., Any]:
    """Make a function of text from the method of this name, which columns have under `.str`."""

    def compute(value: Any, *arguments: Any) -> Any:
        _needs(value, "text", what="text")
        for argument in arguments:
            _needs(argument, "text", what="text")
        if is_column(value):
            column = value.astype("str") if kind_of(value) == "empty" else value
            options: dict[str, Any] = {"regex": False} if name == "contains" else {}
            return getattr(column.str, name)(*arguments, **options)
        if name == "contains":
            return arguments[0] in value
        return len(value) if length else getattr(value, name)(*arguments)

    return compute


def _moment(name: str) -> Callable[[Any], Any]:
    def compute(value: Any) -> Any:
        _needs(value, "time", "zoned", what="a column of times (see data.astype)")
        if not is_column(value) or kind_of(value) == "empty":
            raise Misfit("takes a column of times (see data.astype)")
        return getattr(value.dt, name)

    return compute


def _is_missing(value: Any) -> Any:
    return value.isna() if is_column(value) else value is None


def _coalesce(*values: Any) -> Any:
    first, *rest = values
    for other in rest:
        _same_kind(first, other)
        if is_column(first):
            first = first.where(first.notna(), other)
        elif first is None:
            first = other
        # A scalar that is there settles it: what follows never shows.
    return first


def _if_else(condition: Any, one: Any, other: Any) -> Any:
    import pandas as pd

    _needs(condition, "bool", what="a condition first")
    _same_kind(one, other)
    if not is_column(condition):
        return one if condition else other
    holds = condition.fillna(False).astype(bool)
    if one is None and not is_column(other):  # a column of the other's type, for None to leave gaps in
        return pd.Series(other, index=holds.index).where(~holds)
    start = one if is_column(one) else pd.Series(one, index=holds.index)
    return start.where(holds) if other is None else start.where(holds, other)


def _same_kind(one: Any, other: Any) -> None:
    kinds = {kind_of(one), kind_of(other)} - {"none", "empty"}
    if len(kinds) > 1 or "other" in kinds:
        raise Misfit(f"takes values of one kind, not {name_of(one)} and {name_of(other)}")


FUNCTIONS: dict[str, Function] = {
    "abs": Function("abs(x)", 1, 1, _abs),
    "round": Function("round(x) or round(x, digits)", 1, 2, _round, (1,)),
    "floor": Function("floor(x)", 1, 1, _ufunc("floor")),
    "ceil": Function("ceil(x)", 1, 1, _ufunc("ceil")),
    "sqrt": Function("sqrt(x)", 1, 1, _ufunc("sqrt")),
    "exp": Function("exp(x)", 1, 1, _ufunc("exp")),
    "log": Function("log(x)", 1, 1, _ufunc("log")),
    "log10": Function("log10(x)", 1, 1, _ufunc("log10")),
    "lower": Function("lower(text)", 1, 1, _text("lower")),
    "upper": Function("upper(text)", 1, 1, _text("upper")),
    "strip": Function("strip(text)", 1, 1, _text("strip")),
    "length": Function("length(text)", 1, 1, _text("len", length=True)),
    "contains": Function('contains(text, "part")', 2, 2, _text("contains"), (1,)),
    "startswith": Function('startswith(text, "part")', 2, 2, _text("startswith"), (1,)),
    "endswith": Function('endswith(text, "part")', 2, 2, _text("endswith"), (1,)),
    "year": Function("year(time)", 1, 1, _moment("year")),
    "month": Function("month(time)", 1, 1, _moment("month")),
    "day": Function("day(time)", 1, 1, _moment("day")),
    "hour": Function("hour(time)", 1, 1, _moment("hour")),
    "minute": Function("minute(time)", 1, 1, _moment("minute")),
    "second": Function("second(time)", 1, 1, _moment("second")),
    "weekday": Function("weekday(time)", 1, 1, _moment("day_of_week")),
    "is_missing": Function("is_missing(x)", 1, 1, _is_missing),
    "coalesce": Function("coalesce(x, y, …)", 2, 20, _coalesce),
    "if_else": Function("if_else(condition, one, other)", 3, 3, _if_else),
}
