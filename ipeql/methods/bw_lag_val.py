"""bw_lag_val: the slave over which the packet arrives first."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import Decision
from ipeql.methods.virtual_queue import NSPB_SHIFT, VirtualQueues


class BwLagVal(VirtualQueues):
    """Earliest delivery path first. Source: docs/methods.md, bw_lag_val."""

    name: ClassVar[str] = "bw_lag_val"
    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth", "lag"})

    def _use(self, usable: list[int]) -> None:
        slaves = self._slaves
        self._paths = [(i, self._nspb[i], slaves[i].overhead, slaves[i].lag or 0) for i in usable]

    def pick(
        self,
        now: int,
        length: int,
        segments: int = 1,
        header: int = 0,
        queued: Sequence[int] | None = None,
    ) -> Decision:
        """Take the slave with the earliest arrival: queue, transmission and lag added up."""
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
