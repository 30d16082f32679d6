"""When a probe is sent: often where a slave carries traffic, seldom where it is idle.

A death has to be noticed before anybody misses packets, which needs probes in quick succession, and
only where there are packets. Probes that are answered late are followed quickly on every slave of
the bundle, so a death is noticed soon on an idle one too. A slave that carries all traffic needs a
witness: another one whose answers show that the far end lives, within the shortest silence that
counts. To ask it only when there is doubt would take its round trip.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from random import Random

_SECOND = 10**9
_MS = 10**6


class Pace(IntEnum):
    """The time between two probes, ns."""

    BUSY = 20 * _MS
    WITNESS = 50 * _MS
    QUIET = 200 * _MS
    IDLE = 1000 * _MS


SHARE = 100
"""Probes are at most this part of the slave's rate."""

SHARE_OF_MEASURED = 20
"""And this one where they measure it: the slower they come, the later is a change seen."""

PROBE_BITS = 8 * 140
"""A STAMP probe of ours with HMAC, its IPv4 header and UDP's, rounded up."""

TURN = 10 * _MS
"""All probes are sent at turns, one in this time: a wake-up serves several slaves. It costs more
than the probe, on a processor that has done something else meanwhile."""

_TURN_MOVES = TURN // 4
"""A turn is so much earlier or later, and two turns together are an interval of 20 ms give or take
a quarter: nothing that repeats itself is always met at the same moment."""

_BUSY_FROM = 10
"""Packets a second that are not the probes'. Neighbour discovery and keep-alives are fewer."""

_WINDOW = _SECOND // 5
_STAYS_BUSY = 2 * _SECOND
_IDLE_AFTER = 60 * _SECOND
_SPREAD = 0.25
_TRIES = 3


def interval(pace: Pace, shortest: int | None, rate: int, share: int = SHARE) -> int:
    """Return the time between two probes (ns) for a slave with ``rate`` bit/s; 0: not known."""
    least = PROBE_BITS * share * _SECOND // rate if rate else 0
    return max(pace, shortest or 0, least)


@dataclass(slots=True)
class Traffic:
    """Whether a slave carries anything but probes, by its own counter of packets sent.

    ``own``: probes and answers sent, which that counter has too.
    """

    active: int = 0
    own: int = 0
    _at: int = 0
    _packets: int = 0
    _own: int = 0
    _busy_until: int = 0

    def carried(self, now: int, packets: int) -> None:
        """Note the counter."""
        if self._at and now - self._at < _WINDOW:
            return
        data = (packets - self._packets) - (self.own - self._own)
        if self._at and data * _SECOND >= _BUSY_FROM * (now - self._at):
            self.active = now
            self._busy_until = now + _STAYS_BUSY
        self._at, self._packets, self._own = now, packets, self.own

    def pace(self, now: int) -> Pace:
        """Return how often to probe."""
        self.active = self.active or now
        if now < self._busy_until:
            return Pace.BUSY
        return Pace.QUIET if now - self.active < _IDLE_AFTER else Pace.IDLE


class Schedule:
    """The next probe of each slave of a bundle: jittered by a quarter, and not all at once.

    Of a few tries that is taken for which the fewest other slaves are due.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._planned: dict[int, int] = {}
        self._due: dict[int, int] = {}

    def keep(self, slaves: Iterable[int]) -> None:
        """Forget all slaves but these."""
        for times in (self._planned, self._due):
            for gone in times.keys() - set(slaves):
                del times[gone]

    def next(self, slave: int, now: int, interval: int) -> int:
        """Return when to probe next: later than ``now``, and as planned while that is to come."""
        planned = self._planned.get(slave)
        if planned is not None and planned <= now:
            last = max(planned, now - interval // 2)
            spread = int(interval * _SPREAD)
            planned = self._choose(last + interval - spread, last + interval + spread)
        elif planned is None or planned > now + interval * (1 + _SPREAD) + TURN:
            planned = self._choose(now, now + interval)
            self._due.pop(slave, None)
        planned = max(planned, now + 1)
        self._planned[slave] = planned
        self._due.setdefault(slave, planned)
        return planned

    def _choose(self, first: int, last: int) -> int:
        """Return a turn from ``first`` to ``last``, or the next one where there is none."""
        earliest, latest = first // TURN, last // TURN + 1
        while _turn(earliest) < first:
            earliest += 1
        while _turn(latest) > last and latest > earliest:
            latest -= 1
        if latest <= earliest:
            return _turn(earliest)
        others = list(self._planned.values())
        tries = (_turn(self._random.randint(earliest, latest)) for _ in range(_TRIES))
        return min(tries, key=others.count)

    def sent(self, slave: int, now: int) -> int:
        """Note that a probe has been sent; return by how much too late."""
        return max(0, now - self._due.pop(slave, now))

    def overdue(self, slave: int, now: int) -> int:
        """Return for how long a probe should have been sent already."""
        return max(0, now - self._due.get(slave, now))


@lru_cache
def _turn(number: int) -> int:
    """Return when the turn of this number is. The multiplier is that of Knuth, TAOCP 3, 6.4."""
    moved = number * number * 2_654_435_761 % 2**32 * 2 * _TURN_MOVES >> 32
    return number * TURN + moved - _TURN_MOVES
