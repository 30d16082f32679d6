"""What a link does to frames: rate, queue, delay, loss. Pure: the caller has the clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A link as seen by one direction; both directions are alike and independent.

    ``rate`` bit/s of Ethernet frames without FCS, None: no limit. ``delay`` one-way, ns. ``queue``
    the longest wait, ns. ``loss`` the ratio of frames lost at random, 0 to 1.
    """

    rate: int | None = None
    delay: int = 0
    queue: int = 100_000_000
    loss: float = 0.0
