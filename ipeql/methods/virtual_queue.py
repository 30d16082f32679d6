"""The virtual queue of each slave, which the bw_lag family shares."""

from collections.abc import Sequence
from typing import ClassVar

from ipeql.methods.base import ALL, Scheduler, SlaveParameters

NSPB_SHIFT = 16


def nanoseconds_per_byte(bandwidth: int) -> int:
    """Return the time one byte takes at ``bandwidth`` bit/s: ns in 16.16 fixed point."""
    return (8 * 10**9 << NSPB_SHIFT) // bandwidth


class VirtualQueues(Scheduler):
    """A method that keeps, for each slave, the time (ns) at which its virtual queue drains.

    Source: docs/methods.md, ``busy_i`` and ``nspb_i``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"bandwidth"})

    def __init__(self, slaves: Sequence[SlaveParameters]) -> None:
        super().__init__(slaves)
        self._derive()
        self._busy = [0] * len(slaves)
        self.set_usable(ALL)

    def _derive(self) -> None:
        self._nspb = [nanoseconds_per_byte(slave.bandwidth) for slave in self._slaves]

    def inherit(self, previous: Scheduler, origins: Sequence[int | None]) -> None:
        """Keep the virtual queues of the slaves that stay."""
        if isinstance(previous, VirtualQueues):
            for i, origin in enumerate(origins):
                if origin is not None:
                    self._busy[i] = previous._busy[origin]
