"""bw_lag_eq: shares by bandwidth, packets held so that all arrive in sending order."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import Arrival, Decision, SlaveParameters
from ipeql.methods.virtual_queue import NSPB_SHIFT, VirtualQueues

QUEUE_LIMIT_NS = 100 * 10**6
"""``queue_limit`` where none is given."""


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

    def __init__(
        self,
        slaves: Sequence[SlaveParameters],
        *,
        queue_limit: int = QUEUE_LIMIT_NS,
        max_hold: int = 500 * 10**6,
    ) -> None:
        if queue_limit < 0 or max_hold < 0:
            raise ValueError("queue_limit and max_hold are times in ns, 0 or more")
        self._queue_limit = queue_limit
        self._max_hold = max_hold
        super().__init__(slaves)

    def _use(self, usable: list[int]) -> None:
        slaves = self._slaves
        lags = [slave.lag or 0 for slave in slaves]
        bound = min((lags[i] for i in usable), default=0) + self._max_hold
        waited_for = [lag for i, lag in enumerate(lags) if (self._mask | self._expected) >> i & 1]
        longest = max((lag for lag in waited_for if lag <= bound), default=0)
        paths = [i for i in usable if lags[i] <= bound]
        self._paths = [(i, self._nspb[i], slaves[i].overhead) for i in paths]
        self._hold = {i: longest - lags[i] for i in paths}

    def pick(self, arrival: Arrival) -> Decision:
        """Take the slave that has sent the packet first; hold it to match the largest lag."""
        now, length, segments, header, _ = arrival
        if not self._paths:
            return Decision(None, now, "no_slave")
        busy = self._busy
        size = length + (segments - 1) * header
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
