"""round_robin: one usable slave after the other."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import ALL, PLAIN, Arrival, Decision, Rules, Scheduler, SlaveParameters


class RoundRobin(Scheduler):
    """Round robin over the usable slaves, so that the turns of an unusable one go to all others.

    Stays ``packets_per_slave`` packets on each. Source: docs/methods.md, round_robin.
    """

    name: ClassVar[str] = "round_robin"
    parameters: ClassVar[frozenset[str]] = frozenset({"packets_per_slave"})

    def __init__(
        self,
        slaves: Sequence[SlaveParameters],
        rules: Rules = PLAIN,
        *,
        packets_per_slave: int = 1,
    ) -> None:
        super().__init__(slaves, rules)
        if packets_per_slave < 1:
            raise ValueError(f"packets_per_slave is {packets_per_slave}; expected 1 or more")
        self._packets_per_slave = packets_per_slave
        self._last = len(slaves) - 1
        self._left = 0
        self.set_usable(ALL)

    def _use(self, slaves: list[int]) -> None:
        self._turns = slaves
        self._next = [
            next((each for each in slaves if each > i), slaves[0]) if slaves else i
            for i in range(len(self._slaves))
        ]

    def _choose(self, arrival: Arrival) -> Decision:
        """Take the next usable slave, or the last one while its turn lasts."""
        now = arrival.now
        if not self._turns:
            return Decision(None, now, "no_slave")
        if not self._left or not self._among >> self._last & 1:
            self._last = self._next[self._last]
            self._left = self._packets_per_slave
        self._left -= 1
        return Decision(self._last, now)

    def inherit(self, previous: Scheduler, origins: Sequence[int | None]) -> None:
        """Continue after the slave that was last, or after the nearest before it that stays."""
        super().inherit(previous, origins)
        if not isinstance(previous, RoundRobin):
            return
        count = len(previous._slaves)
        for step in range(count):
            origin = (previous._last - step) % count
            if origin in origins:
                self._last = origins.index(origin)
                return
