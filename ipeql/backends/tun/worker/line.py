"""What a slave's line has been given: how much of it a probe has not met."""

from collections import deque
from time import monotonic_ns

KEPT_NS = 2 * 10**9
"""Longer than a probe takes to be answered."""


class Line:
    """Bytes on the wire, when they were sent. A queue that a probe met has all before it."""

    def __init__(self) -> None:
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
        """Return the bytes sent after a probe that was sent then, ns.

        To be called with times that rise.
        """
        sent = self._sent
        while sent and sent[0][0] <= asked:
            self._answered = sent.popleft()[1]
        return self._total - self._answered
