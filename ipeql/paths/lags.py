"""The lags of a bundle's slaves: as measured, and as the dataplane is told of them."""

from collections.abc import Mapping

from ipeql.paths.lag import Delays, differences
from ipeql.paths.told import Told

_MS = 10**6

WORTH_TELLING = 2 * _MS
"""A lag that has moved by less is not told."""


class Lags:
    """By ifindex, in ns. ``measured``: over the fastest path alive to the same far end.

    ``told``: for the methods. Where some of the slaves have a lag configured, the measured ones are
    told so that they fit to those. ``halved``: the far ends that tell only round trips.
    """

    def __init__(self) -> None:
        self.measured: dict[int, int] = {}
        self.halved: set[str] = set()
        self._told = Told(lambda told, lag: abs(told - lag) >= WORTH_TELLING)

    @property
    def told(self) -> dict[int, int]:
        """What the methods go by."""
        return self._told.values

    def update(
        self,
        now: int,
        paths: Mapping[int, Delays],
        alive: set[int],
        configured: Mapping[int, int | None],
    ) -> int:
        """Take in what the paths have measured; return when to do it again, in ns.

        ``configured``: the lag of each slave; None: measured.
        """
        self.measured, self.halved = {}, set()
        wanted: dict[int, int] = {}
        for far in {delays.far for delays in paths.values()}:
            group = {slave: delays for slave, delays in paths.items() if delays.far == far}
            measured, halved = differences(group, alive)
            self.measured |= measured
            if halved:
                self.halved.add(far)
            given = [(lag, slave) for slave in measured if (lag := configured[slave]) is not None]
            zero = sum(lag - measured[slave] for lag, slave in given) // max(1, len(given))
            wanted |= {slave: max(0, lag + zero) for slave, lag in measured.items()}
        return self._told.update(now, wanted)
