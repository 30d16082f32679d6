"""The bundle's device: a kind that is Ethernet-like and needs no neighbours.

The dataplane takes every packet at its egress, before the driver. Not every kernel has every kind,
so the kinds are tried in turn.
"""

from typing import Any

from pyroute2 import AsyncIPRoute

from ipeql.backends import owned
from ipeql.backends.bpf.layout import Link

KINDS = ("dummy", "ifb", "bridge")
IFF_NOARP = 0x80
ARPHRD_ETHER = 1
ARPHRD_INFINIBAND = 32
BARE = frozenset({519, 768, 769, 776, 778, 779, 823, 0xFFFE, 0xFFFF})
"""Raw IP, tunnels, none, void: the types without a MAC header (dev_is_mac_header_xmit(), if_arp.h).

Source of the numbers: include/uapi/linux/if.h and if_arp.h.
"""


async def create(bundle: str, kinds: tuple[str, ...] = KINDS) -> int:
    """Make the device, or keep it, and return its ifindex; raises as ``owned.make``."""
    async with AsyncIPRoute() as kernel:
        made, new = await owned.make(kernel, bundle, kinds)
        if new:
            await kernel.link("set", index=made, flags=IFF_NOARP, change=IFF_NOARP)
        return made


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
