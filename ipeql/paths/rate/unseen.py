"""A queue that probes do not stand in, shown by what the far end has counted.

Behind fq_codel or cake each flow has its own queue (RFC 8290), and a flow that sends as little as
probes do passes all others. Then probes show the path's delay, and nothing of what the data wait.
But the last byte that the far end has counted stood in the data's queue: it serves as the probe.
When it was sent is known from the bytes sent until then, and those that are under way where no
queue is.
"""

from collections import deque
from typing import NamedTuple

from ipeql.paths.least import Least
from ipeql.paths.rate.window import Passage

_MS = 10**6
_SECOND = 10**9
_BITS_NS = 8 * _SECOND

REMEMBERED = 2 * _SECOND
"""Longer than a byte takes, with its queue."""

_BUCKET, _BUCKETS = 2 * _SECOND, 5
"""What is under way without a queue is the least of ten seconds, as the base delay is."""

COUNTED_EVERY = 100 * _MS
"""By a far end of ours (ipeql/probe/loop.py)."""

SPAN, LONGEST_SPAN = 2 * COUNTED_EVERY, 10 * COUNTED_EVERY
"""A rate is that of counts which are so far apart."""

CLOSE = 50 * _MS
"""Between probes that are closer than this, bytes are taken to be sent evenly."""

COUNTS = 50
"""A queue is found that has grown within so many counts: five seconds."""

SHARE, LOSSES, EXCESS, EXCESS_BYTES = 0.01, 2, 20 * _MS, 6000
"""More than this share of what was sent since one of them, and twice the loss of probes, and so
much time and so many bytes of it, have not arrived, although no probe met a queue. Random losses
take as many probes."""

EMPTYING, ALIKE = 0.7, 0.1
EMPTY_FOR = 4
"""A path that delivers less than this part of its rate, and as much as is sent, has no queue. But
after a fall the rate that is believed is too large for some counts."""

SEEN_AGAIN = 5
"""So many probes in succession that meet a queue stand in that of the data."""


class Count(NamedTuple):
    """The bytes of data that the far end has received, and when the last came, ns by its clock."""

    bytes: int
    last: int


class _Sent(NamedTuple):
    """The bytes sent until a time: ``likely``, and no less and no more than the others."""

    least: int
    likely: int
    most: int


class _Compared(NamedTuple):
    """A count, with what had been sent when its last byte was, if there was no queue."""

    said: Count
    sent: _Sent


class Unseen:
    """``on``: probes pass the queue by. Times ns, as in :class:`Passage`.

    ``arrived``: what arrived when that was found, bit/s.
    """

    def __init__(self) -> None:
        self.on = False
        self.arrived = 0
        self._sent: deque[tuple[int, int]] = deque()
        self._under_way = Least(_BUCKET, _BUCKETS)
        self._last: Count | None = None
        self._history: deque[_Compared] = deque(maxlen=COUNTS)
        self._lost = 0.0
        self._seen = self._empty = 0
        self._queued_at: int | None = None

    def clear(self) -> None:
        """Forget what the far end has counted: the path may be another one."""
        self.on = False
        self._last = None
        self._seen = self._empty = 0
        self._queued_at = None
        self._history.clear()
        self._lost = 0.0
        self._under_way.clear()

    def asked(self, now: int, data: int) -> None:
        """Note the bytes of data that the slave has sent until a probe is sent."""
        if self._sent and data < self._sent[-1][1]:  # the link was made anew
            self._sent.clear()
            self.clear()
        self._sent.append((now, data))
        while self._sent[0][0] < now - REMEMBERED:
            self._sent.popleft()

    def shown(
        self,
        passage: Passage,
        count: Count | None,
        *,
        base: int,
        capacity: int,
        loss: float,
        queued: bool,
        idle: bool,
    ) -> Passage | None:
        """Return what shows the queue of the data: ``passage``, or that of the last byte counted.

        ``base``: the delay without a queue. ``capacity``: of the path, bit/s. ``loss``: of probes,
        0 to 1. ``queued``: the probe has met a queue. ``idle``: no data have been under way. None:
        nothing new is known.
        """
        self._seen = self._seen + 1 if queued else 0
        if queued:
            self._queued_at = passage.arrived
        if self.on and (self._seen >= SEEN_AGAIN or count is None):
            self.clear()
        if self.on and idle and self._last:
            self.emptied(passage.received)
            return passage._replace(bytes=self._last.bytes)
        if count is None or count == self._last:
            return None if self.on else passage
        if self._last and (count.bytes < self._last.bytes or count.last < self._last.last):
            self.clear()  # the far end counts anew
        due = self._sent_until(count.last - base)
        if due is None:
            return None if self.on else passage
        self._last = count
        if not self.on:
            if self._queued_at is None or passage.arrived - self._queued_at > SPAN:
                self._find(passage.received, count, due, loss)
            else:
                self._history.clear()
            return passage
        self._lost += loss * (due.likely - self._history[-1].sent.likely)
        gone = count.bytes + int(self._lost)
        self._under_way.add(passage.received, due.likely - gone)
        self._empty = self._empty + 1 if self._is_empty(count, due, capacity) else 0
        if self._empty >= EMPTY_FOR:
            self.emptied(passage.received)
        sent = self._sent_at(gone + (self._under_way.value or 0), count.last - base)
        return Passage(sent, count.last, passage.received, count.bytes)

    def emptied(self, now: int) -> None:
        """Note that no data are under way: what is missing now is lost, and stands in no queue."""
        if self.on and self._last and self._sent:
            self._under_way.clear()
            self._under_way.add(now, self._sent[-1][1] - self._last.bytes - int(self._lost))

    def _find(self, now: int, count: Count, due: _Sent, loss: float) -> None:
        """Find out whether data wait where the probes do not."""
        _, came, time = self._note(count, due)
        if not SPAN <= time <= LONGEST_SPAN or came < EXCESS_BYTES:
            return
        meant = max(EXCESS_BYTES, came * EXCESS // time, due.most - due.least)
        for then, until in self._history:
            sent = due.likely - until.likely
            missing = sent - (count.bytes - then.bytes)
            if missing >= max(meant, (SHARE + LOSSES * loss) * sent):
                self.on = True
                self.arrived = came * _BITS_NS // time
                self._under_way.add(now, until.likely - then.bytes)
                return

    def _is_empty(self, count: Count, due: _Sent, capacity: int) -> bool:
        """Say whether what is missing seems to stand in no queue."""
        sent, came, time = self._note(count, due)
        return (
            time >= SPAN
            and abs(sent - came) <= ALIKE * sent
            and came * _BITS_NS < EMPTYING * capacity * time
        )

    def _note(self, count: Count, due: _Sent) -> tuple[int, int, int]:
        """Return the bytes sent and received in the last SPAN, and how long that is, ns."""
        history = self._history
        history.append(_Compared(count, due))
        then, until = next(
            (each for each in reversed(history) if each.said.last <= count.last - SPAN),
            history[0],
        )
        return due.likely - until.likely, count.bytes - then.bytes, count.last - then.last

    def _sent_until(self, time: int) -> _Sent | None:
        """Return the bytes that had been sent at a time; None: that is not known, or not yet."""
        later: tuple[int, int] | None = None
        for then, data in reversed(self._sent):
            if then <= time:
                if later is None or (later[0] - then > CLOSE and later[1] > data):
                    return None
                part = (later[1] - data) * (time - then) // (later[0] - then)
                return _Sent(data, data + part, later[1])
            later = then, data
        return None

    def _sent_at(self, data: int, latest: int) -> int:
        """Return when so many bytes had been sent; ``latest`` where that is later."""
        later: tuple[int, int] | None = None
        for then, before in reversed(self._sent):
            if before <= data:
                if later is None:
                    return min(then, latest)
                span = max(1, later[1] - before)
                return min(latest, then + (later[0] - then) * (data - before) // span)
            later = then, before
        return min(latest, self._sent[0][0])
