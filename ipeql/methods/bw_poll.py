"""bw_poll: bw_load with decay, so that after a pause the fastest slave is next."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import PLAIN, Rules, SlaveParameters
from ipeql.methods.bw_load import HIGHEST, BwLoad

BITS_NS = 8 * 10**9
"""bit/s x ns in one byte."""

PACKET = 1500
"""Bytes that count for one packet if packets are counted."""


class BwPoll(BwLoad):
    """Smooth weighted round robin with EQL's polled decay, every ``poll_interval`` ns.

    Source: docs/methods.md, bw_poll; eql.c of Linux takes a second's worth of bytes off each
    slave's queue every second.
    """

    name: ClassVar[str] = "bw_poll"
    parameters: ClassVar[frozenset[str]] = frozenset({"count", "poll_interval"})
    times: ClassVar[frozenset[str]] = frozenset({"poll_interval"})

    def __init__(
        self,
        slaves: Sequence[SlaveParameters],
        rules: Rules = PLAIN,
        *,
        count: str = "bytes",
        poll_interval: int = 10**9,
    ) -> None:
        if poll_interval < 1:
            raise ValueError(f"poll_interval is {poll_interval} ns; expected more than 0")
        self._poll_interval = poll_interval
        super().__init__(slaves, rules, count=count)

    def _use(self, slaves: list[int]) -> None:
        super()._use(slaves)
        unit = BITS_NS if self._bytes else BITS_NS * PACKET
        weights = enumerate(self._weights)
        total = sum(weight for i, weight in weights if self._candidates >> i & 1)
        self._decay = [
            min(total * slave.bandwidth * self._poll_interval // unit, HIGHEST)
            for slave in self._slaves
        ]

    @property
    def _counts_flows(self) -> bool:
        """What flows carry counts here, since it is forgotten."""
        return False

    def tick(self, now: int) -> None:
        """Move each priority towards 0 by what its slave carries in one poll-interval."""
        self._priority = [
            max(0, value - decay) if value > 0 else min(0, value + decay)
            for value, decay in zip(self._priority, self._decay, strict=True)
        ]
