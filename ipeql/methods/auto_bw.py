"""auto_bw: the shortest real queue; a slave that drains faster gets more."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import (
    ALL,
    PLAIN,
    Arrival,
    Decision,
    Rules,
    Scheduler,
    SlaveParameters,
    lag_order,
)


class AutoBw(Scheduler):
    """Join the shortest queue, ties by lag order. Source: docs/methods.md, auto_bw."""

    name: ClassVar[str] = "auto_bw"
    reads_queues: ClassVar[bool] = True

    def __init__(self, slaves: Sequence[SlaveParameters], rules: Rules = PLAIN) -> None:
        super().__init__(slaves, rules)
        self.set_usable(ALL)

    def _use(self, slaves: list[int]) -> None:
        self._order = [i for i in lag_order(self._slaves) if i in slaves]

    def _choose(self, arrival: Arrival) -> Decision:
        """Take the slave whose device has the fewest packets not yet sent."""
        now, queued = arrival.now, arrival.queued
        if not self._order:
            return Decision(None, now, "no_slave")
        if queued is None:
            raise TypeError("auto_bw needs the slaves' queued packets")
        best = self._order[0]
        for i in self._order:
            if queued[i] < queued[best]:
                best = i
        return Decision(best, now)
