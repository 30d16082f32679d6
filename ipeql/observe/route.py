"""Routes as the kernel dumps them."""

import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from struct import Struct
from typing import Any, NamedTuple

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.rtnl import RTM_GETROUTE
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ipeql.observe.dump import Message, attributes, dump
from ipeql.state import Address, Network

# include/uapi/linux/rtnetlink.h
_RTMSG = Struct("=8BI")  # family, dst, src length, tos, table, protocol, scope, type, flags
_TABLE = 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 5, 6, 7
_RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 9, 15, 18
_RTNEXTHOP = Struct("=HBBi")  # length, flags, hops, ifindex
_U32 = Struct("=I")

MAIN, _LOCAL = 254, 255
"""RT_TABLE_MAIN and RT_TABLE_LOCAL."""

UNICAST, UNREACHABLE = 1, 7
"""RTN_UNICAST and RTN_UNREACHABLE."""


class Hop(NamedTuple):
    """Where a route leads. ``via`` None: on-link."""

    ifindex: int
    via: Address | None


class Route(NamedTuple):
    """One route; ``metric`` None: the kernel tells none, which is 0. Several ``hops``: ECMP."""

    to: Network
    table: int
    protocol: int
    kind: int
    metric: int | None
    src: Address | None
    hops: tuple[Hop, ...]


async def routes(kernel: AsyncIPRoute, ifindex: int = 0, protocol: int = 0) -> AsyncIterator[Route]:
    """Yield the routes of both IP versions that the kernel picks, of all tables but ``local``."""
    request = rtmsg()
    request["family"] = socket.AF_UNSPEC  # pyroute2's default is AF_INET
    request["proto"] = protocol
    if ifindex:
        request["attrs"] = [("RTA_OIF", ifindex)]
    for message in await dump(kernel, RTM_GETROUTE, request, _RTMSG.size):
        if message.fixed[_TABLE] != _LOCAL:
            yield _route(message)


def _route(message: Message) -> Route:
    family, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack(message.fixed)
    given = message.attributes
    default = bytes(4 if family == socket.AF_INET else 16)
    single = Hop(_number(given, _RTA_OIF) or 0, _via(given))
    several = tuple(_hops(given.get(_RTA_MULTIPATH, b"")))
    src: Any = given.get(_RTA_PREFSRC)
    return Route(
        to=ipaddress.ip_network((given.get(_RTA_DST, default), length)),
        table=_number(given, _RTA_TABLE) or table,
        protocol=protocol,
        kind=kind,
        metric=_number(given, _RTA_PRIORITY),
        src=ipaddress.ip_address(src) if src else None,
        hops=several or (single,),
    )


def _hops(data: bytes) -> Iterator[Hop]:
    while len(data) >= _RTNEXTHOP.size:
        length, _, _, ifindex = _RTNEXTHOP.unpack_from(data)
        if length < _RTNEXTHOP.size:
            return
        yield Hop(ifindex, _via(attributes(data[_RTNEXTHOP.size : length])))
        data = data[(length + 3) & ~3 :]


def _via(given: dict[int, bytes]) -> Address | None:
    gateway = given.get(_RTA_GATEWAY)
    if gateway is None and (via := given.get(_RTA_VIA)):
        gateway = via[2:]  # struct rtvia: an IPv4 route over an IPv6 neighbour
    return ipaddress.ip_address(gateway) if gateway else None


def _number(given: dict[int, bytes], kind: int) -> int | None:
    value = given.get(kind)
    return int(_U32.unpack(value)[0]) if value else None
