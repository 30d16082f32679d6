"""What every striping method shares: its slaves, the packet's charge, the usable set.

METHODS.md is the contract; these classes are its reference implementation. All arithmetic is
integer and stays within 64 bits, so that the C twins agree to the bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

MAX_SLAVES = 32
MIN_BANDWIDTH = 1000
NSPB_SHIFT = 16


@dataclass(frozen=True, slots=True)
class SlaveParameters:
    """What a method may know of a slave.

    ``bandwidth`` bit/s (0: not given), ``lag`` one-way delay in ns (None: not given), ``overhead``
    bytes the wire adds to every IP packet.
    """

    bandwidth: int = 0
    lag: int | None = None
    overhead: int = 14


class Decision(NamedTuple):
    """Where a packet goes and when.

    ``slave`` index or None when dropped; ``release`` the time (ns, the caller's clock) at which to
    hand it over; ``reason`` empty, or why it was dropped: ``no_slave`` or ``queue_full``.
    """

    slave: int | None
    release: int
    reason: str = ""
