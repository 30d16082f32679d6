"""A pause of the slave: once its queue must be empty, probes show the base delay.

That is how a base that has risen for good is told from a queue.
"""

from ipeql.paths.rate.window import Passage

_MS = 10**6
_SECOND = 10**9

LOW_EVERY = 10 * _SECOND
"""A queue that has not been low for so long may be none."""

HIGH_FOR = 2
HIGH_AT_LEAST = 600 * _MS
"""Nor one that is high for so many rounds and so long, although less is sent. On links with base
stations a queue is often high for shorter."""

LONGEST_QUEUE = 300 * _MS
"""A longer one is not waited for; it has to shrink first."""

_PLACED = 300 * _MS
"""For so long a dataplane goes on to send what it has placed already."""

_MARGIN = 5 * _MS
_CLEAN = 2
_FIRST_REST, _LONGEST_REST = _SECOND, 10 * _SECOND


class Pause:
    """``on``: nothing should be sent but probes."""

    def __init__(self) -> None:
        self.on = False
        self._queue = 0
        self._give_up = 0
        self._clean_from = self._clean_to = 0
        self._clean = 0
        self._passages: list[Passage] = []
        self._low_at = 0
        self._high_from = 0
        self._tested_at = 0
        self._rest = _FIRST_REST

    def is_due(self, now: int, queue: int, standing: int, target: int, round_: int) -> bool:
        """Say whether to begin one.

        ``queue``: at last; ``standing``: the smallest of the window; ``target``: what it should be;
        ``round_``: the time after which a rate shows in what is measured.
        """
        self._low_at = self._low_at or now
        if queue < target // 3:
            self._low_at, self._rest = now, _FIRST_REST
        if standing <= target * 3 // 2:
            self._high_from = 0
        else:
            self._high_from = self._high_from or now
        high_for = max(HIGH_FOR * round_, HIGH_AT_LEAST)
        is_high = self._high_from and now - self._high_from > high_for
        return (
            (is_high or now - self._low_at > LOW_EVERY)
            and queue <= LONGEST_QUEUE
            and now - self._tested_at > self._rest
        )

    def begin(self, now: int, queue: int) -> None:
        """Begin, with ``queue`` ns to wait for."""
        self.on = True
        self._queue = queue
        self._give_up = now + queue + _PLACED
        self._tested_at = now
        self._clean_from = self._clean_to = self._clean = 0
        self._passages = []

    def asked(self, now: int, quiet_since: int | None) -> None:
        """Note that a probe is sent; ``quiet_since``: when the last data went."""
        if not self.on:
            return
        if quiet_since is None:
            self._clean_from = self._clean = 0
        else:
            self._clean_from = quiet_since + self._queue + _MARGIN
            if now >= self._clean_from:
                self._clean += 1
                self._clean_to = now
        self.on = self._clean < _CLEAN and now < self._give_up

    def shows(self, passage: Passage) -> Passage | None:
        """Take a passage; return the one that shows the base, once that is known."""
        if not self._clean_to or not self._clean_from <= passage.sent <= self._clean_to:
            return None
        self._passages.append(passage)
        if self.on or len(self._passages) < _CLEAN:
            return None
        self._clean_to = 0
        return min(self._passages, key=lambda each: each.delay)

    def ended(self, now: int, *, risen: bool) -> None:
        """Note that the base is known; ``risen``: it was no queue. If it was, the next is later."""
        self._low_at = self._tested_at = now
        self._high_from = 0
        self._rest = _FIRST_REST if risen else min(2 * self._rest, _LONGEST_REST)
