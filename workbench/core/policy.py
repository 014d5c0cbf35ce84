"""How a task may run: which failures are tried again, how often, after how long, and within which limits.

Data, checked when it is made: by an operation's author, or at a submission.
"""

from __future__ import annotations

import msgspec

from workbench.core.errors import InvalidArguments

MOST_ATTEMPTS = 1_000_000
LONGEST = 1e9
"""Seconds, about thirty years: no limit is longer."""

LONGEST_DELAY = 2 * 24 * 3600.0
"""Seconds a task can wait for its next attempt: less than the broker's delay queues can hold (see broker.topology)."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a failed attempt is followed by another.

    Parameters
    ----------
    attempts
        How often the task may run in all, the first attempt included.
    delay
        Seconds before the second attempt.
    factor
        By how much each further wait is longer than the one before it.
    max_delay
        Seconds no wait is longer than.
    jitter
        The share of each wait that is left to chance, from 0 to 1: a wait of 8 s with a jitter of 0.5 takes 4 s to 8 s,
        so that tasks that failed together don't come back together.
    on
        The exceptions to try again after, by type name or as classes; their subclasses are meant too. Empty for all.
        A crashed process or a lost file server is always tried again, unless `never` names it.
    never
        The exceptions that end the task at once.

    Raises
    ------
    InvalidArguments
        If a number is out of its range.

    Examples
    --------
    >>> RetryPolicy(attempts=5, delay=2.0, on=(ConnectionError, "HTTPError")).on
    ('ConnectionError', 'HTTPError')
    """

    attempts: int = 3
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 3600.0
    jitter: float = 0.5
    on: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("attempts", self.attempts, 1, MOST_ATTEMPTS, whole=True)
        _check("delay", self.delay, 0, LONGEST_DELAY)
        _check("factor", self.factor, 1, 1000)
        _check("max_delay", self.max_delay, 0, LONGEST_DELAY)
        _check("jitter", self.jitter, 0, 1)
        for name in ("on", "never"):
            msgspec.structs.force_setattr(self, name, _names(name, getattr(self, name)))

    def wait(self, failed: int, draw: float) -> float:
        """Return the seconds to wait after `failed` attempts; `draw` is a random number from 0 to 1."""
        growth = self.factor ** min(failed - 1, 64)
        return min(self.max_delay, self.delay * growth) * (1 - self.jitter * draw)


def policy_of(retries: int | None, retry: RetryPolicy | None) -> RetryPolicy | None:
    """Return the policy that was given, or the one that a number of retries stands for; None where neither was.

    Raises
    ------
    InvalidArguments
        If both are given, or `retries` isn't a number of retries.
    """
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise InvalidArguments(f"retry takes a RetryPolicy, got {retry!r}; a number of retries goes to retries=")
    if retries is None:
        return retry
    if retry is not None:
        raise InvalidArguments("give either retries or retry, not both: a RetryPolicy has its attempts")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries < MOST_ATTEMPTS:
        raise InvalidArguments(f"retries takes a whole number from 0 to {MOST_ATTEMPTS - 1:,}, got {retries!r}")
    return RetryPolicy(attempts=retries + 1)


def check_seconds(name: str, value: object) -> None:
    """Raise `InvalidArguments` where `value` is neither None nor a time limit in seconds; `name` says whose."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
        raise InvalidArguments(f"{name} takes a number of seconds above zero, up to {LONGEST:.0e}, got {value!r}")


def _check(name: str, value: object, least: float, most: float, *, whole: bool = False) -> None:
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
        what = "a whole number" if whole else "a number"
        raise InvalidArguments(f"RetryPolicy: {name} takes {what} from {least:,} to {most:,}, got {value!r}")


def _names(name: str, exceptions: object) -> tuple[str, ...]:
    if isinstance(exceptions, str | type):
        exceptions = (exceptions,)
    if not isinstance(exceptions, tuple | list | set | frozenset):
        raise InvalidArguments(f"RetryPolicy: {name} takes exceptions by name or as classes, got {exceptions!r}")
    names = []
    for each in exceptions:
        if isinstance(each, type) and issubclass(each, BaseException):
            names.append(each.__name__)
        elif isinstance(each, str) and each.isidentifier():
            names.append(each)
        else:
            raise InvalidArguments(f"RetryPolicy: {name} takes exceptions by name or as classes, got {each!r}")
    return tuple(names)
