"""The slaves that flows stay on: a table of buckets, each for the flows that have its number.

Source: docs/methods.md, stripe-unit flow and flowlet.
"""

from collections.abc import Sequence

BUCKETS = 1 << 16
"""A flow's bucket is its hash modulo this."""

TICK_NS = 32
"""In these units a bucket has its time: the slave is in the bits below."""

LEAST_REST_NS = 10**6
"""A flow that has rested for less stays where it is."""

FLOW, FLOWLET = "flow", "flowlet"
UNITS = (FLOW, FLOWLET)
"""The stripe units that keep flows together."""


class Flows:
    """Which slave every bucket is kept to, and when its last packet was placed."""

    def __init__(self, unit: str) -> None:
        self._moves = unit == FLOWLET
        self._buckets: dict[int, tuple[int, int]] = {}

    def kept(self, bucket: int, now: int, rest: int) -> int | None:
        """Return the slave that a bucket is kept to; None: the method has to choose.

        ``now``, ns; ``rest``: where flowlets may move, for how long the bucket must have rested.
        """
        found = self._buckets.get(bucket)
        if found is None or (self._moves and now - found[1] > max(rest, LEAST_REST_NS)):
            return None
        return found[0]

    def keep(self, bucket: int, now: int, slave: int) -> None:
        """Keep a bucket to the slave that its packet has been given."""
        self._buckets[bucket] = slave, now // TICK_NS * TICK_NS

    def inherit(self, previous: "Flows", origins: Sequence[int | None]) -> None:
        """Keep what flows are kept to the slaves that stay; ``origins`` as Scheduler.inherit."""
        places = {origin: i for i, origin in enumerate(origins) if origin is not None}
        self._buckets = {
            bucket: (places[slave], last)
            for bucket, (slave, last) in previous._buckets.items()
            if slave in places
        }
