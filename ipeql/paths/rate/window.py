"""What the last probes of one path show: what was sent, what arrived, and how long it took.

A probe stands in the same queue as the data before it. So the bytes that were sent between two
probes, over the time between their arrivals, are what the path delivers: no counter at the far end
is needed.
"""

from collections import deque
from typing import NamedTuple

_MS = 10**6
_BITS_NS = 8 * 10**9

SHORTEST = 60 * _MS
"""Of arrivals: three probes of a busy slave. Base stations and satellites deliver in bursts that
are shorter."""

LONGEST = 300 * _MS
"""On a slow path, where SHORTEST has fewer than MEANT_BYTES."""

MEANT_BYTES = 15_000
"""Ten packets: one packet more or less changes a rate by a tenth."""

_LATEST = 20 * _MS
_FULL = SHORTEST * 3 // 5


class Passage(NamedTuple):
    """A probe that was answered, all times in ns.

    ``sent``, ``received``: the probe, and its answer, by the local clock. ``arrived``: at the far
    end, by its clock; ``received`` where it does not say. ``bytes``: what the slave had sent so
    far, this probe included.
    """

    sent: int
    arrived: int
    received: int
    bytes: int

    @property
    def delay(self) -> int:
        """The way there and the clocks' difference; without the far clock the round trip."""
        return self.arrived - self.sent


class Window:
    """The passages of the last SHORTEST, or of as much longer as it takes to have MEANT_BYTES."""

    def __init__(self) -> None:
        self._passages: deque[Passage] = deque()
        self._shortest: deque[tuple[int, int]] = deque()
        """Delay and arrival of each passage that took less long than all after it."""

    def clear(self) -> None:
        """Forget all."""
        self._passages.clear()
        self._shortest.clear()

    def add(self, passage: Passage) -> bool:
        """Add the next passage; return False where it is none: overtaken by another."""
        passages, shortest = self._passages, self._shortest
        if passages and passage.bytes < passages[-1].bytes:  # the link was made anew
            self.clear()
        if passages and (
            passage.arrived <= passages[-1].arrived or passage.sent <= passages[-1].sent
        ):
            return False
        passages.append(passage)
        while len(passages) > 2 and self._spans(passages[1], passage):
            passages.popleft()
        delay = passage.delay
        while shortest and shortest[-1][0] >= delay:
            shortest.pop()
        shortest.append((delay, passage.arrived))
        while shortest[0][1] < passages[0].arrived:
            shortest.popleft()
        return True

    @staticmethod
    def _spans(first: Passage, last: Passage) -> bool:
        time = last.arrived - first.arrived
        return time >= LONGEST or (time >= SHORTEST and last.bytes - first.bytes >= MEANT_BYTES)

    @property
    def is_full(self) -> bool:
        """Whether it is long enough to judge by."""
        return len(self._passages) > 1 and self._last.arrived - self._first.arrived >= _FULL

    @property
    def _first(self) -> Passage:
        return self._passages[0]

    @property
    def _last(self) -> Passage:
        return self._passages[-1]

    @property
    def bytes(self) -> int:
        """What was sent between the first and the last probe."""
        return self._last.bytes - self._first.bytes

    @property
    def sent_rate(self) -> int:
        """At what rate that was sent, bit/s."""
        return self.bytes * _BITS_NS // (self._last.sent - self._first.sent)

    @property
    def arrival_rate(self) -> int:
        """At what rate it arrived, bit/s.

        The time is the far end's word, who may lie: it counts for no less than half of the time
        between the answers.
        """
        there = self._last.arrived - self._first.arrived
        here = self._last.received - self._first.received
        return self.bytes * _BITS_NS // max(there, here // 2)

    @property
    def growth(self) -> int:
        """By how much longer the last probe took than the first, ns."""
        return self._last.delay - self._first.delay

    @property
    def least_delay(self) -> int:
        """The shortest delay in the window, ns: a queue that stood throughout is in it."""
        return self._shortest[0][0]

    @property
    def latest_delay(self) -> int:
        """The shortest delay of the last 20 ms."""
        since = self._last.arrived - _LATEST
        return next(delay for delay, arrived in self._shortest if arrived >= since)
