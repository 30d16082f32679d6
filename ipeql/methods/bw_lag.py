"""bw_lag: the shortest virtual queue; an idle bundle takes the slave with the lowest lag."""

from typing import ClassVar

from ipeql.methods.base import Arrival, Decision, lag_order
from ipeql.methods.virtual_queue import VirtualQueues


class BwLag(VirtualQueues):
    """Least virtual queue, ties by lag order. Source: docs/methods.md, bw_lag."""

    name: ClassVar[str] = "bw_lag"

    def _use(self, slaves: list[int]) -> None:
        self._order = [i for i in lag_order(self._slaves) if i in slaves]

    def _choose(self, arrival: Arrival) -> Decision:
        """Take the slave whose virtual queue drains first; of idle ones the first by lag."""
        now = arrival.now
        if not self._order:
            return Decision(None, now, "no_slave")
        busy = self._busy
        best = self._order[0]
        earliest = busy[best]
        for i in self._order:
            if earliest <= now:
                break
            if busy[i] < earliest:
                best, earliest = i, busy[i]
        self._queue(best, arrival)
        return Decision(best, now)
