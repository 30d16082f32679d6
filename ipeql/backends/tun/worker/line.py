"""What a slave's line has been given: how much of it may still stand in the path."""

from collections import deque
from time import monotonic_ns

KEPT_NS = 2 * 10**9
"""Longer than a probe takes to be answered."""


class Line:
    """Bytes on the wire, when they were sent. A queue that a probe met has all of those before it.

    ``held``: bytes that have been bound to the slave and are not sent yet.
    """

    def __init__(self) -> None:
        self.held = 0
        self._sent: deque[tuple[int, int]] = deque()
        self._total = 0
        self._answered = 0

    def note(self, size: int) -> None:
        """Note that ``size`` bytes have just been sent."""
        now = monotonic_ns()
        self._total += size
        self._sent.append((now, self._total))
        while self._sent[0][0] < now - KEPT_NS:
            self._answered = self._sent.popleft()[1]

    def since(self, asked: int) -> int:
        """Return the bytes bound to the slave that a probe sent then, ns, did not meet.

        To be called with times that rise.
        """
        sent = self._sent
        while sent and sent[0][0] <= asked:
            self._answered = sent.popleft()[1]
        return self._total - self._answered + self.held
