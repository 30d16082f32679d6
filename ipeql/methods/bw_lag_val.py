"""bw_lag_val: the slave over which the packet arrives first."""

from typing import ClassVar

from ipeql.methods.base import NSPB_SHIFT, Arrival, Decision
from ipeql.methods.virtual_queue import VirtualQueues


class BwLagVal(VirtualQueues):
    """Earliest delivery path first. Source: docs/methods.md, bw_lag_val."""

    name: ClassVar[str] = "bw_lag_val"
    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth", "lag"})

    def _use(self, slaves: list[int]) -> None:
        given = self._slaves
        self._paths = [(i, self._nspb[i], given[i].overhead, given[i].lag or 0) for i in slaves]

    def _choose(self, arrival: Arrival) -> Decision:
        """Take the slave with the earliest arrival: queue, transmission and lag added up."""
        now, length, segments, header, *_ = arrival
        if not self._paths:
            return Decision(None, now, "no_slave")
        busy = self._busy
        size = length + (segments - 1) * header
        best = finish = earliest = -1
        for i, nspb, overhead, lag in self._paths:
            drained = busy[i]
            sent = (drained if drained > now else now) + (
                (size + segments * overhead) * nspb >> NSPB_SHIFT
            )
            if best < 0 or sent + lag < earliest:
                best, finish, earliest = i, sent, sent + lag
        busy[best] = finish
        return Decision(best, now)
