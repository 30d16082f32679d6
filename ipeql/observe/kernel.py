"""Reads the kernel: every link with its addresses, and our routes."""

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from struct import Struct

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ipeql.errors import Code, IpeqlError, Problem
from ipeql.names import shown
from ipeql.observe import ethtool, tunnel
from ipeql.observe.dump import Message, attributes, dump, repeated
from ipeql.observe.route import MAIN, UNICAST, routes
from ipeql.state import MAX_TRAIN, PROTOCOL, Interface, Link, Network, ObservedRoute

# include/uapi/linux/if_link.h, if.h, ip.h, if_addr.h, rtnetlink.h
_IFINFOMSG = Struct("=BxHiII")  # family, type, index, flags, change mask
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_IFALIAS, _IFLA_AF_SPEC = 1, 3, 4, 20, 26
_IFLA_LINK, _IFLA_MASTER, _IFLA_LINK_NETNSID, _IFLA_GSO_MAX_SEGS = 5, 10, 37, 40
_IFLA_PROP_LIST, _IFLA_ALT_IFNAME, _IFLA_PERM_ADDRESS = 52, 53, 54
_IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1
_IFLA_INET_CONF = 1
_DEVCONF_RP_FILTER, _DEVCONF_ARP_IGNORE = 8, 19  # count from 1
_IFF_UP, _IFF_POINTOPOINT, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x10, 0x80, 0x10000
_IFADDRMSG = Struct("=BBBBI")  # family, prefix length, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL, _IFA_PROTO = 1, 2, 11
_U32 = Struct("=I")

_STRICT, _LOOSE = 1, 2  # Documentation/networking/ip-sysctl.rst, rp_filter

_KEEPS_ADDRESS_PROTOCOL = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (5, 18)

_ASKED_ONE_BY_ONE = 8
"""So many devices have their routes picked by the kernel; for more all routes are read once."""

_TIMEOUT = 10  # seconds; 900 links take less than 0.1

Snapshot = tuple[dict[int, Link], frozenset[ObservedRoute]]


async def snapshot() -> Snapshot:
    """Return all links by ifindex, with their addresses, and our routes in the main table.

    A route's metric is the kernel's: None for IPv4's 0; IPv6 makes 1024 of none given. Raises
    IpeqlError if the kernel gives no answer.
    """
    async with reading() as kernel:
        links, own = await _links(kernel), await _routes(kernel)
        links = await _with_routed(kernel, links)
        return await _with_ways(kernel, links, own), own


@asynccontextmanager
async def reading() -> AsyncIterator[AsyncIPRoute]:
    """Yield a socket to dump from; IpeqlError if the kernel gives no answer in time."""
    try:
        async with asyncio.timeout(_TIMEOUT), AsyncIPRoute(strict_check=True) as kernel:
            yield kernel
    except OSError as error:
        reason = error.strerror or f"no consistent answer in {_TIMEOUT} s"
        problem = Problem(
            Code.NOT_PERMITTED,
            f"cannot read the kernel's links and routes: {reason}",
            help="IPEQL opens AF_NETLINK sockets; look for a sandbox or a limit that forbids it",
        )
        raise IpeqlError(problem) from error


async def _links(kernel: AsyncIPRoute) -> dict[int, Link]:
    messages = await dump(kernel, RTM_GETLINK, ifinfmsg(), _IFINFOMSG.size)
    addresses = await _addresses(kernel)
    all_rp_filter, all_arp_ignore = _everywhere("rp_filter"), _everywhere("arp_ignore")
    links: dict[int, Link] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for message in messages:
            _, arphrd, ifindex, flags, _ = _IFINFOMSG.unpack(message.fixed)
            name = _bytes(message.attributes, _IFLA_IFNAME)
            present = addresses.get(ifindex, {})
            kind, info = _kind(message), message.attributes.get(_IFLA_LINKINFO, b"")
            links[ifindex] = Link(
                ifindex=ifindex,
                name=shown(name),
                mtu=_number(message, _IFLA_MTU) or 0,
                train_limit=_number(message, _IFLA_GSO_MAX_SEGS) or MAX_TRAIN,
                up=bool(flags & _IFF_UP),
                carrier=bool(flags & _IFF_LOWER_UP),
                arphrd=arphrd,
                mac=message.attributes.get(_IFLA_ADDRESS, b"").hex(":"),
                card=message.attributes.get(_IFLA_PERM_ADDRESS, b"").hex(":"),
                kind=kind,
                driver=ethtool.driver(sock, name),
                speed=ethtool.speed(sock, name),
                alias=shown(_bytes(message.attributes, _IFLA_IFALIAS)),
                altnames=_altnames(message),
                addresses=frozenset(present),
                own_addresses=frozenset(address for address, ours in present.items() if ours),
                rp_filter=(rp_filter := _ipv4_setting(message, _DEVCONF_RP_FILTER)),
                strict_rp_filter=_is_strict(all_rp_filter, rp_filter, present),
                arp=not flags & _IFF_NOARP,
                arp_ignore=max(all_arp_ignore, _ipv4_setting(message, _DEVCONF_ARP_IGNORE) or 0),
                master=_number(message, _IFLA_MASTER) or 0,
                lower=_lower(message),
                far_end=tunnel.far_end(kind, info),
                bound=tunnel.bound_to(kind, info),
                mark=tunnel.mark(kind, info),
                point_to_point=bool(flags & _IFF_POINTOPOINT),
            )
    return links


async def _with_ways(
    kernel: AsyncIPRoute, links: dict[int, Link], own: Iterable[ObservedRoute]
) -> dict[int, Link]:
    """Return the links; of a tunnel, with the link that its own packets leave by.

    The kernel is asked only where a bundle's device may be that link.
    """
    ours = [route.to for route in own] + [
        address.network for link in links.values() if link.owner for address in link.addresses
    ]
    found = dict(links)
    for ifindex, link in links.items():
        by = link.bound or 0
        if link.far_end and not by and any(link.far_end in network for network in ours):
            by = await tunnel.leaves_by(kernel, link.far_end, link.mark)
        found[ifindex] = replace(link, leaves_by=by) if by else link
    return found


async def _with_routed(kernel: AsyncIPRoute, links: dict[int, Link]) -> dict[int, Link]:
    """Return the links; of the bundles' devices, with the networks that are routed there.

    The kernel picks the routes of each device, as long as there are not too many devices.
    """
    devices = [ifindex for ifindex, link in links.items() if link.owner]
    wanted = devices if len(devices) <= _ASKED_ONE_BY_ONE else [0]
    found: dict[int, set[Network]] = {}
    for asked in wanted:
        async for route in routes(kernel, ifindex=asked):
            if (route.table, route.kind) == (MAIN, UNICAST):
                for hop in route.hops:
                    if hop.ifindex in devices:
                        found.setdefault(hop.ifindex, set()).add(route.to)
    return links | {
        ifindex: replace(links[ifindex], routed=frozenset(networks))
        for ifindex, networks in found.items()
    }


async def _addresses(kernel: AsyncIPRoute) -> dict[int, dict[Interface, bool]]:
    """Return every link's addresses, and of each whether it is ours."""
    addresses: dict[int, dict[Interface, bool]] = {}
    for message in await dump(kernel, RTM_GETADDR, ifaddrmsg(), _IFADDRMSG.size):
        _, prefix, _, _, ifindex = _IFADDRMSG.unpack(message.fixed)
        # On a point-to-point link IFA_ADDRESS is the peer's.
        own = message.attributes.get(_IFA_LOCAL) or message.attributes[_IFA_ADDRESS]
        address = ipaddress.ip_interface((own, prefix))
        addresses.setdefault(ifindex, {})[address] = _is_ours(message, address)
    return addresses


def _is_ours(message: Message, address: Interface) -> bool:
    """Say whether IPEQL put an address there.

    A kernel before 5.18 does not store who did. There all count as ours, except those that the
    kernel makes itself. Only our own devices are checked.
    """
    protocol = message.attributes.get(_IFA_PROTO)
    if _KEEPS_ADDRESS_PROTOCOL:
        return protocol == bytes([PROTOCOL])
    return not (address.version == 6 and address.is_link_local)


async def _routes(kernel: AsyncIPRoute) -> frozenset[ObservedRoute]:
    return frozenset(
        [
            ObservedRoute(route.to, hop.via, hop.ifindex, route.metric)
            async for route in routes(kernel, protocol=PROTOCOL)
            if (route.table, route.protocol, route.kind) == (MAIN, PROTOCOL, UNICAST)
            for hop in route.hops
            if hop.ifindex
        ]
    )


def _everywhere(setting: str) -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/conf/all", setting).read_text())
    except (OSError, ValueError):
        return 0


def _is_strict(everywhere: int, own: int | None, addresses: Iterable[Interface]) -> bool:
    """Say whether the filter drops what comes from sources routed elsewhere.

    The larger of the two settings counts. A link without an IPv4 address is strict even where it is
    set to loose: net/ipv4/fib_frontend.c, __fib_validate_source(), last_resort. A link without IPv4
    drops nothing.
    """
    if own is None:
        return False
    rp_filter = max(everywhere, own)
    has_ipv4 = any(address.version == 4 for address in addresses)
    return rp_filter == _STRICT or (rp_filter == _LOOSE and not has_ipv4)


def _ipv4_setting(message: Message, number: int) -> int | None:
    """Return one of the link's own settings; None where IPv4 is not on it (MTU below 68)."""
    by_family = attributes(message.attributes.get(_IFLA_AF_SPEC, b""))
    of_ipv4 = attributes(by_family.get(socket.AF_INET, b""))
    values = of_ipv4.get(_IFLA_INET_CONF, b"")
    offset = (number - 1) * _U32.size
    return int(_U32.unpack_from(values, offset)[0]) if len(values) > offset else None


def _number(message: Message, kind: int) -> int | None:
    value = message.attributes.get(kind)
    return int(_U32.unpack(value)[0]) if value else None


def _bytes(attributes: Mapping[int, bytes], kind: int) -> bytes:
    return attributes.get(kind, b"").rstrip(b"\0")


def _kind(message: Message) -> str:
    """Return the rtnetlink kind, empty where the link has none: hardware."""
    info = attributes(message.attributes.get(_IFLA_LINKINFO, b""))
    return shown(_bytes(info, _IFLA_INFO_KIND))


def _lower(message: Message) -> int:
    """Return the ifindex of the link that this one is built on; 0: it is in another namespace."""
    elsewhere = _IFLA_LINK_NETNSID in message.attributes
    return 0 if elsewhere else _number(message, _IFLA_LINK) or 0


def _altnames(message: Message) -> tuple[str, ...]:
    properties = message.attributes.get(_IFLA_PROP_LIST, b"")
    return tuple(shown(name.rstrip(b"\0")) for name in repeated(properties, _IFLA_ALT_IFNAME))
