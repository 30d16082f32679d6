"""Which link header brings a packet to its next hop on one Ethernet-like slave.

A packet's next hop is the slave's ``via``; else the gateway that the kernel's routing table names
on the bundle's device; else the destination itself, which is then on-link as in the seed. The
kernel resolves the neighbour (NTF_USE) and keeps it confirmed; packets wait meanwhile.
"""

from collections import deque
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ipeql.backends.tun.rtnl import NeighbourEvent, Requests
from ipeql.backends.tun.sender import ETHERTYPES, IPV4
from ipeql.state import SlaveRow

T = TypeVar("T")

PENDING_PACKETS = 101
"""Packets that may wait for one neighbour, as many as the kernel keeps (neigh/unres_qlen)."""

DESTINATIONS = 4096
"""Destinations, and next hops, remembered per slave; beyond that all are looked up anew."""

CONFIRMED_PER_SECOND = 8
"""Neighbours confirmed each second, in turn: one replaced behind our back is noticed."""

BROADCAST = b"\xff" * 6


@dataclass
class NextHop(Generic[T]):
    """A neighbour, the destinations behind it and the packets that wait for it."""

    address: bytes
    lladdr: bytes = b""
    destinations: set[bytes] = field(default_factory=set)
    pending: deque[T] = field(default_factory=deque)


class Neighbours(Generic[T]):
    """Link headers of one slave by destination; ``T`` is what waits, the worker's packet.

    ``headers`` is the fast path: from a destination to the 14 bytes that go before its packets.
    A next hop's address, once seen, is used again while the kernel, which forgets it whenever the
    link goes down, asks for it anew: the first answer may be lost, the far end being just as newly
    up, and the kernel asks again only after a second.
    """

    def __init__(self, row: SlaveRow, mac: bytes, bundle_ifindex: int, requests: Requests) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.row = row
        self._mac = mac
        self._bundle_ifindex = bundle_ifindex
        self._requests = requests
        self._hops: dict[bytes, NextHop[T]] = {}
        self._unknown: dict[bytes, NextHop[T]] = {}
        self._seen: dict[bytes, bytes] = {}

    def resolve(self, destination: bytes) -> NextHop[T] | None:
        """Find the header of a destination; None: it is in ``headers`` now.

        Otherwise the kernel was asked for the neighbour; a packet appended to the returned hop's
        ``pending`` comes back from ``learn``.
        """
        if destination in self._unknown:
            return self._unknown[destination]
        group = group_address(destination)
        if group:
            self._remember(destination, group)
            return None
        self._make_room()
        via = self.row.via if len(destination) == IPV4 else self.row.via6
        address = via.packed if via else self._requests.gateway(destination, self._bundle_ifindex)
        hop = self._hops.setdefault(address, NextHop(address))
        hop.destinations.add(destination)
        if not hop.lladdr:
            hop.lladdr = self._requests.neighbour(self.row.ifindex, address)
        if not hop.lladdr:
            hop.lladdr = self._seen.get(address, b"")
            self._requests.use_neighbour(self.row.ifindex, address)
        if hop.lladdr:
            self._seen[address] = hop.lladdr
            self._remember(destination, hop.lladdr)
            return None
        self._unknown[destination] = hop
        return hop

    def learn(self, event: NeighbourEvent) -> tuple[list[T], list[T]]:
        """Take over a neighbour's new state; return the packets to send now and those in vain."""
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
        return (waiting, []) if hop.lladdr else ([], waiting)

    def refresh(self) -> list[NeighbourEvent]:
        """Confirm a few neighbours; return the state of those not known, asked for once more.

        Called every second, so that a lost event, a full neighbour table or a next hop that was
        away for a while heals.
        """
        for address in list(self._hops)[:CONFIRMED_PER_SECOND]:
            self._hops[address] = self._hops.pop(address)
            self._requests.use_neighbour(self.row.ifindex, address)
        learnt = []
        for address in {hop.address for hop in self._unknown.values()}:
            self._requests.use_neighbour(self.row.ifindex, address)
            lladdr = self._requests.neighbour(self.row.ifindex, address)
            learnt.append(NeighbourEvent(self.row.ifindex, address, lladdr))
        return learnt

    def forget(self) -> list[T]:
        """Drop all that is known, because routes or events changed it; return who waited."""
        waiting = [packet for hop in self._hops.values() for packet in hop.pending]
        self._hops.clear()
        self._unknown.clear()
        self.headers.clear()
        return waiting

    def _make_room(self) -> None:
        """Keep what many destinations bring bounded; packets that wait are kept."""
        known: tuple[Sized, ...] = (self.headers, self._unknown, self._hops, self._seen)
        if all(len(each) < DESTINATIONS for each in known):
            return
        self._hops = {address: hop for address, hop in self._hops.items() if hop.pending}
        self.headers.clear()
        self._unknown.clear()
        self._seen.clear()

    def _remember(self, destination: bytes, lladdr: bytes) -> None:
        ethertype = ETHERTYPES[len(destination)].to_bytes(2, "big")
        self.headers[destination] = lladdr + self._mac + ethertype


def group_address(destination: bytes) -> bytes:
    """Return the link address of a multicast or broadcast destination, empty for a unicast one.

    Source: RFC 1112, section 6.4; RFC 2464, section 7.
    """
    if len(destination) == IPV4:
        if destination == b"\xff" * IPV4:
            return BROADCAST
        if destination[0] >> 4 == 0xE:
            return b"\x01\x00\x5e" + bytes((destination[1] & 0x7F,)) + destination[2:]
        return b""
    return b"\x33\x33" + destination[12:] if destination[0] == 0xFF else b""
