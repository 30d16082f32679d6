"""Rules, tables and marks that keep the packets of tunnels on their uplinks.

Asking for a state that is already there is no error. Every function raises NetlinkError or OSError
when refused.
"""

import errno
import socket
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.apply.already import so_already
from ipeql.observe import wireguard
from ipeql.plan import SetMark
from ipeql.state import PROTOCOL, RULE_PRIORITY, Rule, TableRoute

_GONE = (errno.ENODEV, errno.ENOENT)
_RTN_UNREACHABLE = 7
_RTNH_F_ONLINK = 4
_RT_SCOPE_LINK = 253


async def add_rule(kernel: AsyncIPRoute, rule: Rule) -> None:
    """Add a rule of ours."""
    with so_already(errno.EEXIST):
        await kernel.rule("add", **_rule(rule))


async def remove_rule(kernel: AsyncIPRoute, rule: Rule) -> None:
    """Remove a rule of ours; the kernel compares the protocol too, so never a foreign one."""
    with so_already(errno.ENOENT):
        await kernel.rule("del", **_rule(rule))


async def set_route(kernel: AsyncIPRoute, route: TableRoute) -> None:
    """Add a route to a table, or put it in the place of ours there."""
    await kernel.route("replace", **_route(route))


async def remove_route(kernel: AsyncIPRoute, route: TableRoute) -> None:
    """Remove a route of ours from a table; the kernel does so itself when its link goes."""
    with so_already(errno.ESRCH):
        await kernel.route("del", **_route(route))


async def set_mark(action: SetMark) -> None:
    """Set the mark of a WireGuard link. One that has vanished is no error."""
    try:
        if wireguard.path(action.name).is_socket():
            await wireguard.converse(action.name, "set=1", f"fwmark={action.after}")
        else:
            async with wireguard.Family() as kernel:
                await kernel.set_mark(action.ifindex, action.after)
    except NetlinkError as error:
        if error.code not in _GONE:
            raise
    except (FileNotFoundError, ConnectionRefusedError):
        pass


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _rule(rule: Rule) -> dict[str, Any]:
    message: dict[str, Any] = {
        "family": _family(rule.version),
        "priority": RULE_PRIORITY,
        "table": rule.table,
        "protocol": PROTOCOL,
    }
    if rule.mark:
        message["fwmark"] = rule.mark
    if rule.to:
        message |= {"dst": str(rule.to.network_address), "dst_len": rule.to.prefixlen}
    if rule.oif:
        message["oifname"] = rule.oif
    return message


def _route(route: TableRoute) -> dict[str, Any]:
    message: dict[str, Any] = {
        "family": _family(route.to.version),
        "dst": str(route.to),
        "table": route.table,
        "proto": PROTOCOL,
        "priority": route.metric,
    }
    if not route.ifindex:
        return message | {"type": _RTN_UNREACHABLE}
    message["oif"] = route.ifindex
    if route.src:
        message["prefsrc"] = str(route.src)
    if route.via:
        # The table need not have a route to the gateway.
        message["flags"] = _RTNH_F_ONLINK
        if route.via.version == route.to.version:
            message["gateway"] = str(route.via)
        else:
            message["via"] = {"family": _family(route.via.version), "addr": str(route.via)}
    elif route.to.version == 4:
        message["scope"] = _RT_SCOPE_LINK
    return message
