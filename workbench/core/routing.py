"""How the name of an operation becomes a routing key, and which family's queue takes it."""

from __future__ import annotations

import re

from workbench.core.errors import InvalidName

FAMILIES = ("image", "data", "convert")
"""The families that come with the package, and so have a queue from the start."""

_WORD = r"[a-z][a-z0-9_-]{0,63}"
_OPERATION = re.compile(rf"{_WORD}\.{_WORD}")
_ONE_WORD = re.compile(_WORD)


def check_operation(name: str) -> str:
    """Return `name` if it is `family.operation`; raise `InvalidName` otherwise."""
    if not isinstance(name, str) or not _OPERATION.fullmatch(name):
        raise InvalidName(
            f"{name!r} is not the name of an operation: it takes two lower-case words joined by a dot, "
            "the family first, as in 'image.thumbnail'"
        )
    return name


def check_word(word: str, what: str) -> str:
    """Return `word` if it can be a family or a lane (`what` says which); raise `InvalidName` otherwise."""
    if not isinstance(word, str) or not _ONE_WORD.fullmatch(word):
        raise InvalidName(f"{word!r} is not a {what}: it takes one lower-case word of letters, digits, - and _")
    return word


def check_name(name: str) -> str:
    """Return `name` if it can be a worker's: it becomes part of a path; raise `InvalidName` otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InvalidName(f"{name!r} is not a worker's name: it takes up to 64 letters, digits, - and _")
    return name


def family_of(operation: str) -> str:
    """Return the family of an operation: the first word of its name."""
    return operation.partition(".")[0]


def routing_key(operation: str, lane: str | None = None) -> str:
    """Return the key a task is published with: `family.operation`, or `family.operation.lane`."""
    return f"{operation}.{lane}" if lane else operation


def binding_key(family: str, lane: str | None = None) -> str:
    """Return the key a family's (or a lane's) queue is bound with. Exactly one such key matches any task."""
    return f"{family}.*.{lane}" if lane else f"{family}.*"
