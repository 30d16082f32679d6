"""What a link does to frames: rate, queue, delay, loss, silence. Pure: the caller has the clock."""

import random
from collections import deque
from dataclasses import dataclass

from lab.network import trace
from lab.network.trace import OPPORTUNITY, Trace

ETHERNET = 14
"""Bytes of header that a recorded link does not carry."""

SPARSE = 300
"""Bytes of the largest frame that is taken for one of a flow that sends little."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A link as seen by one direction.

    ``rate`` bit/s of Ethernet frames (14 bytes of header, no FCS), None: no limit. ``delay``
    one-way, ns. ``queue`` the longest wait for the line, ns. ``loss`` the ratio of frames lost at
    random, 0 to 1. ``jitter``: each frame takes up to that much longer, ns, evenly distributed;
    frames keep their order unless ``overtaking``. ``silent``: nothing arrives, and nobody is told.

    ``fair``: frames of at most ``SPARSE`` bytes do not wait, as those of a flow that sends little
    behind fq_codel or cake (RFC 8290, 4.2): a probe does not meet the data's queue.

    ``trace`` and ``delays`` are files (:mod:`lab.network.trace`) that are played over and over from
    ``begin`` on, ns of the caller's clock: when the line carries something, instead of ``rate``,
    and what comes on top of ``delay``. With a trace ``queue`` is in time of its mean rate.
    """

    rate: int | None = None
    delay: int = 0
    queue: int = 100_000_000
    loss: float = 0.0
    jitter: int = 0
    overtaking: bool = False
    fair: bool = False
    silent: bool = False
    trace: str = ""
    delays: str = ""
    begin: int = 0


class Shaper:
    """One direction of a link, on a virtual clock: exact however late the caller is.

    A frame of ``size`` bytes starts when the line is free, ``start = max(now, busy)``. It is
    dropped if it would wait longer than the queue, ``start - now > queue`` (drop-tail: the queue
    holds ``queue * rate`` and the frame on the line). Otherwise it takes the line until
    ``busy = start + size * 8 / rate`` and arrives ``delay`` later, unless it is lost: a lost frame
    has used the line. Without ``overtaking`` frames keep their order. Times in ns on any one clock.

    With a trace a frame takes what it needs of the next opportunities, and is on its way with the
    last of them. It is dropped where more than ``queue * rate`` bytes wait before it.
    """

    def __init__(self, shape: Shape, seed: str) -> None:
        self.shape = shape
        self.forwarded = 0
        self.dropped = 0
        self.lost = 0
        self._busy = 0
        self._arrival = 0
        self._random = random.Random(seed).random
        self._played = ("", 0)
        self._opportunity = 0
        self._left = 0
        self._waiting: deque[tuple[int, int]] = deque()
        self._backlog = 0

    def arrival(self, now: int, size: int) -> int | None:
        """Return when a frame that comes ``now`` arrives, None if it does not, and count it.

        A new ``shape`` holds for the frames that come after it.
        """
        shape = self.shape
        if shape.silent:
            self.lost += 1
            return None
        passes_by = shape.fair and size <= SPARSE
        end = now if passes_by else self._over(now, size)
        if end is None:
            self.dropped += 1
            return None
        if shape.loss and self._random() < shape.loss:
            self.lost += 1
            return None
        self.forwarded += 1
        arrival = end + shape.delay
        if shape.delays:
            arrival += trace.delays(shape.delays).at(end, shape.begin)
        if shape.jitter:
            arrival += int(self._random() * shape.jitter)
        if passes_by:
            return arrival
        if not shape.overtaking:
            arrival = max(self._arrival, arrival)
        self._arrival = max(self._arrival, arrival)
        return arrival

    def _over(self, now: int, size: int) -> int | None:
        return self._over_trace(now, size) if self.shape.trace else self._over_line(now, size)

    def _over_line(self, now: int, size: int) -> int | None:
        """Return when the frame has left a line of constant rate, None if it may not wait."""
        start = max(now, self._busy)
        if start - now > self.shape.queue:
            return None
        if self.shape.rate is not None:
            start += size * 8_000_000_000 // self.shape.rate
        self._busy = start
        return start

    def _over_trace(self, now: int, size: int) -> int | None:
        """Return when the frame has left a recorded line, None if it may not wait."""
        recorded, begin = trace.trace(self.shape.trace), self.shape.begin
        played = self.shape.trace, begin
        if played != self._played or recorded.time(self._opportunity, begin) < now:
            self._played = played
            self._opportunity = recorded.first(now, begin)
            self._left = OPPORTUNITY
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            self._backlog -= waiting.popleft()[1]
        if self._backlog > self.shape.queue * recorded.rate / 8e9:
            return None
        end = self._take(recorded, begin, max(0, size - ETHERNET))
        waiting.append((end, size))
        self._backlog += size
        return end

    def _take(self, recorded: Trace, begin: int, size: int) -> int:
        """Take ``size`` bytes of the next opportunities; return the time of the last."""
        while size > self._left:
            size -= self._left
            self._opportunity += 1
            self._left = OPPORTUNITY
        self._left -= size
        return recorded.time(self._opportunity, begin)

    def statistics(self) -> dict[str, int]:
        """Return the frames so far: forwarded, dropped (queue full) and lost."""
        return {"forwarded": self.forwarded, "dropped": self.dropped, "lost": self.lost}
