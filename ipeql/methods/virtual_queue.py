"""The virtual queue of each slave, which the bw_lag family shares."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import ALL, PLAIN, Arrival, Decision, Rules, Scheduler, SlaveParameters


class VirtualQueues(Scheduler):
    """A method that chooses by the times (ns) at which the slaves' virtual queues drain."""

    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth"})
    has_queues: ClassVar[bool] = True

    def __init__(self, slaves: Sequence[SlaveParameters], rules: Rules = PLAIN) -> None:
        super().__init__(slaves, rules)
        self.set_usable(ALL)

    def _charge(self, arrival: Arrival, i: int) -> Decision:
        self._queue(i, arrival)
        return Decision(i, arrival.now)
