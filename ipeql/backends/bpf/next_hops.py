"""Has the kernel resolve the next hops of a bundle's slaves before a packet needs them.

A packet that waits for its next hop is late by the slave's round-trip time. A flow takes the
packets after it, on other slaves, for overtaking ones.
"""

import contextlib
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.state import Address, SlaveRow

NTF_USE = 0x01  # include/uapi/linux/neighbour.h
NUD_VALID = 0xDE  # include/net/neighbour.h
RTN_UNICAST = 1  # include/uapi/linux/rtnetlink.h

Next = tuple[int, Address]
"""The ifindex of a slave and a next hop there."""


async def resolve(device: int, rows: Sequence[SlaveRow]) -> None:
    """Ask for the next hops that packets of the bundle's device ``device`` will have; NetlinkError.

    These are: each slave's ``via`` and ``via6``; where it has none, the gateways of the bundle's
    routes, and the bundle's neighbours that another slave knows. What the kernel has an entry for,
    of whatever state, it asks for by itself. One that the kernel refuses to ask for costs only that
    a packet waits for it.
    """
    async with AsyncIPRoute(strict_check=True) as kernel:
        routes = [
            route
            for family in (AF_INET, AF_INET6)
            async for route in await kernel.route("dump", family=family, oif=device)
        ]
        found = [entry async for entry in await kernel.neigh("dump")]
        for ifindex, address in missing(device, rows, routes, found):
            with contextlib.suppress(NetlinkError):  # a link that is gone or down, or has no IPv6
                await kernel.neigh("replace", ifindex=ifindex, dst=str(address), flags=NTF_USE)


def missing(
    device: int, rows: Sequence[SlaveRow], routes: Sequence[Any], neighbours: Sequence[Any]
) -> list[Next]:
    """Return the next hops to ask for, from the kernel's routes and neighbours; pure."""
    slaves = {row.ifindex for row in rows}
    there: dict[Next, int] = {
        (entry["ifindex"], ip_address(entry.get("dst"))): entry["state"]
        for entry in neighbours
        if entry["ifindex"] in slaves and entry.get("dst")
    }
    ours = [
        route for route in routes if route.get("oif") == device and route["type"] == RTN_UNICAST
    ]
    gateways = {ip_address(route.get("gateway")) for route in ours if route.get("gateway")}
    on_link = [
        ip_network(f"{route.get('dst')}/{route['dst_len']}")
        for route in ours
        if route.get("dst") and not route.get("gateway")
    ]
    known = {
        address
        for (_, address), state in there.items()
        if state & NUD_VALID
        and any(address in network for network in on_link if not network.is_link_local)
    }
    wanted = [
        (row.ifindex, address)
        for row in rows
        for version, via in ((4, row.via), (6, row.via6))
        for address in ({via} if via else gateways | known)
        if address.version == version
    ]
    return [each for each in wanted if each not in there]
