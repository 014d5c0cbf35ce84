"""`Pace`: how many deliveries a worker should hold beyond those it runs. No input or output.

Short tasks want many waiting in the process, so that no slot waits for the network; long ones want none, so that none
waits behind a busy slot while another worker idles. How long they will take is guessed from those that have ended;
where the guess was wrong, what waits is given back.
"""

from __future__ import annotations

SHORT = 0.25
"""Mean seconds below which one more task may wait for each slot."""
BRIEF = 0.02
"""Mean seconds below which `AHEAD` may."""
AHEAD = 64
LONG = 0.1
"""Seconds after which a running task is one behind which nothing should wait that could run elsewhere."""
_ENOUGH = 10  # ended tasks, to judge by
_WEIGHT = 0.2


class Pace:
    """Watches how long tasks take.

    Parameters
    ----------
    slots
        How many tasks run at once.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._mean = 0.0
        self._seen = 0

    def ended(self, seconds: float) -> None:
        """Take note of how long a task has run."""
        self._seen += 1
        weight = max(_WEIGHT, 1 / self._seen)
        self._mean += weight * (seconds - self._mean)

    def ahead(self) -> int:
        """Return how many deliveries to hold beyond one for each slot."""
        if self._seen < _ENOUGH or self._mean >= SHORT:
            return 0
        return self._slots * (AHEAD if self._mean < BRIEF else 1)

    def too_many(self, oldest: float, waiting: int) -> bool:
        """Decide whether to give back what waits, as the running task that started first has run `oldest` seconds.

        The count starts anew then: the tasks to come are like this one, for all that is known.
        """
        if waiting == 0 or oldest < max(LONG, 2 * self._mean):
            return False
        self._seen = 0
        return True
