"""bw_load: shares in proportion to bandwidth, distributed evenly."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import ALL, Arrival, Decision, Scheduler, SlaveParameters

WEIGHT_SHIFT = 16
HIGHEST = 2**63 - 1


class BwLoad(Scheduler):
    """Smooth weighted round robin, counting bytes or packets.

    Source: docs/methods.md, bw_load; the priority list of the 1998 driver.
    """

    name: ClassVar[str] = "bw_load"
    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth"})
    parameters: ClassVar[frozenset[str]] = frozenset({"count"})

    def __init__(self, slaves: Sequence[SlaveParameters], *, count: str = "bytes") -> None:
        super().__init__(slaves)
        if count not in ("bytes", "packets"):
            raise ValueError(f"count is {count!r}; expected 'bytes' or 'packets'")
        self._bytes = count == "bytes"
        self._priority = [0] * len(slaves)
        self._kept = False
        self._derive()
        self.set_usable(ALL)

    def adjust(self, slaves: Sequence[SlaveParameters]) -> None:
        """Take over other rates; keep the priorities until a packet has been placed."""
        priority = self._priority
        super().adjust(slaves)
        self._priority, self._kept = priority, True

    def _derive(self) -> None:
        rates = [slave.bandwidth for slave in self._slaves]
        total = sum(rates)
        self._weights = [max(1, (rate << WEIGHT_SHIFT) // total) for rate in rates]

    def _use(self, usable: list[int]) -> None:
        if not self._kept:
            self._priority = [0] * len(self._slaves)
        self._shares = [(i, self._weights[i]) for i in usable]
        self._sum = sum(weight for _, weight in self._shares)

    def pick(self, arrival: Arrival) -> Decision:
        """Take the slave that is furthest behind its share."""
        now, length, segments, header, *_ = arrival
        self._kept = False
        if not self._shares:
            return Decision(None, now, "no_slave")
        unit = length + (segments - 1) * header if self._bytes else 1
        priority = self._priority
        best, lowest = 0, HIGHEST
        for i, weight in self._shares:
            value = priority[i] = priority[i] - weight * unit
            if value < lowest:
                best, lowest = i, value
        priority[best] = lowest + unit * self._sum
        return Decision(best, now)
