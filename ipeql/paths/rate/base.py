"""The delay of a path without a queue, and what of it is jitter."""

from collections import deque

from ipeql.paths.least import Least
from ipeql.paths.rate.window import Passage

_MS = 10**6
_SECOND = 10**9

_BUCKET = 2 * _SECOND
_BUCKETS = 5
"""Together ten seconds, as BBR's filter of the round trip (Linux, net/ipv4/tcp_bbr.c)."""

_STEP = 10 * _MS
"""One way longer and the other shorter by more than this: the far end's clock was set."""

MOST_JITTER = 10 * _MS
"""More is not taken for jitter: it may be somebody else's queue."""

_JITTER_SAMPLES = 50
_FEWEST_SAMPLES = 10
_JITTER_SHARE = 0.9


class Base:
    """``delay`` and ``round_trip``: without a queue, ns. ``delay`` has the clocks' offset in it."""

    def __init__(self) -> None:
        self._there, self._back, self._round_trip = (Least(_BUCKET, _BUCKETS) for _ in range(3))

    @property
    def delay(self) -> int:
        """The way there."""
        return self._there.value or 0

    @property
    def round_trip(self) -> int:
        """There and back."""
        return self._round_trip.value or 0

    def clear(self) -> None:
        """Forget all: the path may be another one."""
        for each in (self._there, self._back, self._round_trip):
            each.clear()

    def add(self, passage: Passage) -> bool:
        """Note a passage; return whether the far end's clock was set before it."""
        now = passage.received
        back = now - passage.arrived
        was_set = self._is_step(passage.delay, back)
        if was_set:
            self._there.clear()
            self._back.clear()
        self._there.add(now, passage.delay)
        self._back.add(now, back)
        self._round_trip.add(now, now - passage.sent)
        return was_set

    def _is_step(self, there: int, back: int) -> bool:
        if self._there.value is None or self._back.value is None:
            return False
        more, less = there - self._there.value, back - self._back.value
        return min(more, less) < -_STEP and max(more, less) > _STEP


class Jitter:
    """By how much probes are late that meet no load, ns: nine of ten at most by ``value``."""

    def __init__(self) -> None:
        self._late: deque[int] = deque(maxlen=_JITTER_SAMPLES)
        self.value = 0

    def add(self, late: int) -> None:
        """Note by how much a probe was later than the base, with nothing else under way."""
        self._late.append(late)
        if len(self._late) >= _FEWEST_SAMPLES:
            ordered = sorted(self._late)
            self.value = min(MOST_JITTER, ordered[int(len(ordered) * _JITTER_SHARE)])
