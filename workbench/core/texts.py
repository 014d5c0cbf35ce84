"""Text from elsewhere, as it may be shown to a person."""

from __future__ import annotations

import re

# Controls but tabs and line ends, and what has text run the other way: with that a name can look like another one.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Return a text with what would steer a terminal made visible.

    Examples
    --------
    >>> plain("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)
