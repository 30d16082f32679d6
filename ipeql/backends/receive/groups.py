"""The groups to which neighbours of IPv6 are solicited, joined on the slaves for the bundle.

An entry for a proxied neighbour joins the group of its address (net/ipv6/ndisc.c,
pndisc_constructor()), also where ``proxy_ndp`` is off and the kernel answers nothing. It stays when
the daemon ends, and goes when the slave is set down. Ours carry our protocol number.
"""

import errno
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv6Address

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import NetlinkRequest
from pyroute2.netlink.rtnl import RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from ipeql.state import PROTOCOL, Receiver

NTF_PROXY = 0x08  # include/uapi/linux/neighbour.h
_NDA_PROTOCOL = 12

Group = tuple[int, IPv6Address]
"""A slave's ifindex, and an address of the bundle."""


def of(receiver: Receiver | None) -> frozenset[Group]:
    """Return the groups that a bundle needs on its slaves."""
    if receiver is None:
        return frozenset()
    return frozenset(
        (slave.ifindex, address)
        for slave in receiver.slaves
        if slave.groups and slave.mac
        for address in receiver.addresses
        if isinstance(address, IPv6Address)
    )


async def are_joined(wanted: frozenset[Group]) -> bool:
    """Say whether all of them are joined; OSError."""
    if not wanted:
        return True
    async with AsyncIPRoute() as kernel:
        return wanted <= {group async for group, _ in _present(kernel)}


async def change(before: Receiver | None, after: Receiver | None) -> None:
    """Join what is needed and leave the others of ours; OSError where the kernel refuses."""
    wanted, earlier = of(after), of(before)
    if not wanted | earlier:
        return
    async with AsyncIPRoute() as kernel:
        present = {group: protocol async for group, protocol in _present(kernel)}
        for group in wanted - present.keys():
            await _do(kernel, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, group)
        for group in (earlier - wanted) & present.keys():
            if present[group] == PROTOCOL:
                await _do(kernel, RTM_DELNEIGH, 0, group)


async def _present(kernel: AsyncIPRoute) -> AsyncIterator[tuple[Group, int]]:
    message = ndmsg()
    message["family"] = socket.AF_INET6
    message["flags"] = NTF_PROXY
    request = NetlinkRequest(
        kernel, message, msg_type=RTM_GETNEIGH, msg_flags=NLM_F_REQUEST | NLM_F_DUMP
    )
    await request.send()
    async for answer in request.response():
        if answer["flags"] & NTF_PROXY and (address := answer.get("NDA_DST")):
            group = (answer["ifindex"], IPv6Address(address))
            yield group, answer.get("NDA_PROTOCOL") or 0


async def _do(kernel: AsyncIPRoute, kind: int, flags: int, group: Group) -> None:
    message = ndmsg()
    message["family"] = socket.AF_INET6
    message["ifindex"] = group[0]
    message["flags"] = NTF_PROXY
    message["attrs"] = [("NDA_DST", str(group[1])), ("NDA_PROTOCOL", PROTOCOL)]
    request = NetlinkRequest(
        kernel, message, msg_type=kind, msg_flags=NLM_F_REQUEST | NLM_F_ACK | flags
    )
    try:
        await request.send()
        async for _ in request.response():
            pass
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.ENOENT):  # the slave is gone, or the entry
            raise OSError(error.code, f"neighbours of IPv6: {error}") from error
