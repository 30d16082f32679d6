"""What a slave has sent a short while ago: if its path turns out to be silent, it is lost."""

from collections import deque
from time import monotonic_ns

from ipeql.backends.tun.worker.packet import Packet

KEPT_NS = 500 * 10**6
"""Longer than a path takes to be suspended: its round trip and some 100 ms."""

KEPT_BYTES = 8 << 20
"""Of one slave: half a second at 134 Mbit/s. The oldest are forgotten first."""


class Sent:
    """Packets and when they were sent, the oldest first. Those sent a second time are left out."""

    def __init__(self) -> None:
        self._packets: deque[tuple[int, Packet]] = deque()
        self._bytes = 0

    def note(self, packet: Packet) -> None:
        """Keep a packet that has just been sent."""
        if packet.again:
            return
        now = monotonic_ns()
        packets = self._packets
        packets.append((now, packet.owned()))
        self._bytes += len(packet.body)
        while packets[0][0] < now - KEPT_NS or self._bytes > KEPT_BYTES:
            self._bytes -= len(packets.popleft()[1].body)

    def take(self, since: int) -> list[Packet]:
        """Forget all packets; return those sent since then, ns, to be sent once more."""
        taken = [packet._replace(again=True) for sent, packet in self._packets if sent >= since]
        self._packets.clear()
        self._bytes = 0
        return taken
