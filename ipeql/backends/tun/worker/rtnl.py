"""Links, next hops and neighbours in the kernel, over rtnetlink.

The worker queries the kernel and not the daemon, because a failed link or a moved neighbour must
not cost a round trip through another process. The kernel answers within the system call, so
requests are synchronous. Messages are decoded with ``struct``, for speed: many neighbour events
must not delay packets.

Source: rtnetlink(7); include/uapi/linux/netlink.h, rtnetlink.h, if_link.h and neighbour.h.
"""

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
NLMSG_ERROR = 2
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

IFF_UP, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x40, 0x10000
IFLA_ADDRESS = 1
NDA_DST, NDA_LLADDR, NDA_CACHEINFO = 1, 2, 3
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_MULTIPATH, RTA_VIA = 1, 4, 5, 7, 9, 18
RTN_BROADCAST = 3
RTM_F_FIB_MATCH = 0x2000

NTF_USE = 0x01
NUD_FAILED = 0x20
NUD_STATIC = 0xC0
"""PERMANENT and NOARP: nobody needs to confirm them."""
NUD_VALID = 0xDE
"""PERMANENT, NOARP, REACHABLE, PROBE, STALE, DELAY."""

HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
LINK = struct.Struct("=BxHiII")
"""ifinfomsg: family, type, index, flags, change."""
NEIGHBOUR = struct.Struct("=BxxxiHBB")
"""ndmsg: family, ifindex, state, flags, type."""
ROUTE = struct.Struct("=BBBBBBBBI")
"""rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags."""
NEXT_HOP = struct.Struct("=HBBi")
"""rtnexthop: length, flags, hops, ifindex."""
ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")

MESSAGE_BYTES = 65536


class Link(NamedTuple):
    """``running``: the kernel passes packets to the link.

    ``carrier``: the device's carrier now; the kernel may act on its loss up to a second later.
    """

    ifindex: int
    running: bool = False
    carrier: bool = False
    mac: bytes = b""


class Neighbour(NamedTuple):
    """``lladdr`` is empty where it is not known, or ``failed`` to resolve.

    ``confirmed``: the time since its last confirmation, in 1/100 s; 0 if it needs none.
    """

    ifindex: int
    address: bytes
    lladdr: bytes
    failed: bool = False
    confirmed: int = 0


class RouteChanged(NamedTuple):
    """Some routes over the bundle changed."""


class LostEvents(NamedTuple):
    """The kernel dropped events: what was learnt from events may be wrong."""


Event = Link | Neighbour | RouteChanged | LostEvents


class Route(NamedTuple):
    """Where a packet goes on the bundle: ``gateway``, or the destination itself.

    ``source``: the bundle's address that the kernel prefers for it, empty where it has none.
    """

    gateway: bytes
    source: bytes = b""
    broadcast: bool = False


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Split what one recv() brought into (type, sequence, body)."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, offset)
        yield kind, sequence, data[offset + HEADER.size : offset + length]
        offset += max(HEADER.size, length + 3 & ~3)


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """Return the attributes that begin at ``offset``, by type."""
    found = {}
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        found[kind] = data[offset + ATTRIBUTE.size : offset + length]
        offset += max(ATTRIBUTE.size, length + 3 & ~3)
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    head = ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind)
    return head + value + bytes(-len(value) % 4)


def family(address: bytes) -> int:
    """Return the family of an address of 4 or 16 bytes."""
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def link(kind: int, body: bytes) -> Link:
    """Read the body of a link message."""
    _, _, index, flags, _ = LINK.unpack_from(body)
    if kind != RTM_NEWLINK:
        return Link(index)
    wanted = IFF_UP | IFF_RUNNING | IFF_LOWER_UP
    mac = attributes(body, LINK.size).get(IFLA_ADDRESS, b"")
    return Link(index, flags & wanted == wanted, bool(flags & IFF_LOWER_UP), mac)


def neighbour(kind: int, body: bytes) -> Neighbour | None:
    """Read the body of a neighbour message; None where it is no IP neighbour."""
    version, ifindex, state, _, _ = NEIGHBOUR.unpack_from(body)
    found = attributes(body, NEIGHBOUR.size)
    if version not in (socket.AF_INET, socket.AF_INET6) or NDA_DST not in found:
        return None
    valid = kind == RTM_NEWNEIGH and state & NUD_VALID
    lladdr = found.get(NDA_LLADDR, b"") if valid else b""
    confirmed = 0
    if NDA_CACHEINFO in found and not state & NUD_STATIC:
        confirmed = _NUMBER.unpack_from(found[NDA_CACHEINFO])[0]
    return Neighbour(ifindex, found[NDA_DST], lladdr, bool(state & NUD_FAILED), confirmed)


def leads_over(body: bytes, ifindex: int) -> bool:
    """Say whether a route message names a device, alone or among several."""
    found = attributes(body, ROUTE.size)
    if RTA_OIF in found:
        return bool(_NUMBER.unpack(found[RTA_OIF])[0] == ifindex)
    hops, offset = found.get(RTA_MULTIPATH, b""), 0
    while offset + NEXT_HOP.size <= len(hops):
        length, _, _, index = NEXT_HOP.unpack_from(hops, offset)
        if index == ifindex:
            return True
        offset += max(NEXT_HOP.size, length + 3 & ~3)
    return False


def _gateway(found: dict[int, bytes]) -> bytes:
    return found.get(RTA_GATEWAY) or found.get(RTA_VIA, b"")[2:]


class Requests:
    """Synchronous requests to the kernel."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def _ask(self, kind: int, flags: int, body: bytes) -> tuple[int, bytes]:
        """Send one request; return its first answer. OSError carries the kernel's errno."""
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        length, flags = HEADER.size + len(body), flags | NLM_F_REQUEST
        self._socket.send(HEADER.pack(length, kind, flags, self._sequence, 0) + body)
        while True:
            for answer, sequence, content in messages(self._socket.recv(MESSAGE_BYTES)):
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_ERROR:
                    code = -int.from_bytes(content[:4], sys.byteorder, signed=True)
                    if code:
                        raise OSError(code, os.strerror(code))
                return answer, content

    def link(self, ifindex: int) -> Link:
        """Return a link; one that does not exist is not running."""
        try:
            return link(*self._ask(RTM_GETLINK, 0, LINK.pack(0, 0, ifindex, 0, 0)))
        except OSError:
            return Link(ifindex)

    def route(self, destination: bytes, ifindex: int) -> Route:
        """Return where a packet to ``destination`` goes on the bundle's device."""
        try:
            body = self._route(destination, ifindex, 0)
        except OSError:
            return Route(destination)
        kind = ROUTE.unpack_from(body)[7]
        found = attributes(body, ROUTE.size)
        source = found.get(RTA_PREFSRC, b"")
        if _gateway(found):
            found = self._configured(destination, ifindex) or found
        return Route(_gateway(found) or destination, source, kind == RTN_BROADCAST)

    def _configured(self, destination: bytes, ifindex: int) -> dict[int, bytes]:
        """Return the route as configured, without the effect of an ICMP redirect."""
        try:
            body = self._route(destination, ifindex, RTM_F_FIB_MATCH)
        except OSError:
            return {RTA_DST: destination}
        found = attributes(body, ROUTE.size)
        return {} if RTA_MULTIPATH in found else found

    def has_subnet(self, ifindex: int, address: bytes) -> bool:
        """Say whether ``address`` is in a subnet of the link."""
        try:
            body = self._route(address, ifindex, RTM_F_FIB_MATCH)
        except OSError:
            return False
        found = attributes(body, ROUTE.size)
        on_link = not {RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH} & found.keys()
        return on_link and ROUTE.unpack_from(body)[1] > 0

    def _route(self, destination: bytes, ifindex: int, flags: int) -> bytes:
        bits = len(destination) * 8
        body = ROUTE.pack(family(destination), bits, 0, 0, 0, 0, 0, 0, flags)
        body += attribute(RTA_DST, destination) + attribute(RTA_OIF, _NUMBER.pack(ifindex))
        return self._ask(RTM_GETROUTE, 0, body)[1]

    def neighbour(self, ifindex: int, address: bytes) -> Neighbour:
        """Return a neighbour; its ``lladdr`` is empty where the kernel does not know it."""
        try:
            found = neighbour(*self._ask(RTM_GETNEIGH, 0, _neighbour_body(ifindex, address, 0)))
        except OSError:
            found = None
        return found or Neighbour(ifindex, address, b"")

    def use_neighbour(self, ifindex: int, address: bytes) -> None:
        """Make the kernel resolve, or confirm, a neighbour as if it had sent a packet there.

        Needs no route and no packet. A refusal, such as ENOBUFS from a table that is full, is no
        error: the packets to this neighbour wait, and it is asked for again. Source: NTF_USE in
        net/core/neighbour.c, neigh_add().
        """
        flags = NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK
        with contextlib.suppress(OSError):
            self._ask(RTM_NEWNEIGH, flags, _neighbour_body(ifindex, address, NTF_USE))

    def expect_neighbour(self, ifindex: int, address: bytes) -> bool:
        """Make the kernel note the answer of a neighbour that it does not ask for itself.

        False where it refuses. Source: net/ipv4/arp.c, arp_process(): an answer from an address
        without an entry is not noted.
        """
        flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK
        try:
            self._ask(RTM_NEWNEIGH, flags, _neighbour_body(ifindex, address, 0))
        except FileExistsError:
            return True
        except OSError:
            return False
        return True

    def drop_neighbour(self, ifindex: int, address: bytes) -> None:
        """Make the kernel forget a neighbour that does not answer."""
        with contextlib.suppress(OSError):
            self._ask(RTM_DELNEIGH, NLM_F_ACK, _neighbour_body(ifindex, address, 0))


def _neighbour_body(ifindex: int, address: bytes, flags: int) -> bytes:
    head = NEIGHBOUR.pack(family(address), ifindex, 0, flags, 0)
    return head + attribute(NDA_DST, address)
