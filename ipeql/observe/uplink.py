"""Tunnels and their uplinks: firewall marks, gateways, and our rules and tables."""

import ipaddress
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from struct import Struct

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.rtnl import RTM_GETRULE
from pyroute2.netlink.rtnl.fibmsg import fibmsg

from ipeql.names import shown
from ipeql.observe import tunnel, wireguard
from ipeql.observe.dump import Message, dump
from ipeql.observe.kernel import reading
from ipeql.observe.route import MAIN, UNICAST, UNREACHABLE, Route, routes
from ipeql.state import PROTOCOL, ForeignRule, Gateway, Link, Policy, Rule, TableRoute, is_our_mark

# include/uapi/linux/fib_rules.h
_HEADER = Struct("=8BI")  # family, dst length, src length, tos, table, two reserved, action, flags
_FRA_DST, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE = 1, 6, 10, 15
_FRA_FWMASK, _FRA_OIFNAME, _FRA_PROTOCOL = 16, 17, 21
_INVERT = 0x2
_U32 = Struct("=I")

_IPV6 = Path("/proc/sys/net/ipv6")

Looked = tuple[dict[int, Link], Policy]


async def look(links: Mapping[int, Link], uplinks: Collection[str]) -> Looked:
    """Return ``links`` with what is known of tunnels and of the links called ``uplinks``, and ours.

    WireGuard links are only asked where it matters: where there is an uplink, a rule of ours, or a
    bundle with a default route. Raises IpeqlError if the kernel gives no answer.
    """
    async with reading() as kernel:
        policy = await _rules(kernel)
        loops = any(not network.prefixlen for link in links.values() for network in link.routed)
        known = dict(links)
        if uplinks or policy.rules or loops:
            known |= await _tunnels(kernel, known, loops)
        if uplinks or policy.rules:
            policy = replace(policy, routes=frozenset([each async for each in _tables(kernel)]))
        for name in uplinks:
            for link in [each for each in known.values() if each.is_called(name)]:
                gateways = await _gateways(kernel, link)
                known[link.ifindex] = replace(link, gateways=gateways)
    return known, policy


async def _tunnels(kernel: AsyncIPRoute, links: Mapping[int, Link], loops: bool) -> dict[int, Link]:
    """Return the WireGuard links with marks and far ends; if ``loops``, with where they leave."""
    found: dict[int, Link] = {}
    for ifindex, (mark, far_end) in (await wireguard.read(links.values())).items():
        by = await tunnel.leaves_by(kernel, far_end, mark) if loops and far_end else 0
        found[ifindex] = replace(links[ifindex], mark=mark, far_end=far_end, leaves_by=by)
    return found


async def _rules(kernel: AsyncIPRoute) -> Policy:
    ours: set[Rule] = set()
    foreign: set[ForeignRule] = set()
    families = {4: socket.AF_INET} | ({6: socket.AF_INET6} if _IPV6.exists() else {})
    for version, family in families.items():
        request = fibmsg()
        request["family"] = family
        for message in await dump(kernel, RTM_GETRULE, request, _HEADER.size):
            given = message.attributes
            is_ours = given.get(_FRA_PROTOCOL) == bytes([PROTOCOL])
            if is_ours and is_our_mark(_number(message, _FRA_TABLE)):
                ours.add(_rule(message, version))
            elif _FRA_FWMASK in given and not _HEADER.unpack(message.fixed)[-1] & _INVERT:
                kinds = (_FRA_PRIORITY, _FRA_FWMARK, _FRA_FWMASK)
                foreign.add(ForeignRule(version, *(_number(message, kind) for kind in kinds)))
    return Policy(frozenset(ours), foreign=frozenset(foreign), versions=frozenset(families))


def _rule(message: Message, version: int) -> Rule:
    given = message.attributes
    length = _HEADER.unpack(message.fixed)[1]
    to = given.get(_FRA_DST)
    return Rule(
        version,
        table=_number(message, _FRA_TABLE),
        mark=_number(message, _FRA_FWMARK),
        to=ipaddress.ip_network((to, length)) if to else None,
        oif=shown(given.get(_FRA_OIFNAME, b"").rstrip(b"\0")),
    )


def _number(message: Message, kind: int) -> int:
    value = message.attributes.get(kind)
    return int(_U32.unpack(value)[0]) if value else 0


async def _tables(kernel: AsyncIPRoute) -> AsyncIterator[TableRoute]:
    async for route in routes(kernel, protocol=PROTOCOL):
        if is_our_mark(route.table):
            hop = route.hops[0]
            reaches = route.kind != UNREACHABLE
            ifindex, via = (hop.ifindex, hop.via) if reaches else (0, None)
            yield TableRoute(route.table, route.to, ifindex, via, route.src)


async def _gateways(kernel: AsyncIPRoute, link: Link) -> frozenset[Gateway]:
    """Return the best default route over a link of each IP version, of the main table if it can be.

    Network managers put the default routes of some links into tables of their own.
    """
    found = [
        route
        async for route in routes(kernel, ifindex=link.ifindex)
        if not route.to.prefixlen and route.kind == UNICAST and not is_our_mark(route.table)
    ]
    best: dict[int, Gateway] = {}
    for route in sorted(found, key=_order):
        via = next(hop.via for hop in route.hops if hop.ifindex == link.ifindex)
        best.setdefault(route.to.version, Gateway(route.to.version, via, route.src))
    return frozenset(best.values())


def _order(route: Route) -> tuple[bool, int, int, str]:
    return route.table != MAIN, route.metric or 0, route.table, str(route.hops)
