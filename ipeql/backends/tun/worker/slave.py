"""One slave in the worker: sends, holds and counts packets."""

import errno
from collections import Counter, deque
from functools import lru_cache
from time import monotonic_ns

from ipeql.backends.tun.device import NEEDS_CSUM, VNET_HEADER
from ipeql.backends.tun.worker.line import Line
from ipeql.backends.tun.worker.neighbours import Neighbours, NextHop
from ipeql.backends.tun.worker.packet import Packet
from ipeql.backends.tun.worker.rtnl import Link, Neighbour, Requests
from ipeql.backends.tun.worker.sender import Sender
from ipeql.backends.tun.worker.sent import Sent
from ipeql.methods.base import NSPB_SHIFT, nanoseconds_per_byte
from ipeql.state import ETHERNET_HEADER, SlaveRow, SlaveStatistics
from ipeql.state.path import Backlog

HELD_BYTES = 64 << 20
"""Upper bound of the held packets of one slave, in addition to queue-limit and max-hold."""

LEAD = 2 * 10**6
"""How early, ns, a packet is handed over that follows another packet of its slave without a gap.

It is not sent earlier for that. But the line does not become idle if the worker wakes up late by
less than this. If the bandwidth is stated exactly, the line can never catch up after idle time, and
the slaves would drift apart by the longest delay of each.
"""

CARRIER_NS = 10**6
"""How long a link that refuses packets counts as full before its carrier is checked."""

_GONE = frozenset((errno.ENETDOWN, errno.ENXIO, errno.ENODEV))
_FULL = frozenset((errno.EAGAIN, errno.ENOBUFS))


class LinkGoneError(Exception):
    """The link went down, so the packet has to be sent by another slave."""


class Slave:
    """Sends over one link. Raises OSError where the link does not exist.

    ``running``: the link is up and has carrier, as the worker itself sees it. ``bytes``: what it
    has sent. ``held``: the held packets of ``bw_lag_eq``, each with the time to send it (ns,
    monotonic), in order.
    """

    def __init__(self, row: SlaveRow, bundle_ifindex: int, requests: Requests) -> None:
        self._sender = Sender(row.ifindex)
        self._neighbours: Neighbours[Packet] = Neighbours(
            row, self._sender.mac, bundle_ifindex, requests, self._sender.solicit
        )
        self._requests = requests
        self._headers, self._send = self._neighbours.headers, self._sender.send
        self.running = requests.link(row.ifindex).running
        self.held: deque[tuple[int, Packet]] = deque()
        self.picks = 0
        self._held_bytes = self._packets = self.bytes = 0
        self._line_free = self._carrier_seen = 0
        self._marks = (0, 0)
        self._sent: Sent | None = None
        self._line: Line | None = None
        self._dropped: Counter[str] = Counter()
        self.set_row(row)

    def set_row(self, row: SlaveRow) -> list[Packet]:
        """Take over new parameters; return packets that waited for a next hop, to place again."""
        self.adjust(row)
        return self.forget_neighbours()

    def adjust(self, row: SlaveRow) -> None:
        """Take over another rate and lag, and whether the slave is usable."""
        self.row = self._neighbours.row = row
        self._nspb = nanoseconds_per_byte(row.bandwidth) if row.bandwidth else 0

    def follow(self, link: Link) -> bool:
        """Take over the link's state; say whether that changes who can be used."""
        changed = self.running != link.running
        self.running = link.running
        if self._sender.has_link_header and link.mac and link.mac != self._neighbours.mac:
            self._neighbours.mac = link.mac
            self._headers.clear()
            changed = True
        return changed

    def look(self) -> bool:
        """Read the link's state instead of waiting for an event; return as ``follow``."""
        return self.follow(self._requests.link(self.row.ifindex))

    @property
    def usable(self) -> bool:
        """Say whether the slave belongs to the striping set."""
        return self.row.usable and self.running

    def knows_way(self, destination: bytes) -> bool:
        """Say whether a packet would go at once; if not, the next hop is being asked for."""
        return (
            not self._sender.has_link_header
            or destination in self._headers
            or self._neighbours.resolve(destination) is None
        )

    def drop(self, reason: str, packets: int = 1) -> None:
        """Count packets that this slave lost."""
        self._dropped[reason] += packets

    def hold(self, release: int, packet: Packet) -> None:
        """Keep a packet until ``release``, or drop it where too much is held."""
        if self._held_bytes > HELD_BYTES:
            self.drop("queue_full", packet.segments)
            return
        queues = release <= self._line_free
        self._line_free = release + self._line_time(packet)
        self._held_bytes += len(packet.body)
        self.held.append((release - LEAD if queues else release, packet.owned()))

    def _line_bytes(self, packet: Packet) -> int:
        overhead = packet.segments * self.row.overhead
        return len(packet.body) + (packet.segments - 1) * packet.header + overhead

    def _line_time(self, packet: Packet) -> int:
        """Return how long the packet takes the line, ns (``tx_i`` of docs/methods.md)."""
        return self._line_bytes(packet) * self._nspb >> NSPB_SHIFT

    def release(self, now: int) -> None:
        """Send what is due; LinkGoneError leaves the rest held."""
        while self.held and self.held[0][0] <= now:
            packet = self.held[0][1]
            self.send(packet)
            self.held.popleft()
            self._held_bytes -= len(packet.body)

    def send(self, packet: Packet) -> None:
        """Hand one packet to the link, or let it wait for its next hop.

        Raises LinkGoneError when the link is down; any other refusal is counted as a drop.
        """
        vnet, body, destination, segments, header, marks, _, _ = packet
        if self._sender.has_link_header:
            link_header = self._headers.get(destination)
            if link_header is None:
                hop = self._neighbours.resolve(destination)
                if hop is not None:
                    self._wait(hop, packet)
                    return
                link_header = self._headers[destination]
            if header:
                vnet = _fitted(vnet, ETHERNET_HEADER, header)
            buffers: tuple[bytes | memoryview, ...] = (vnet, link_header, body)
        else:
            if vnet[0] & NEEDS_CSUM:
                vnet = _fitted(vnet, 0, header)
            buffers = (vnet, body)
        if marks != self._marks:
            self._sender.set_mark(*marks)
            self._marks = marks
        try:
            self._send[len(destination)](buffers)
        except OSError as first:
            error = self._sent_again(first, buffers, destination)
            if error is not None:
                self.drop(_reason(error), segments)
                return
        self._packets += segments
        self.bytes += len(body) + (segments - 1) * header
        if self._sent is not None:
            self._sent.note(packet)
        if self._line is not None:
            self._line.note(self._line_bytes(packet))

    def keep_sent(self, keep: bool) -> None:
        """Keep what is sent for a while from now on, while somebody watches the path."""
        self._sent = (self._sent or Sent()) if keep else None

    def count_sent(self, count: bool) -> None:
        """Count what is sent from now on, while packets are bound late."""
        self._line = (self._line or Line()) if count else None

    def empty_at(self, backlog: Backlog | None) -> int | None:
        """Return when the path's queue is empty, ns; None: not known.

        ``backlog``: what a probe met; what was bound to the slave since comes to it.
        """
        if self._line is None or backlog is None:
            return None
        held = sum(self._line_bytes(packet) for _, packet in self.held)
        given = self._line.since(backlog.asked) + held
        return backlog.asked + backlog.delay + (given * self._nspb >> NSPB_SHIFT)

    def take_sent(self, since: int) -> list[Packet]:
        """Return what has been sent since then (ns), to be sent again over another slave."""
        return self._sent.take(since) if self._sent else []

    def _sent_again(
        self, error: OSError, buffers: tuple[bytes | memoryview, ...], destination: bytes
    ) -> OSError | None:
        """Find the meaning of a refusal; None: the packet is sent after all.

        A socket first reports the error it has kept since its link went down, although the link may
        be up now. A device that takes no packet may have no carrier: the kernel acts on that
        up to a second later (net/core/link_watch.c).
        """
        if error.errno in _GONE:
            try:
                self._send[len(destination)](buffers)
            except OSError as again:
                error = again
            else:
                return None
        if error.errno in _GONE:
            raise LinkGoneError from error
        now = monotonic_ns()
        if error.errno == errno.ENOBUFS and now - self._carrier_seen > CARRIER_NS:
            if not self._requests.link(self.row.ifindex).carrier:
                raise LinkGoneError from error
            self._carrier_seen = now
        return error

    def _wait(self, hop: NextHop[Packet], packet: Packet) -> None:
        for each in self._neighbours.wait(hop, packet.owned()):
            self.drop("no_neighbour", each.segments)

    def learn(self, event: Neighbour) -> None:
        """Take over a neighbour's state: send what waited for it, or drop it where it failed."""
        ready, vain = self._neighbours.learn(event)
        for packet in ready:
            self.send(packet)
        for packet in vain:
            self.drop("no_neighbour", packet.segments)

    def forget_neighbours(self) -> list[Packet]:
        """Drop what is known of next hops; return the packets that waited for one."""
        return self._neighbours.forget()

    def take_all(self) -> list[tuple[int, Packet]]:
        """Return every packet that has not been sent, because the slave has left the set.

        With each, when it would have arrived, so that the packets of several slaves can be put in
        order: ns, monotonic, 0 for those that waited for a next hop.
        """
        lag = self.row.lag or 0
        waiting = [(release + lag, packet) for release, packet in self.held]
        self.held.clear()
        self._held_bytes = self._line_free = 0
        return [*((0, packet) for packet in self.forget_neighbours()), *waiting]

    def every_second(self) -> list[Neighbour]:
        """Confirm neighbours; return what was learnt."""
        return self._neighbours.refresh() if self.running else []

    def queued_bytes(self) -> int:
        """Return the bytes that the link's queue and driver hold: what ``auto_bw`` compares."""
        return self._sender.queued_bytes()

    def statistics(self, rate: int) -> SlaveStatistics:
        """Return the counters since the slave was enslaved; ``rate``: bit/s, measured."""
        return SlaveStatistics(
            ifindex=self.row.ifindex,
            name=self.row.name,
            picks=self.picks,
            packets=self._packets,
            bytes=self.bytes,
            queued_packets=len(self.held),
            queued_bytes=self._held_bytes + self.queued_bytes(),
            rate=rate,
            dropped=dict(self._dropped),
        )

    def close(self) -> None:
        """Close the sockets; packets in the link's own queue are still sent."""
        self._sender.close()


def _reason(error: OSError) -> str:
    if error.errno in _FULL:
        return "link_full"
    if error.errno == errno.EMSGSIZE:
        return "too_big"
    return errno.errorcode.get(error.errno or 0, "refused").lower()


@lru_cache
def _fitted(vnet: bytes, link_header: int, header: int) -> bytes:
    """Return a frame's vnet header for a link header of another length.

    ``header``: the bytes of IP and transport header, of a train. The kernel copies no more into the
    linear part of its buffer.
    """
    flags, gso_type, _, gso_size, csum_start, csum_offset = VNET_HEADER.unpack(vnet)
    start = csum_start - ETHERNET_HEADER + link_header
    linear = link_header + header if header else 0
    return VNET_HEADER.pack(flags, gso_type, linear, gso_size, max(0, start), csum_offset)
