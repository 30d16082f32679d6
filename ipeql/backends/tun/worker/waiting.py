"""The packets of a bundle that no slave can take yet, in the order in which they came."""

from collections import deque

from ipeql.backends.tun.worker.packet import Packet
from ipeql.paths.least import Least

LEAST_BYTES = 60_000
"""So many may wait however slow all slaves are: the first windows of a TCP flow."""

_HALF_SECOND = 5 * 10**8
_HALVES = 5
"""For so many halves of a second the bound is that of the largest rate. Links that are slow for a
moment would else take TCP's window away, which it builds up again for seconds."""


class Waiting:
    """A queue that is bounded in time: by what all slaves together carry."""

    def __init__(self) -> None:
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._most = LEAST_BYTES
        self._falling = Least(_HALF_SECOND, _HALVES)

    def __len__(self) -> int:
        """Return how many packets wait."""
        return len(self._packets)

    def bound(self, now: int, rate: int, limit: int) -> None:
        """Let wait what takes ``limit`` ns at ``rate`` bit/s; ``now``: ns."""
        self._falling.add(now, -rate)
        self._most = max(LEAST_BYTES, limit * -(self._falling.value or 0) // (8 * 10**9))

    def put(self, packet: Packet) -> bool:
        """Add a packet at the end; return whether there was room."""
        size = len(packet.body)
        if self._bytes + size > self._most:
            return False
        self._packets.append(packet.owned())
        self._bytes += size
        return True

    def take(self) -> Packet:
        """Return the first packet, which waits no more."""
        packet = self._packets.popleft()
        self._bytes -= len(packet.body)
        return packet

    def put_back(self, packet: Packet) -> None:
        """Have a packet wait as the first one."""
        self._packets.appendleft(packet)
        self._bytes += len(packet.body)

    def clear(self) -> list[Packet]:
        """Return all packets, which wait no more."""
        taken = list(self._packets)
        self._packets.clear()
        self._bytes = 0
        return taken
