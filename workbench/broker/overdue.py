"""`Overdue`: whether the broker owes a message its confirm for too long, though the connection is open.

A message's wait begins when the broker can have it: as long as confirms come, those before it are still on their way,
over a link that may be slow. One that a later message's confirm has passed has arrived, and counts from then on.
"""

from __future__ import annotations


class Overdue:
    """The confirms of one channel.

    Parameters
    ----------
    patience
        Seconds that a confirm may take.
    now
        When the channel was opened; all times are by one clock.
    """

    def __init__(self, patience: float, now: float) -> None:
        self._patience = patience
        self._newest = 0  # the highest tag that was confirmed
        self._confirmed_at = now  # when the last confirm came
        self._passed: tuple[int, float] | None = None  # the oldest one, once a later one was confirmed; since when

    def confirmed(self, tag: int, now: float) -> None:
        """Take note of a confirm."""
        self._confirmed_at = now
        self._newest = max(self._newest, tag)

    def excuse(self, now: float) -> None:
        """Count from now only: the broker owed none until now."""
        self._confirmed_at, self._passed = now, None

    def is_overdue(self, oldest: int, sent_at: float, now: float) -> bool:
        """Whether a confirm is missing for too long; to be asked again and again.

        Parameters
        ----------
        oldest
            The tag of the oldest message that isn't confirmed.
        sent_at
            When it was handed to the connection.
        now
            The time.
        """
        if oldest > self._newest:
            return now - max(sent_at, self._confirmed_at) > self._patience
        if self._passed is None or self._passed[0] != oldest:
            self._passed = oldest, now
        return now - self._passed[1] > self._patience
