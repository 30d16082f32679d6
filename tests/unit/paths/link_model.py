"""A link as the law sees it: a queue served at a rate that may change, a delay, jitter, losses.

In steps of a millisecond, in bytes. The sender sends what the law allows, or less.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ipeql.methods import Arrival, SlaveParameters
from ipeql.methods.bw_lag_eq import BwLagEq
from ipeql.paths.rate.law import Law, SentBytes
from ipeql.paths.rate.unseen import Count

MS = 10**6
MBIT = 10**6
PROBE = 140
PACKET = 1514
LEAST_PLACED = 30
EVERY = 20
"""Milliseconds between two probes."""


@dataclass
class Link:
    """``rate``: bit/s by ms; ``delay``: one way, ms by ms. ``queue``: the longest, bytes.

    ``placed``: the virtual queue of the dataplane, ms: what is in it leaves as it was placed; None:
    it binds late.
    ``limit``: what the sender has to send, bit/s by ms. ``burst``: of a token bucket, bytes.
    ``echo``: the far end tells no times. ``fair``: a probe does not wait for data. ``counts``:
    the far end says every 100 ms how many bytes of those have come. ``offset`` and ``drift``: of
    its clock, ns and parts per million. ``lost``: this part of the data uses the line,
    and never arrives. ``forgotten``: bytes that the far end does not count any more.
    """

    rate: Callable[[int], float]
    delay: Callable[[int], float] = lambda _: 5
    queue: int = 10**9
    placed: int | None = 0
    limit: Callable[[int], float] = lambda _: 1e9
    burst: float = 0
    jitter: float = 0
    loss: float = 0
    lost: float = 0
    forgotten: int = 0
    counts: bool = False
    echo: bool = False
    fair: bool = False
    offset: Callable[[int], int] = lambda _: 10**15
    drift: float = 0
    may_pause: bool = True
    law: Law = field(default_factory=Law)
    random: Random = field(default_factory=lambda: Random(1))
    rates: list[int] = field(default_factory=list)
    capacities: list[int] = field(default_factory=list)
    queues: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    carried: list[float] = field(default_factory=list)

    def run(self, milliseconds: int) -> "Link":
        """Go on for so long; what came of it is in ``rates``, ``queues`` (ms) and ``carried``."""
        start = len(self.rates)
        if not start:
            self._virtual: deque[float] = deque()
            self._busy = self._waiting = 0.0
            self._sent = self._served = self._given = 0.0
            self._tokens = self.burst
            self._under_way: deque[tuple[float, int, int]] = deque()
            self._answers: list[tuple[float, int, int, int]] = []
            self._number = 0
            self._heard = 0
            self._arrived = 0.0
            self.law.late = self.placed is None
            self._method = BwLagEq([SlaveParameters(self.law.rate, 0)])
            self._asked: dict[int, float] = {}
            self._delivered: deque[tuple[float, int]] = deque()
            self._count: Count | None = None
        for now in range(start, start + milliseconds):
            self._step(now)
        return self

    def _step(self, now: int) -> None:
        law = self.law
        self._place(now)
        while self._virtual and self._virtual[0] <= now:
            self._virtual.popleft()
            self._given += PACKET
            if self._sent - self._served + PACKET <= self.queue:
                self._sent += PACKET
        if now % EVERY == 0:
            self._sent += 0 if self.fair else PROBE
            total = int(self._given if self.fair else self._sent)
            law.asked(self._number, now * MS, SentBytes(total, total))
            self._asked[now * MS] = self._sent
            if self.random.random() >= self.loss:
                met = 0 if self.fair else self._sent
                self._under_way.append((met, now, self._number))
            self._number += 1
        rate = self.rate(now) / 8000
        self._tokens = min(self.burst, self._tokens + rate)
        waiting = self._sent - self._served
        carried = min(waiting, max(rate, self._tokens))
        self._tokens -= min(self._tokens, carried)
        self._served += carried
        self._count_bytes(now)
        while self._under_way and self._under_way[0][0] <= self._served + 1e-6:
            _, sent, number = self._under_way.popleft()
            there = now + self.delay(now) + self.random.uniform(0, self.jitter)
            self.waits.append(now - sent)
            self._arrived = there = max(there, self._arrived + 0.001)
            self._answers.append((there + self.delay(now), number, sent, int(there * MS)))
        self._answers.sort()
        while self._answers and self._answers[0][0] <= now:
            came, number, sent, there = self._answers.pop(0)
            received = int(came * MS)
            far = there + self.offset(now) + int(there * self.drift / 1e6)
            silence = max(0, received - self._heard - 60 * MS)
            self._heard = received
            law.answered(
                number,
                received,
                None if self.echo else far,
                self._count,
                silence=silence,
                may_pause=self.may_pause,
            )
        self.rates.append(law.rate)
        self.capacities.append(law.capacity)
        self.queues.append((self._sent - self._served) / max(rate, 1e-9))
        self.carried.append(carried)

    def _count_bytes(self, now: int) -> None:
        if not self.counts:
            return
        self._delivered.append((now + self.delay(now), int(self._served * (1 - self.lost))))
        if now % 100 == 0:
            came = [data for at, data in self._delivered if at <= now]
            counted = came[-1] - self.forgotten if came else 0
            if came and (self._count is None or counted != self._count.bytes):
                self._count = Count(counted, now * MS + self.offset(now))
            while self._delivered and self._delivered[0][0] < now - 1:
                self._delivered.popleft()

    def _place(self, now: int) -> None:
        """Place packets as bw_lag_eq does, while they find room in the virtual queue."""
        self._waiting = min(self._waiting + self.limit(now) / 8000, 100 * PACKET)
        if self.placed is None:
            self._bind(now)
            return
        while self._waiting >= PACKET:
            start = max(self._busy, now)
            end = start + PACKET * 8000 / self.law.rate
            if end > now + max(self.placed or 0, LEAST_PLACED):
                break
            self._busy = end
            self._virtual.append(start)
            self._waiting -= PACKET

    def _bind(self, now: int) -> None:
        """Bind packets late, as bw_lag_eq does where the real queue is known."""
        rate, backlog = self.law.rate, self.law.backlog(now * MS)
        empty = None
        if backlog:
            given = self._sent - self._sent_until(backlog.asked) + len(self._virtual) * PACKET
            empty = backlog.asked + backlog.delay + int(given * 8e9 / rate)
        self._method.adjust([SlaveParameters(rate, 0)])
        self._method.bind_late([empty])
        while self._waiting >= PACKET:
            slave, release, *_ = self._method.pick(Arrival(now * MS, PACKET - 14))
            if slave is None:
                break
            self._virtual.append(release / MS)
            self._waiting -= PACKET

    def _sent_until(self, time: int) -> float:
        return next(sent for asked, sent in reversed(self._asked.items()) if asked <= time)

    def share(self, begin: int, end: int | None = None) -> float:
        """Return the carried part of what could have been, from ``begin`` to ``end``, ms."""
        end = end or len(self.rates)
        could = sum(self.rate(now) / 8000 for now in range(begin, end))
        return sum(self.carried[begin:end]) / could

    def longest_queue(self, begin: int, end: int | None = None) -> float:
        """Return the longest queue, ms."""
        return max(self.queues[begin:end])
