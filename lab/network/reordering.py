"""Packet reordering as RFC 4737 measures it. Pure."""

from bisect import bisect_right
from collections.abc import Iterable


def first_copies(sequence: Iterable[int]) -> list[int]:
    """Return ``sequence`` without duplicates: order is judged by the copy that came first."""
    return list(dict.fromkeys(sequence))


def extents(sequence: Iterable[int]) -> list[int]:
    """Return the reordering extent of each reordered packet, in order of arrival.

    ``sequence`` is the sending order numbers as they arrived; duplicates do not count. A packet is
    reordered when one sent later has arrived (RFC 4737, 3.3); its extent is the number of packets
    from the first such arrival to its own (4.2.1). The reordered ratio (4.1) is the length of the
    result over the distinct packets received.
    """
    highest: list[int] = []  # of all arrivals so far; ascending
    found = []
    for position, number in enumerate(first_copies(sequence)):
        overtaken_at = bisect_right(highest, number)
        if overtaken_at < position:
            found.append(position - overtaken_at)
        highest.append(max(number, highest[-1]) if highest else number)
    return found
