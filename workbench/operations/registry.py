"""The operations this process knows: those that come with the package, and those a user's modules add."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, overload

from workbench.core import routing
from workbench.core.errors import UnknownOperation, WorkbenchError
from workbench.core.messages import OperationSpec
from workbench.core.policy import RetryPolicy, check_seconds, policy_of
from workbench.operations import signature

P = ParamSpec("P")
R = TypeVar("R")


class Operation:
    """A named function and what is known of it."""

    def __init__(self, spec: OperationSpec, function: Callable[..., Any]) -> None:
        self.spec = spec
        self.function = function

    def __repr__(self) -> str:
        return f"<Operation {self.spec.name}: {self.spec.summary}>"


_operations: dict[str, Operation] = {}


@overload
def operation(name: Callable[P, R]) -> Callable[P, R]: ...
@overload
def operation(
    name: str,
    *,
    timeout: float | None = None,
    soft_timeout: float | None = None,
    retries: int | None = None,
    retry: RetryPolicy | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def operation(
    name: Any,
    *,
    timeout: float | None = None,
    soft_timeout: float | None = None,
    retries: int | None = None,
    retry: RetryPolicy | None = None,
) -> Any:
    """Make a function an operation that workers can run.

    Parameters
    ----------
    name
        `family.operation`, e.g. `"text.wordcount"`. The family picks the queue; a new one gets a queue of its own.
    timeout
        Seconds one attempt may run before it is killed; None for no limit.
    soft_timeout
        Seconds after which `wb.SoftTimeLimit` is raised in it, so that it can end in order; None for never.
    retries
        Further attempts after a failed first one: short for `retry=RetryPolicy(attempts=retries + 1)`.
    retry
        When a failed attempt is followed by another. Without either, an attempt that fails by what surrounds it (a
        crashed process, a lost file server) is tried again, twice.

    A submission may say otherwise, to each of them (`client.with_options`).

    Returns
    -------
    callable
        A decorator that registers the function and returns it unchanged, so that it can still be called directly.

    Raises
    ------
    InvalidName
        If the name isn't two lower-case words joined by a dot.
    InvalidArguments
        If a limit isn't a number of seconds, or the retries aren't a number.

    Examples
    --------
    >>> @operation("text.wordcount")
    ... def wordcount(text: str) -> int:
    ...     "Count the words of a text."
    ...     return len(text.split())
    >>> wordcount("to be or not to be")
    6
    """
    if callable(name):
        raise WorkbenchError(f"@operation needs a name: @operation('family.{getattr(name, '__name__', 'operation')}')")
    routing.check_operation(name)
    check_seconds("timeout", timeout)
    check_seconds("soft_timeout", soft_timeout)
    policy = policy_of(retries, retry)

    def register(function: Callable[P, R]) -> Callable[P, R]:
        spec = signature.describe(name, function, timeout=timeout, soft_timeout=soft_timeout, retry=policy)
        _operations[name] = Operation(spec, function)
        return function

    return register


def load(modules: Iterable[str] = ()) -> None:
    """Import the package's own operations and a user's modules, so that theirs are registered.

    Raises
    ------
    WorkbenchError
        If a module can't be imported: names the module, and the reason.
    """
    for family in routing.FAMILIES:
        importlib.import_module(f"workbench.operations.{family}")
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise WorkbenchError(
                f"the module {module!r} can't be imported: {type(error).__name__}: {error}. "
                "It has to be importable where the worker runs: installed, or on PYTHONPATH"
            ) from error


def get(name: str) -> Operation:
    """Return the operation of this name.

    Raises
    ------
    UnknownOperation
        With the names that come close.
    """
    if (found := find(name)) is not None:
        return found
    raise unknown(name, _operations)


def find(name: str) -> Operation | None:
    """Return the operation of this name, or None. A family of the package's own is imported on first use."""
    if name not in _operations and routing.family_of(name) in routing.FAMILIES:
        importlib.import_module(f"workbench.operations.{routing.family_of(name)}")
    return _operations.get(name)


def unknown(name: str, names: Iterable[str]) -> UnknownOperation:
    """Make the error for a name that isn't among `names`."""
    load()
    known = sorted({*names, *_operations})
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    meant = f" Did you mean {' or '.join(close)}?" if close else f" Known: {', '.join(known)}."
    own = " An operation of your own is known once a worker that includes its module has started (--include)."
    return UnknownOperation(f"there is no operation {name!r}.{meant}{'' if close else own}")


def specs(families: Iterable[str] | None = None) -> tuple[OperationSpec, ...]:
    """Return the registered operations of these families (None: of all), sorted by name."""
    wanted = None if families is None else set(families)
    return tuple(
        operation.spec
        for name, operation in sorted(_operations.items())
        if wanted is None or routing.family_of(name) in wanted
    )


def families() -> tuple[str, ...]:
    """Return the families of all registered operations, sorted."""
    return tuple(sorted({*map(routing.family_of, _operations)}))
