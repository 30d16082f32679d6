"""A bundle's paths in virtual time: probes are sent when they are due, and links answer them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from ipeql.paths.path import Answer, Parameters
from ipeql.paths.paths import Change, Paths
from ipeql.state.path import Adjustments, Rung, Standing

MS = 10**6
SECOND = 10**9
START = 1000 * SECOND
FAR_CLOCK = 1_764_213_000 * SECOND
"""What the far end's clock is ahead."""

Trip = tuple[int, int] | None
Link = Callable[[int], Trip]
"""From the time of sending (ns from the start): the delays there and back (ns), or None: lost."""


def steady(there: int, back: int | None = None) -> Link:
    """A link with delays in ms."""
    return lambda _: (there * MS, (there if back is None else back) * MS)


def cut(link: Link, start: int, end: int) -> Link:
    """A link that loses everything from ``start`` to ``end``, in ms."""
    return lambda at: None if start * MS <= at < end * MS else link(at)


@dataclass
class World:
    """The links by ifindex. ``stalls``: times (from, to; ms) in which nothing is sent or judged.

    ``busy``: whether there is traffic; ``quiet``: the slaves that have none all the same.
    """

    links: dict[int, Link]
    parameters: dict[int, Parameters] = field(default_factory=dict)
    stalls: list[tuple[int, int]] = field(default_factory=list)
    far_clock: Callable[[int], int] = lambda _: FAR_CLOCK
    busy: bool = True
    quiet: frozenset[int] = frozenset()
    one_way: bool = True
    asks: dict[int, Callable[[int], bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.paths = Paths(seed=1)
        self.paths.keep({slave: self.parameters.get(slave, Parameters()) for slave in self.links})
        self.changes: list[tuple[int, Change]] = []
        self.sent: list[tuple[int, int]] = []
        self.in_use: list[tuple[int, frozenset[int]]] = []
        self.adjustments: Adjustments = {}
        self.tick: Callable[[int], None] = lambda _: None
        self.now = START
        self._sequences = dict.fromkeys(self.links, 0)
        self._sent = 0
        self._events: list[tuple[int, int, int, Answer | None]] = []
        self._packets = 0

    def run(self, duration: int) -> None:
        """Let ``duration`` ms go by."""
        end = self.now + duration * MS
        probes = {slave: self.paths.next_probe(slave, self.now) for slave in self.links}
        ticks = self.now
        while True:
            now = max(self.now, min(self.paths.due(self.now), ticks, *probes.values()))
            if self._events:
                now = min(now, self._events[0][0])
            if now > end:
                break
            for start, stop in self.stalls:
                if START + start * MS <= now < START + stop * MS:
                    now = START + stop * MS
            self.now = now
            urgent = self._receive(now)
            if ticks <= now:
                ticks = now + 50 * MS
                self._carry(now)
            for slave, due in probes.items():
                if due <= now:
                    if self.parameters.get(slave, Parameters()).probed:
                        self._send(slave, now)
                    probes[slave] = self.paths.next_probe(slave, now)
            if urgent or self.paths.due(now) <= now:
                self._judge(now)
                probes = {slave: self.paths.next_probe(slave, now) for slave in self.links}
        self.now = end

    def begin_anew(self, slave: int) -> None:
        """Begin a slave's sequences anew; answers to earlier probes are not understood any more."""
        self._sequences[slave] = 0
        self._events = [event for event in self._events if event[2] != slave]
        heapify(self._events)
        self.paths.begin_anew(slave)

    def _carry(self, now: int) -> None:
        for slave, asking in self.asks.items():
            if asking(now - START):
                self.paths.asked(slave, now)
        if self.busy:
            self._packets += 100
        for slave in self.links:
            own = sum(each == slave for _, each in self.sent[-400:])
            data = 0 if slave in self.quiet else self._packets
            self.paths.carried(slave, now, data + own)

    def _receive(self, now: int) -> bool:
        urgent = False
        while self._events and self._events[0][0] <= now:
            _, _, slave, answer = heappop(self._events)
            assert answer is not None
            urgent |= self.paths.answered(slave, answer)
        return urgent

    def _send(self, slave: int, now: int) -> None:
        self._sequences[slave] += 1
        sequence = self._sequences[slave]
        self.paths.sent(slave, sequence, now)
        self.sent.append((now - START, slave))
        trip = self.links[slave](now - START)
        if trip is None:
            return
        there, back = now + trip[0], now + sum(trip)
        far = there + self.far_clock(there - START) if self.one_way else None
        answer = Answer(sequence, now, back, Rung.STAMP, far, far)
        self._sent += 1
        heappush(self._events, (back, self._sent, slave, answer))

    def _judge(self, now: int) -> None:
        judgement = self.paths.judge(now)
        assert self.paths.due(now) > now
        self.changes += [((now - START) // MS, change) for change in judgement.changes]
        self.adjustments = judgement.adjustments
        usable = frozenset(slave for slave, each in judgement.adjustments.items() if each.usable)
        assert usable, "never all unusable"
        if not self.in_use or self.in_use[-1][1] != usable:
            self.in_use.append(((now - START) // MS, usable))
        self.tick(now - START)

    def standings(self) -> dict[int, Standing]:
        """Return how all paths stand."""
        return {slave: report.standing for slave, report in self.paths.reports(self.now).items()}

    def first(self, slave: int, standing: Standing, since: int = 0) -> int:
        """Return when (ms) the slave first came to a standing after ``since``."""
        return next(
            at
            for at, change in self.changes
            if change.ifindex == slave and change.after is standing and at >= since
        )

    def count(self, standing: Standing) -> int:
        """Return how many changes to a standing there were."""
        return sum(change.after is standing for _, change in self.changes)
