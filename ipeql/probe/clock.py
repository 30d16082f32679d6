"""One clock for all stamps: it does not step when somebody sets the machine's time.

The stamps on the wire are this clock's. It showed the time of day when the process began, and has
run as CLOCK_MONOTONIC since. Only differences of its stamps are used by anybody.
"""

import time

_STEP = 10**6
"""The two clocks differ by so much more, ns, only if somebody has set one; and by a thousandth of
the time that has gone by, where it is slewed."""

_SETTLED = 10**9
"""So long after a step, ns, nothing waits that arrived before it."""

_TOO_OLD = 60 * 10**9


class Clock:
    """Converts between CLOCK_MONOTONIC, the kernel's stamps (CLOCK_REALTIME) and the wire, ns."""

    def __init__(self) -> None:
        self._looked = time.monotonic_ns()
        self._begin = time.time_ns() - self._looked
        self._shift = self._before = self._begin
        self._stepped = 0

    def look(self) -> int:
        """Compare the two clocks, before stamps are converted; return CLOCK_MONOTONIC."""
        now = time.monotonic_ns()
        shift = time.time_ns() - now
        if abs(shift - self._shift) > _STEP + (now - self._looked) // 1000:
            self._before, self._stepped = self._shift, now
        elif now - self._stepped > _SETTLED:
            self._before = shift
        self._looked, self._shift = now, shift
        return now

    def received(self, stamp: int) -> int:
        """Return the time of a stamp of the kernel that has just been read.

        The clocks are compared again only where it was made after they were last.
        """
        if stamp - self._shift > self._looked:
            self.look()
        return self.arrived(stamp, self._looked)

    def arrived(self, stamp: int, now: int) -> int:
        """Return the time of a stamp of the kernel; ``now`` where it cannot be true.

        After a step it may have been made before: it is taken for what makes it the latest.
        """
        at = stamp - self._shift
        if self._shift == self._before and now - _TOO_OLD <= at <= now:
            return at
        times = (stamp - self._shift, stamp - self._before)
        return max((each for each in times if now - _TOO_OLD <= each <= now), default=now)

    def on_wire(self, now: int) -> int:
        """Return what the wire calls the time ``now``: ns since 1970."""
        return now + self._begin

    def on_wire_now(self) -> int:
        """Return what the wire calls this moment."""
        return time.monotonic_ns() + self._begin
