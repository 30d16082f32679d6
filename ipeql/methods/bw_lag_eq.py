"""bw_lag_eq: shares by bandwidth, packets held so that all arrive in sending order."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from ipeql.methods.base import (
    MIN_BANDWIDTH,
    NSPB_SHIFT,
    PLAIN,
    Arrival,
    Decision,
    Rules,
    SlaveParameters,
)
from ipeql.methods.virtual_queue import VirtualQueues

QUEUE_LIMIT_NS = 100 * 10**6
"""The least ``queue_limit`` that ``default_queue_limit`` gives."""

MAX_HOLD_NS = 500 * 10**6
"""``max_hold`` where none is given."""

AHEAD_NS = 15 * 10**6
"""A slave whose real queue is known is given packets while that is shorter: the queue shows that
the path is full. The law of ipeql/paths/rate/ aims at it."""

SOON_NS = 30 * 10**6
"""A packet that waits is placed at most so long before its slave can take it."""

MARGIN_NS = 2 * 10**6
"""Usually it is placed one packet's time on the slowest slave and this before. It waits until half
of this is left, so that some packets are placed at once: a wake-up costs more than a packet."""

QUEUED_PACKETS = 4
"""The virtual queues have room for so many of the largest packets of the slowest slave."""


def default_queue_limit(
    slaves: Sequence[SlaveParameters], packet: int, max_hold: int = MAX_HOLD_NS
) -> int:
    """Return the ``queue_limit``, ns, for slaves whose largest packet has ``packet`` bytes.

    It has room for four packets on the slowest slave (docs/adr/0014-slow-lines.md), and for one
    round trip: data that arrive as late as the longest lag in use, and an acknowledgement over the
    shortest. BBR has two bandwidth-delay products under way: one in the paths, one here.
    """
    slowest = min((slave.bandwidth for slave in slaves), default=MIN_BANDWIDTH)
    lags = [slave.lag or 0 for slave in slaves]
    least = min(lags, default=0)
    longest = max((lag for lag in lags if lag <= least + max_hold), default=0)
    queued = QUEUED_PACKETS * 8 * packet * 10**9 // slowest
    return max(QUEUE_LIMIT_NS, queued, longest + least)


class BwLagEq(VirtualQueues):
    """Delay-equalised striping.

    ``queue_limit`` ns bounds the virtual queue, ``max_hold`` ns the time a packet waits for slower
    paths. Source: docs/methods.md, bw_lag_eq.
    """

    name: ClassVar[str] = "bw_lag_eq"
    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth", "lag"})
    parameters: ClassVar[frozenset[str]] = frozenset({"queue_limit", "max_hold"})
    times: ClassVar[frozenset[str]] = frozenset({"queue_limit", "max_hold"})
    holds: ClassVar[bool] = True
    binds_late: ClassVar[bool] = True

    def __init__(
        self,
        slaves: Sequence[SlaveParameters],
        rules: Rules = PLAIN,
        *,
        queue_limit: int = QUEUE_LIMIT_NS,
        max_hold: int = MAX_HOLD_NS,
    ) -> None:
        if queue_limit < 0 or max_hold < 0:
            raise ValueError("queue_limit and max_hold are times in ns, 0 or more")
        self._queue_limit = queue_limit
        self._max_hold = max_hold
        self._late = False
        self._ahead = [0] * len(slaves)
        self._paced = [0] * len(slaves)
        super().__init__(slaves, rules)

    def _use(self, slaves: list[int]) -> None:
        given = self._slaves
        lags = [slave.lag or 0 for slave in given]
        first = self._reserves.always(self._candidates) or self._candidates
        bound = min((lag for i, lag in enumerate(lags) if first >> i & 1), default=0)
        bound += self._max_hold
        waited_for = self._candidates | self._expected
        longest = max(
            (lag for i, lag in enumerate(lags) if waited_for >> i & 1 and lag <= bound), default=0
        )
        paths = [i for i in slaves if lags[i] <= bound]
        self._paths = [(i, self._nspb[i], given[i].overhead) for i in paths]
        self._hold = {i: longest - lags[i] for i in paths}

    def _choose(self, arrival: Arrival) -> Decision:
        """Take the slave that has sent the packet first; hold it to match the largest lag."""
        now, length, segments, header, _, light, *_ = arrival
        if not self._paths:
            return Decision(None, now, "no_slave")
        if self._flows or light:
            return self._send_at_once(arrival, self._hold, behind=self._flows is not None)
        busy = self._busy
        size = length + (segments - 1) * header
        if self._late:
            return self._bind(now, size, segments)
        best = finish = -1
        for i, nspb, overhead in self._paths:
            drained = busy[i]
            sent = (drained if drained > now else now) + (
                (size + segments * overhead) * nspb >> NSPB_SHIFT
            )
            if best < 0 or sent < finish:
                best, finish = i, sent
        start = max(busy[best], now)
        if start - now > self._queue_limit:
            return Decision(None, now, "queue_full")
        busy[best] = finish
        return Decision(best, start + self._hold[best])

    def _open(self, now: int) -> list[int]:
        return [i for i in self._hold if self._busy[i] - now <= self._queue_limit]

    def _charge(self, arrival: Arrival, i: int) -> Decision:
        return self._send_at_once(arrival, [i] if i in self._hold else self._hold, behind=True)

    def _send_at_once(self, arrival: Arrival, slaves: Iterable[int], *, behind: bool) -> Decision:
        """Take the slave where a packet arrives first that is not held; ``behind``: what waits."""
        now, busy = arrival.now, self._busy
        arrives = {
            i: (max(busy[i], now) if behind else now)
            + self._tx(i, arrival)
            + (self._slaves[i].lag or 0)
            for i in slaves
            if busy[i] - now <= self._queue_limit
        }
        if not arrives:
            return Decision(None, now, "queue_full")
        best = min(arrives, key=arrives.__getitem__)
        self._queue(best, arrival)
        return Decision(best, now)

    def bind_late(self, empty: Sequence[int | None] | None) -> None:
        """Know the real queues. What a slave is given is sent ``_hold`` later, but for flows."""
        self._late = empty is not None
        for i, at in enumerate(empty or ()):
            self._ahead[i] = 0 if at is None else AHEAD_NS
            if at is None:
                self._paced[i] = 0
            else:
                self._busy[i] = at - (0 if self._flows else self._hold.get(i, 0))

    def _bind(self, now: int, size: int, segments: int) -> Decision:
        """Take the slave whose queue the packet has left first, if it can take it soon.

        A slave whose real queue is known gets packets while that is short, at one and a half times
        its bandwidth at most.
        """
        best = finish = start = sending = longest = -1
        for i, nspb, overhead in self._paths:
            tx = (size + segments * overhead) * nspb >> NSPB_SHIFT
            begins = max(now, self._busy[i] - self._ahead[i], self._paced[i])
            ends = max(begins, self._busy[i]) + tx
            longest = max(longest, tx)
            if best < 0 or ends < finish:
                best, finish, start, sending = i, ends, begins, tx
        soon = min(SOON_NS, longest + MARGIN_NS)
        if start - now > soon:
            return Decision(None, start - soon + MARGIN_NS // 2, "later")
        self._busy[best] = finish
        if self._ahead[best]:
            self._paced[best] = start + sending * 2 // 3
        return Decision(best, start + self._hold[best])
