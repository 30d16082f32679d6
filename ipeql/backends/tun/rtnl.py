"""The worker's view of the kernel: links, next hops and neighbours, over rtnetlink.

The worker asks the kernel itself rather than the daemon, because a dead link or a moved neighbour
must not cost a round trip through another process. Requests are answered by the kernel within the
system call, so they are made in line; events arrive on a second socket.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
)
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
NTF_USE = 0x01
NUD_FAILED = 0x20
NUD_VALID = 0xDE
"""include/net/neighbour.h: PERMANENT, NOARP, REACHABLE, PROBE, STALE, DELAY."""

SO_RCVBUFFORCE = 33
_NLMSG = struct.Struct("=IH")
"""The first two fields of nlmsghdr: nlmsg_len, nlmsg_type."""

EVENT_BUFFER = 1 << 20


class LinkEvent(NamedTuple):
    """A link is able to carry packets, or no longer."""

    ifindex: int
    running: bool


class NeighbourEvent(NamedTuple):
    """A neighbour's link address is now ``lladdr``; empty: not known, or ``failed`` to resolve."""

    ifindex: int
    address: bytes
    lladdr: bytes
    failed: bool = False


class RouteEvent(NamedTuple):
    """Some routes changed."""


class LostEvents(NamedTuple):
    """The kernel dropped events: everything learnt from them is in doubt."""


Event = LinkEvent | NeighbourEvent | RouteEvent | LostEvents


def _lladdr(text: str | None) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else b""


def _neighbour(message: Any) -> NeighbourEvent | None:
    destination = message.get_attr("NDA_DST")
    if destination is None:
        return None
    valid = message["header"]["type"] == RTM_NEWNEIGH and message["state"] & NUD_VALID
    lladdr = _lladdr(message.get_attr("NDA_LLADDR")) if valid else b""
    failed = bool(message["state"] & NUD_FAILED)
    return NeighbourEvent(message["ifindex"], ip_address(destination).packed, lladdr, failed)


def _link(message: Any) -> LinkEvent:
    wanted = IFF_UP | IFF_LOWER_UP
    present = message["header"]["type"] == RTM_NEWLINK
    return LinkEvent(message["index"], present and message["flags"] & wanted == wanted)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what one recv() brought, so that a storm of routes need not be decoded."""
    offset = 0
    while offset < len(data):
        length, kind = _NLMSG.unpack_from(data, offset)
        yield kind, data[offset : offset + length]
        offset += (length + 3) & ~3


def _decode(message: Any) -> Event | None:
    kind, family = message["header"]["type"], message["family"]
    if kind in (RTM_NEWLINK, RTM_DELLINK) and family == socket.AF_UNSPEC:
        return _link(message)
    if kind in (RTM_NEWNEIGH, RTM_DELNEIGH) and family in (socket.AF_INET, socket.AF_INET6):
        return _neighbour(message)
    return None


class Requests:
    """Questions to the kernel, answered at once."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._marshal = MarshalRtnl()
        self._sequence = 0

    def _ask(self, message: Any, kind: int, flags: int = 0) -> Any:
        """Send one request and return its first answer; OSError carries the kernel's errno."""
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = NLM_F_REQUEST | flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        self._socket.send(message.data)
        while True:
            for answer in self._marshal.parse(self._socket.recv(65536)):
                if answer["header"]["sequence_number"] != self._sequence:
                    continue
                if answer["header"]["error"]:
                    code = answer["header"]["error"].code
                    raise OSError(code, errno.errorcode.get(code, str(code)))
                return answer

    def is_running(self, ifindex: int) -> bool:
        """Say whether the link exists, is up and has carrier."""
        message = ifinfmsg()
        message["index"] = ifindex
        try:
            return _link(self._ask(message, RTM_GETLINK)).running
        except OSError:
            return False

    def gateway(self, destination: bytes, ifindex: int) -> bytes:
        """Return the next hop on the bundle's device: a gateway, or ``destination`` itself."""
        message = rtmsg()
        message["family"] = socket.AF_INET if len(destination) == 4 else socket.AF_INET6
        message["dst_len"] = len(destination) * 8
        message["attrs"] = [("RTA_DST", str(ip_address(destination))), ("RTA_OIF", ifindex)]
        try:
            route = self._ask(message, RTM_GETROUTE)
        except OSError:
            return destination
        via = route.get_attr("RTA_VIA")
        gateway = route.get_attr("RTA_GATEWAY") or (via and via["addr"])
        return ip_address(gateway).packed if gateway else destination

    def _neighbour_message(self, ifindex: int, address: bytes) -> Any:
        message = ndmsg()
        message["family"] = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        message["ifindex"] = ifindex
        message["attrs"] = [("NDA_DST", str(ip_address(address)))]
        return message

    def neighbour(self, ifindex: int, address: bytes) -> bytes:
        """Return the neighbour's link-layer address, empty where the kernel does not know it."""
        try:
            answer = self._ask(self._neighbour_message(ifindex, address), RTM_GETNEIGH)
        except OSError:
            return b""
        event = _neighbour(answer)
        return event.lladdr if event else b""

    def use_neighbour(self, ifindex: int, address: bytes) -> None:
        """Make the kernel resolve, or confirm, a neighbour as if it had sent a packet there.

        Source: NTF_USE in net/core/neighbour.c, neigh_add(). Needs no route and no packet, and does
        the same for IPv4 and IPv6.
        """
        message = self._neighbour_message(ifindex, address)
        message["flags"] = NTF_USE
        try:
            self._ask(message, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK)
        except OSError:
            return


class Events:
    """Changes of links, neighbours and routes; ``fileno`` is readable when there are some."""

    def __init__(self) -> None:
        self._marshal = MarshalRtnl()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, EVENT_BUFFER)
        groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
        self._socket.bind((0, groups))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> Iterator[Event]:
        """Yield what happened since the last call."""
        routes = False
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                yield LostEvents()
                continue
            for kind, raw in _messages(data):
                if kind in (RTM_NEWROUTE, RTM_DELROUTE):
                    routes = True
                    continue
                for message in self._marshal.parse(raw):
                    event = _decode(message)
                    if event:
                        yield event
        if routes:
            yield RouteEvent()
