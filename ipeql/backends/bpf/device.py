"""The bundle's device, and how packets are addressed on a slave.

The dataplane takes every packet at the egress of the lower device, before its driver. That has to
be Ethernet-like. Not every kernel has every kind, so the kinds are tried in turn.
"""

from typing import Any

from pyroute2 import AsyncIPRoute

from ipeql.backends import owned, upper
from ipeql.backends.bpf.layout import Link

KINDS = ("dummy", "ifb", "bridge")
ARPHRD_ETHER = 1
ARPHRD_INFINIBAND = 32
BARE = frozenset({519, 768, 769, 776, 778, 779, 823, 0xFFFE, 0xFFFF})
"""Raw IP, tunnels, none, void: the types without a MAC header (dev_is_mac_header_xmit(), if_arp.h).

Source of the numbers: include/uapi/linux/if.h and if_arp.h.
"""


async def create(bundle: str, kinds: tuple[str, ...] = KINDS) -> int:
    """Make the device, or keep it; return the ifindex of the one the programs are for.

    That is the lower one, or the bundle's own where it stands alone. Raises as ``upper.make``.
    """
    async with AsyncIPRoute() as kernel:
        made = await owned.find(kernel, bundle)
        if made:
            await owned.claim(kernel, made, bundle)
        else:
            made = await upper.make(kernel, bundle, kinds)
        if below := upper.lower(bundle):
            await upper.set_up(kernel, below)
        return below or made


def programmed(bundle: str) -> int:
    """Return the ifindex of the device the programs are for, 0 where there is none."""
    return upper.lower(bundle) or owned.index(bundle)


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
    return Link.FIXED if link["flags"] & upper.IFF_NOARP else Link.ETHERNET
