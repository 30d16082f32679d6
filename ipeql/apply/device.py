"""Changes to a bundle's device, over rtnetlink; every function raises NetlinkError when refused.

Asking for a state that is already there is no error.
"""

import errno
import socket

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import NetlinkRequest
from pyroute2.netlink.rtnl import RTM_SETLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ipeql.apply import ipv4
from ipeql.apply.already import so_already
from ipeql.backends import owned, upper
from ipeql.state import PROTOCOL, Interface, RouteSpec

_RT_SCOPE_LINK = 253


async def _own(kernel: AsyncIPRoute, bundle: str) -> int:
    """Return the ifindex of the bundle's device; NetlinkError ENODEV where there is none."""
    found = await owned.find(kernel, bundle)
    if not found:
        raise NetlinkError(errno.ENODEV)
    return found


async def change(kernel: AsyncIPRoute, bundle: str, **attributes: int | str) -> None:
    """Set link attributes: ``mtu`` in bytes, ``gso_max_segs``, ``state`` up or down."""
    await kernel.link("set", index=await _own(kernel, bundle), **attributes)


async def rename(kernel: AsyncIPRoute, bundle: str) -> None:
    """Give the device the bundle's name. Before Linux 6.2 it has to be down meanwhile."""
    index = await _own(kernel, bundle)
    try:
        await kernel.link("set", index=index, ifname=bundle)
    except NetlinkError as error:
        if error.code != errno.EBUSY:
            raise
        await kernel.link("set", index=index, state="down")
        await kernel.link("set", index=index, ifname=bundle)
        await kernel.link("set", index=index, state="up")


async def set_carrier(kernel: AsyncIPRoute, bundle: str, carrier: bool) -> None:
    """Give the device a carrier, or take it: through the one that it stands on, if it does."""
    message = ifinfmsg()
    message["index"] = upper.lower(bundle) or await _own(kernel, bundle)
    message["attrs"] = [("IFLA_CARRIER", int(carrier))]  # link("set") leaves it out
    request = NetlinkRequest(
        kernel, message, msg_type=RTM_SETLINK, msg_flags=NLM_F_REQUEST | NLM_F_ACK
    )
    await request.send()
    async for _ in request.response():
        pass


async def add_address(kernel: AsyncIPRoute, bundle: str, address: Interface) -> None:
    """Add an address, marked as ours."""
    with so_already(errno.EEXIST):
        await kernel.addr("add", **await _address(kernel, bundle, address), proto=PROTOCOL)


async def remove_address(kernel: AsyncIPRoute, bundle: str, address: Interface) -> None:
    """Remove an address; others of its subnet stay.

    Without promote_secondaries the kernel would remove them with it: net/ipv4/devinet.c,
    __inet_del_ifa().
    """
    wanted = await _address(kernel, bundle, address)
    if address.version == 4:
        ipv4.change(int(wanted["index"]), ipv4.Setting.PROMOTE_SECONDARIES, 1)
    with so_already(errno.EADDRNOTAVAIL):
        await kernel.addr("del", **wanted)


async def _address(kernel: AsyncIPRoute, bundle: str, address: Interface) -> dict[str, int | str]:
    prefix = address.network.prefixlen
    index = await _own(kernel, bundle)
    return {"index": index, "address": str(address.ip), "prefixlen": prefix}


async def add_route(kernel: AsyncIPRoute, bundle: str, route: RouteSpec) -> None:
    """Add a route of ours; a foreign one to the same destination and metric refuses it."""
    await kernel.route("add", **await _route(kernel, bundle, route))


async def replace_route(kernel: AsyncIPRoute, bundle: str, route: RouteSpec) -> None:
    """Put a route in the place of ours to the same destination with the same metric."""
    await kernel.route("replace", **await _route(kernel, bundle, route))


async def remove_route(kernel: AsyncIPRoute, bundle: str, route: RouteSpec) -> None:
    """Remove a route of ours; the kernel compares the protocol too, so never a foreign one."""
    with so_already(errno.ESRCH):
        await kernel.route("del", **await _route(kernel, bundle, route))


async def _route(kernel: AsyncIPRoute, bundle: str, route: RouteSpec) -> dict[str, int | str]:
    message: dict[str, int | str] = {
        "family": socket.AF_INET if route.to.version == 4 else socket.AF_INET6,
        "dst": str(route.to),
        "oif": await _own(kernel, bundle),
        "proto": PROTOCOL,
    }
    if route.metric:
        message["priority"] = route.metric
    if route.via:
        message["gateway"] = str(route.via)
    elif route.to.version == 4:
        message["scope"] = _RT_SCOPE_LINK
    return message
