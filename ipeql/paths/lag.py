"""How much later packets arrive over a path than over another, from the clocks of both ends.

T2 - T1 has the offset of the clocks in it, and so it has on every path to the same far end: only
differences are used. Base: the minimum of five seconds, which leaves queues out. A path that takes
another way (Starlink: every 15 s) starts anew, as does one that was silent.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ipeql.paths.least import Least

_SECOND = 10**9
_MS = 10**6

_BUCKET = _SECOND // 2
_BUCKETS = 10
_STEP = 10 * _MS
_STEP_HELD = _SECOND // 2

ANEW_AFTER = 200 * _MS
"""The silence after which a path may be another one."""


class Base:
    """The minimum of the last five seconds, in buckets of half a second.

    A value more than 10 ms above it, held for half a second, is the new minimum.
    """

    def __init__(self) -> None:
        self._least = Least(_BUCKET, _BUCKETS)
        self._above_from = 0
        self._above = 0
        self.value: int | None = None

    def clear(self) -> None:
        """Forget all but the value, which is in force until the next one."""
        self._least.clear()
        self._above_from = 0

    def add(self, now: int, value: int) -> None:
        """Note a value of the time ``now``, both ns."""
        least = self._least
        if least.value is None or value <= least.value + _STEP:
            self._above_from = 0
        else:
            self._watch_step(now, value)
        least.add(now, value)
        self.value = least.value

    def _watch_step(self, now: int, value: int) -> None:
        if not self._above_from:
            self._above_from, self._above = now, value
        self._above = min(self._above, value)
        if now - self._above_from >= _STEP_HELD:
            self._least.clear()
            self._least.add(now, self._above)
            self._above_from = 0

    def shift(self, by: int) -> None:
        """Move everything by ``by`` ns: the clock was set, and the path is the same."""
        self._least.shift(by)
        self._above += by
        if self.value is not None:
            self.value += by


@dataclass(slots=True)
class Delays:
    """What is known of the delays of one path. ``half``: of the round trips."""

    far: str
    forward: Base = field(default_factory=Base)
    back: Base = field(default_factory=Base)
    half: Base = field(default_factory=Base)
    has_forward: bool = False

    def start_anew(self) -> None:
        """Forget all minima."""
        for base in (self.forward, self.back, self.half):
            base.clear()


class Timed(Protocol):
    """The four times of an answer, of which the far end may not have told its two."""

    @property
    def sent(self) -> int:
        """When the probe was sent."""

    @property
    def received(self) -> int:
        """When the answer was received."""

    @property
    def far_received(self) -> int | None:
        """When the far end had the probe."""

    @property
    def far_sent(self) -> int | None:
        """When the far end sent the answer."""


def note(delays: Delays, paths: Iterable[Delays], answer: Timed, queue: int = 0) -> None:
    """Add an answer to the delays of its path, one of ``paths``.

    ``queue``: what is known to have stood on the way there, ns, and is no lag.
    Where one way seems longer and the other shorter by as much, the clock of the far end was set.
    """
    now = answer.received
    there, sent_back = answer.far_received, answer.far_sent
    delays.has_forward = there is not None and sent_back is not None
    if there is None or sent_back is None:
        delays.half.add(now, (now - answer.sent - queue) // 2)
        return
    forward, back = there - answer.sent - queue, now - sent_back
    if delays.forward.value is not None and delays.back.value is not None:
        more, less = forward - delays.forward.value, back - delays.back.value
        if abs(more) > _STEP and more * less < 0 and abs(more + less) * 2 < abs(more):
            by = (more - less) // 2
            for each in paths:
                if each.far == delays.far:
                    each.forward.shift(by)
                    each.back.shift(-by)
    delays.forward.add(now, forward)
    delays.back.add(now, back)
    delays.half.add(now, (forward + back) // 2)


def differences(paths: dict[int, Delays], alive: set[int]) -> tuple[dict[int, int], bool]:
    """Return by how much (ns) packets come later over each path than over the fastest one alive.

    The paths are those to one far end. True: these are half the differences of round trips, since
    the far end does not tell of the ways there. No path is later than its own round trip.
    """
    known = {slave: delays for slave, delays in paths.items() if delays.half.value is not None}
    halved = not all(delays.has_forward for delays in known.values())
    bases: dict[int, int] = {}
    for slave, delays in known.items():
        value = delays.half.value if halved else delays.forward.value
        if value is not None:
            bases[slave] = value
    if not bases:
        return {}, halved
    first = min((bases[slave] for slave in bases if slave in alive), default=min(bases.values()))
    return {
        slave: min(max(0, value - first), 2 * (paths[slave].half.value or 0))
        for slave, value in bases.items()
    }, halved
