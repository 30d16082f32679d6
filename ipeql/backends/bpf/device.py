"""The bundle's device: any Ethernet-like one that needs no neighbours of its own will do.

The dataplane takes every packet at its egress, before the driver would see it. Kernels differ in
which kinds they have, so the kinds are tried in turn.
"""

import errno
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned
from ipeql.backends.bpf.layout import Link

KINDS = ("dummy", "ifb", "bridge")
IFF_NOARP = 0x80
ARPHRD_ETHER = 1
ARPHRD_INFINIBAND = 32
BARE = frozenset({519, 768, 769, 776, 778, 779, 823, 0xFFFE, 0xFFFF})
"""Raw IP, tunnels, none, void: what dev_is_mac_header_xmit() of include/linux/if_arp.h excepts.

Source of the numbers: include/uapi/linux/if.h and if_arp.h.
"""


async def create(name: str, kinds: tuple[str, ...] = KINDS) -> int:
    """Make the device ``name``, marked as ours, of the first kind that the kernel has.

    A device that carries our mark already is kept. Returns its ifindex; raises NetlinkError, EBUSY
    where a device of that name is somebody else's.
    """
    async with AsyncIPRoute() as kernel:
        if found := await owned.find(kernel, name):
            await owned.claim(kernel, found, name)
            return found
        if owned.named(name):
            raise NetlinkError(errno.EBUSY, f"{name} is another program's device")
        for kind in kinds:
            try:
                await kernel.link("add", ifname=name, kind=kind)
            except NetlinkError as error:
                if error.code != errno.EOPNOTSUPP or kind == kinds[-1]:
                    raise
            else:
                break
        made = owned.named(name)
        await owned.claim(kernel, made, name)
        await kernel.link("set", index=made, flags=IFF_NOARP, change=IFF_NOARP)
        return made


async def remove(name: str) -> None:
    """Delete the device if it carries our mark."""
    async with AsyncIPRoute() as kernel:
        if found := await owned.find(kernel, name):
            await kernel.link("del", index=found)


async def _link(kernel: AsyncIPRoute, ifindex: int) -> Any:
    return (await kernel.link("get", index=ifindex))[0]


async def link_layer(ifindex: int) -> Link:
    """Return how packets are addressed on a link."""
    async with AsyncIPRoute() as kernel:
        link = await _link(kernel, ifindex)
    kind = link["ifi_type"]
    if kind in BARE:
        return Link.BARE
    if kind not in (ARPHRD_ETHER, ARPHRD_INFINIBAND):
        return Link.NO_NEIGHBOURS
    if kind == ARPHRD_INFINIBAND:
        return Link.OTHER
    return Link.FIXED if link["flags"] & IFF_NOARP else Link.ETHERNET
