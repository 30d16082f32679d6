"""The link header that a packet needs to reach its next hop on one Ethernet-like slave.

A packet's next hop is the slave's ``via``; else the gateway that the kernel's routing table names
on the bundle's device; else the destination itself, which is then on-link. The
kernel resolves the neighbour (NTF_USE) and keeps it confirmed; packets wait meanwhile.

The worker itself asks for an IPv4 neighbour outside the slave's own subnets. The kernel would use
any address of the machine as the sender, and hosts other than Linux answer only senders of their
own subnet. The kernel receives the answer and makes an event of it, as for other neighbours.
"""

from collections import deque
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Generic, TypeVar

from ipeql.backends.tun.worker.rtnl import Neighbour, Requests
from ipeql.backends.tun.worker.sender import ETHERTYPES, EVERYONE, IPV4, arp_request
from ipeql.state import SlaveRow

T = TypeVar("T")

PENDING_PACKETS = 101
"""Packets that may wait for one neighbour, as many as the kernel keeps (neigh/unres_qlen)."""

DESTINATIONS = 4096
"""Destinations, and next hops, remembered per slave; if there are more, all are looked up again."""

CONFIRMED_PER_SECOND = 8
"""Neighbours confirmed each second, in turn, to notice a neighbour that was replaced."""

ASKED_PER_SECOND = 64
"""Neighbours that did not answer and are asked again each second, in turn."""

UNANSWERED = 3
"""Requests, a second apart, without an answer: the neighbour is not there (neigh/mcast_solicit)."""

WAITING_PACKETS = 2048
"""Packets that may wait for all neighbours of one slave together."""

TICK = 10**7
"""The unit of ``Neighbour.confirmed``, ns."""


@dataclass(eq=False)
class NextHop(Generic[T]):
    """A neighbour, the destinations that use it, and the packets that wait for it.

    ``source``: the address that asks for it, empty where the kernel asks. ``asked``: when, ns.
    ``wanted``: packets came for it while it was not known.
    """

    address: bytes
    source: bytes = b""
    lladdr: bytes = b""
    asked: int = 0
    unanswered: int = 0
    wanted: bool = True
    destinations: set[bytes] = field(default_factory=set)
    pending: deque[T] = field(default_factory=deque)


class Neighbours(Generic[T]):
    """Link headers of one slave by destination; ``T`` is what waits, the worker's packet.

    ``headers`` is the fast path: from a destination to the 14 bytes that go before its packets.
    The kernel forgets a next hop's address when the link goes down. The known address is used until
    the kernel has resolved it again: the first answer may be lost, because the far end has only
    just come up too, and the kernel asks again only after a second.
    """

    def __init__(
        self,
        row: SlaveRow,
        mac: bytes,
        bundle_ifindex: int,
        requests: Requests,
        solicit: Callable[[bytes], None],
    ) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.row = row
        self.mac = mac
        self._bundle_ifindex = bundle_ifindex
        self._requests = requests
        self._solicit = solicit
        self._hops: dict[bytes, NextHop[T]] = {}
        self._unknown: dict[bytes, NextHop[T]] = {}
        self._seen: dict[bytes, bytes] = {}
        self._waiting = 0

    def resolve(self, destination: bytes) -> NextHop[T] | None:
        """Find the header of a destination; None: it is in ``headers`` now.

        Otherwise it was asked for; a packet given to ``wait`` comes back from ``learn``.
        """
        if destination in self._unknown:
            hop = self._unknown[destination]
            hop.wanted = True
            return hop
        group = group_address(destination)
        if group:
            self._remember(destination, group)
            return None
        self._make_room()
        route = self._requests.route(destination, self._bundle_ifindex)
        if route.broadcast:
            self._remember(destination, EVERYONE)
            return None
        via = self.row.via if len(destination) == IPV4 else self.row.via6
        hop = self._hop(via.packed if via else route.gateway, route.source)
        hop.destinations.add(destination)
        if not hop.lladdr:
            hop.lladdr = self._requests.neighbour(self.row.ifindex, hop.address).lladdr
        if not hop.lladdr:
            hop.lladdr = self._seen.get(hop.address, b"")
            self._ask(hop, EVERYONE)
        if hop.lladdr:
            self._seen[hop.address] = hop.lladdr
            self._remember(destination, hop.lladdr)
            return None
        self._unknown[destination] = hop
        return hop

    def wait(self, hop: NextHop[T], packet: T) -> list[T]:
        """Let a packet wait for a next hop; return those that must not wait any longer."""
        if self._waiting >= WAITING_PACKETS and not hop.pending:
            return [packet]
        hop.pending.append(packet)
        if len(hop.pending) > PENDING_PACKETS or self._waiting >= WAITING_PACKETS:
            return [hop.pending.popleft()]
        self._waiting += 1
        return []

    def _hop(self, address: bytes, source: bytes) -> NextHop[T]:
        hop = self._hops.get(address)
        if hop is None:
            ours = len(address) == len(source) == IPV4
            if ours and self._requests.has_subnet(self.row.ifindex, address):
                source = b""
            hop = self._hops[address] = NextHop(address, source if ours else b"")
        return hop

    def _ask(self, hop: NextHop[T], whom: bytes) -> None:
        if not hop.source:
            self._requests.use_neighbour(self.row.ifindex, hop.address)
            return
        if self._requests.expect_neighbour(self.row.ifindex, hop.address):
            hop.unanswered += 1
        hop.asked = monotonic_ns()
        self._solicit(arp_request(self.mac, hop.source, hop.address, whom))

    def learn(self, event: Neighbour) -> tuple[list[T], list[T]]:
        """Take over a neighbour's new state; return the packets to send now and those to drop."""
        hop = self._hops.get(event.address)
        if hop is None or (hop.lladdr == event.lladdr and not event.failed):
            return [], []
        hop.lladdr = event.lladdr
        if hop.lladdr:
            self._seen[event.address] = hop.lladdr
        elif event.failed:
            self._seen.pop(event.address, None)
        for destination in hop.destinations:
            if hop.lladdr:
                self._remember(destination, hop.lladdr)
                self._unknown.pop(destination, None)
            else:
                self.headers.pop(destination, None)
                if event.failed:
                    self._unknown[destination] = hop
        waiting = list(hop.pending)
        hop.pending.clear()
        self._waiting -= len(waiting)
        return (waiting, []) if hop.lladdr else ([], waiting)

    def refresh(self) -> list[Neighbour]:
        """Confirm a few neighbours and ask again for those not known; return what is known of them.

        Called every second: it corrects the effects of a lost event, a full neighbour table, or a
        next hop that was absent for a while.
        """
        unknown = {hop.address for hop in self._unknown.values()}
        hops = list(self._hops.values())
        due = {hop.address for hop in hops[:CONFIRMED_PER_SECOND]}
        doubtful = [hop for hop in hops if hop.unanswered or hop.address in unknown]
        turn = doubtful[:ASKED_PER_SECOND] + hops[:CONFIRMED_PER_SECOND]
        return [
            event for hop in dict.fromkeys(turn) for event in self._refresh(hop, hop.address in due)
        ]

    def _refresh(self, hop: NextHop[T], due: bool) -> list[Neighbour]:
        del self._hops[hop.address]
        if not (hop.lladdr or hop.pending or hop.wanted):
            for destination in hop.destinations:
                self._unknown.pop(destination, None)
            return []
        self._hops[hop.address] = hop
        hop.wanted = False
        known = self._requests.neighbour(self.row.ifindex, hop.address)
        answered = known.lladdr and known.confirmed * TICK <= monotonic_ns() - hop.asked + TICK
        if answered:
            hop.unanswered = 0
        elif hop.unanswered >= UNANSWERED:
            hop.unanswered = 0
            self._requests.drop_neighbour(self.row.ifindex, hop.address)
            return [known._replace(lladdr=b"", failed=True)]
        if due or not answered:
            self._ask(hop, hop.lladdr if hop.unanswered < UNANSWERED - 1 else EVERYONE)
        return [known._replace(lladdr=known.lladdr or hop.lladdr, failed=False)]

    def forget(self) -> list[T]:
        """Drop all that is known, because it changed; return the packets that waited."""
        waiting = [packet for hop in self._hops.values() for packet in hop.pending]
        self._waiting = 0
        self._hops.clear()
        self._unknown.clear()
        self.headers.clear()
        return waiting

    def _make_room(self) -> None:
        """Limit the number of remembered destinations; packets that wait are kept."""
        known: tuple[Sized, ...] = (self.headers, self._unknown, self._hops, self._seen)
        if all(len(each) < DESTINATIONS for each in known):
            return
        self._hops = {address: hop for address, hop in self._hops.items() if hop.pending}
        self.headers.clear()
        self._unknown.clear()
        self._seen.clear()

    def _remember(self, destination: bytes, lladdr: bytes) -> None:
        ethertype = ETHERTYPES[len(destination)].to_bytes(2, "big")
        self.headers[destination] = lladdr + self.mac + ethertype


def group_address(destination: bytes) -> bytes:
    """Return the link address of a multicast or broadcast destination, empty for a unicast one.

    Source: RFC 1112, section 6.4; RFC 2464, section 7.
    """
    if len(destination) == IPV4:
        if destination == b"\xff" * IPV4:
            return EVERYONE
        if destination[0] >> 4 == 0xE:
            return b"\x01\x00\x5e" + bytes((destination[1] & 0x7F,)) + destination[2:]
        return b""
    return b"\x33\x33" + destination[12:] if destination[0] == 0xFF else b""
