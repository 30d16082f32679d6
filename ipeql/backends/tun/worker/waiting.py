"""The packets of a bundle that no slave can take yet.

Flows take turns, so that a call beside a download waits for some packets, and not for all. Source:
RFC 8290, 4.1 and 4.2, without its hashing and without CoDel.
"""

from collections import deque

from ipeql.backends.tun.worker.flow import flow_of
from ipeql.backends.tun.worker.packet import Packet
from ipeql.paths.least import Least

LEAST_BYTES = 60_000
"""So many may wait however slow all slaves are: the first windows of a TCP flow."""

MOST_FLOWS = 256
"""All flows beyond these have one turn together: a scan of ports should neither take the time that
looking for the longest flow takes, nor everybody else's turns."""

QUANTUM = 1514
"""Bytes of a flow before the next one has its turn."""

_HALF_SECOND = 5 * 10**8
_HALVES = 5
"""For so many halves of a second the bound is that of the largest rate. Links that are slow for a
moment would else take TCP's window away, which it builds up again for seconds."""

_OTHERS = b""
"""While these wait no flow leaves them, and none is reordered."""


class _Flow:
    def __init__(self, key: bytes) -> None:
        self.key = key
        self.packets: deque[Packet] = deque()
        self.bytes = 0
        self.deficit = QUANTUM


class Waiting:
    """A queue that is bounded in time: by what all slaves together carry."""

    def __init__(self) -> None:
        self._flows: dict[bytes, _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()
        self._first: Packet | None = None
        self._count = self._bytes = 0
        self._most = LEAST_BYTES
        self._falling = Least(_HALF_SECOND, _HALVES)

    def __len__(self) -> int:
        """Return how many packets wait."""
        return self._count

    def bound(self, now: int, rate: int, limit: int) -> None:
        """Let wait what takes ``limit`` ns at ``rate`` bit/s; ``now``: ns."""
        self._falling.add(now, -rate)
        self._most = max(LEAST_BYTES, limit * -(self._falling.value or 0) // (8 * 10**9))

    def put(self, packet: Packet) -> int:
        """Add a packet; return how many segments are dropped, the first of the longest flows."""
        key = flow_of(packet.body)
        if key not in self._flows and (len(self._flows) >= MOST_FLOWS or _OTHERS in self._flows):
            key = _OTHERS
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(key)
            self._new.append(flow)
        flow.packets.append(packet.owned())
        flow.bytes += len(packet.body)
        self._add(packet, 1)
        dropped = 0
        while self._bytes > self._most and self._count > (self._first is not None):
            longest = max(self._flows.values(), key=lambda each: each.bytes)
            dropped += self._pop(longest).segments
        return dropped

    def take(self) -> Packet:
        """Return the packet whose turn it is, which waits no more."""
        if packet := self._first:
            self._first = None
            self._add(packet, -1)
            return packet
        while True:
            turn = self._new or self._old
            flow = turn[0]
            if flow.deficit <= 0:
                flow.deficit += QUANTUM
                self._old.append(turn.popleft())
            elif flow.packets:
                packet = self._pop(flow)
                flow.deficit -= len(packet.body)
                return packet
            else:
                turn.popleft()
                if turn is self._new and self._old:
                    self._old.append(flow)
                else:
                    del self._flows[flow.key]

    def put_back(self, packet: Packet) -> None:
        """Have the packet that was taken last wait as the first one."""
        self._first = packet
        self._add(packet, 1)

    def clear(self) -> list[Packet]:
        """Return all packets, which wait no more; those of a flow in their order."""
        taken = [self.take() for _ in range(self._count)]
        self._flows.clear()
        self._new.clear()
        self._old.clear()
        return taken

    def _pop(self, flow: _Flow) -> Packet:
        packet = flow.packets.popleft()
        flow.bytes -= len(packet.body)
        self._add(packet, -1)
        return packet

    def _add(self, packet: Packet, sign: int) -> None:
        self._count += sign
        self._bytes += sign * len(packet.body)
