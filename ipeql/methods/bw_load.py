"""bw_load: shares in proportion to bandwidth, distributed evenly."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import ALL, PLAIN, Arrival, Decision, Rules, Scheduler, SlaveParameters

WEIGHT_SHIFT = 16
HIGHEST = 2**63 - 1


class BwLoad(Scheduler):
    """Smooth weighted round robin, counting bytes, packets, or flows where these are kept.

    Source: docs/methods.md, bw_load; the priority list of the 1998 driver.
    """

    name: ClassVar[str] = "bw_load"
    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth"})
    parameters: ClassVar[frozenset[str]] = frozenset({"count"})

    def __init__(
        self, slaves: Sequence[SlaveParameters], rules: Rules = PLAIN, *, count: str = "bytes"
    ) -> None:
        super().__init__(slaves, rules)
        if count not in ("bytes", "packets"):
            raise ValueError(f"count is {count!r}; expected 'bytes' or 'packets'")
        self._bytes = count == "bytes"
        self._priority = [0] * len(slaves)
        self._kept = False
        self.set_usable(ALL)

    def adjust(self, slaves: Sequence[SlaveParameters]) -> None:
        """Take over other rates; keep the priorities until a packet has been placed."""
        super().adjust(slaves)
        self._kept = True

    def _derive(self) -> None:
        super()._derive()
        rates = [slave.bandwidth for slave in self._slaves]
        total = sum(rates)
        self._weights = [max(1, (rate << WEIGHT_SHIFT) // total) for rate in rates]

    def _begin(self) -> None:
        if not self._kept:
            self._priority = [0] * len(self._slaves)

    def _use(self, slaves: list[int]) -> None:
        self._shares = [(i, self._weights[i]) for i in slaves]
        self._sum = sum(weight for _, weight in self._shares)

    def _choose(self, arrival: Arrival) -> Decision:
        """Take the slave that is furthest behind its share."""
        self._kept = False
        if not self._shares:
            return Decision(None, arrival.now, "no_slave")
        unit = self._unit(arrival)
        priority = self._priority
        best, lowest = 0, HIGHEST
        for i, weight in self._shares:
            value = priority[i] = priority[i] - weight * unit
            if value < lowest:
                best, lowest = i, value
        priority[best] = lowest + unit * self._sum
        return Decision(best, arrival.now)

    def _charge(self, arrival: Arrival, i: int) -> Decision:
        self._kept = False
        if self._counts_flows:
            return Decision(i, arrival.now)
        unit = self._unit(arrival)
        for each, weight in self._shares:
            self._priority[each] -= weight * unit
        self._priority[i] += unit * self._sum
        return Decision(i, arrival.now)

    def _send_copies(self, arrival: Arrival, copies: int) -> Decision:
        self._kept = False
        return super()._send_copies(arrival, copies)

    @property
    def _counts_flows(self) -> bool:
        return self._flows is not None

    def _unit(self, arrival: Arrival) -> int:
        """Return what a packet counts; where flows are kept, the first of one is the flow."""
        if self._counts_flows:
            return 1
        return arrival.length + (arrival.segments - 1) * arrival.header if self._bytes else 1
