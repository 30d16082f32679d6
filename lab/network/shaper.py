"""What a link does to frames: rate, queue, delay, loss. Pure: the caller has the clock."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A link as seen by one direction; both directions are alike and independent.

    ``rate`` bit/s of Ethernet frames (14 bytes of header, no FCS), None: no limit. ``delay``
    one-way, ns. ``queue`` the longest wait for the line, ns. ``loss`` the ratio of frames lost at
    random, 0 to 1.
    """

    rate: int | None = None
    delay: int = 0
    queue: int = 100_000_000
    loss: float = 0.0


class Shaper:
    """One direction of a link, on a virtual clock: exact however late the caller is.

    A frame of ``size`` bytes starts when the line is free, ``start = max(now, busy)``. It is
    dropped if it would wait longer than the queue, ``start - now > queue`` (drop-tail: the queue
    holds ``queue * rate`` and the frame on the line). Otherwise it takes the line until
    ``busy = start + size * 8 / rate`` and arrives ``delay`` later, unless it is lost: a lost frame
    has used the line. Frames never overtake each other. Times in ns on any one clock.
    """

    def __init__(self, shape: Shape, seed: str) -> None:
        self.shape = shape
        self.forwarded = 0
        self.dropped = 0
        self.lost = 0
        self._busy = 0
        self._arrival = 0
        self._random = random.Random(seed).random

    def arrival(self, now: int, size: int) -> int | None:
        """Return when a frame that comes ``now`` arrives, None if it does not, and count it.

        A new ``shape`` holds for the frames that come after it.
        """
        shape = self.shape
        start = max(now, self._busy)
        if start - now > shape.queue:
            self.dropped += 1
            return None
        if shape.rate is not None:
            start += size * 8_000_000_000 // shape.rate
        self._busy = start
        if shape.loss and self._random() < shape.loss:
            self.lost += 1
            return None
        self.forwarded += 1
        self._arrival = max(self._arrival, start + shape.delay)
        return self._arrival

    def statistics(self) -> dict[str, int]:
        """Return the frames so far: forwarded, dropped (queue full) and lost."""
        return {"forwarded": self.forwarded, "dropped": self.dropped, "lost": self.lost}
