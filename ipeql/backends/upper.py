"""A bundle's device as a macvlan: what it sends passes its lower device, where it is taken.

A macvlan hands a packet to its lower device within its own transmit, with the packet's route, mark,
priority and socket. So the bundle's queueing disciplines, egress hooks, taps and counters see every
packet before the dataplane does. What arrives at the lower device is received, and counted, by the
bundle (docs/adr/0023-device.md). Source: drivers/net/macvlan.c of Linux, macvlan_queue_xmit() and
macvlan_handle_frame().
"""

import contextlib
import errno
from collections.abc import Sequence

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned

LOWER = "lower"
"""The part that the bundle's device stands on."""

LOWER_MTU = 65535
"""An upper device may not have more than its lower one."""

IFF_UP, IFF_NOARP, IFF_MULTICAST = 0x1, 0x80, 0x1000  # include/uapi/linux/if.h
_MTU = 1500
_ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE of include/uapi/linux/if_link.h
_NOPROMISC = 1  # MACVLAN_FLAG_NOPROMISC of include/uapi/linux/if_link.h


async def make(kernel: AsyncIPRoute, bundle: str, kinds: Sequence[str]) -> int:
    """Make a bundle's device upon a lower one of the first of ``kinds`` that the kernel has.

    Return its ifindex. Where the kernel has no macvlan, the device is of such a kind itself. Raises
    NetlinkError, EBUSY where a device of that name is not ours.
    """
    owned.refuse_foreign(bundle)
    if left := lower(bundle):  # its upper device is in another network namespace
        await owned.delete(kernel, left)
    below = await owned.make_part(kernel, bundle, LOWER, kinds, mtu=LOWER_MTU)
    await set_up(kernel, below)
    try:
        return await put_upon(kernel, bundle, below)
    except NetlinkError as error:
        await owned.delete(kernel, below)
        if error.code != errno.EOPNOTSUPP:
            raise
    made, _ = await owned.make(kernel, bundle, kinds)
    await kernel.link("set", index=made, flags=IFF_NOARP, change=IFF_NOARP)
    return made


async def put_upon(kernel: AsyncIPRoute, bundle: str, below: int) -> int:
    """Make the bundle's device upon a lower one, which passes it all that arrives there.

    Return its ifindex. Raises NetlinkError, EOPNOTSUPP where the kernel has no macvlan.
    """
    await kernel.link(
        "add",
        ifname=bundle,
        kind="macvlan",
        link=below,
        mtu=_MTU,
        macvlan_mode="passthru",
        macvlan_flags=_NOPROMISC,
    )
    made = owned.named(bundle)
    await kernel.link("set", index=made, flags=IFF_NOARP, change=IFF_NOARP)
    await owned.claim(kernel, made, bundle)
    return made


async def set_up(kernel: AsyncIPRoute, below: int) -> None:
    """Set a lower device up, without neighbours, groups and IPv6: it never speaks for itself."""
    change = IFF_UP | IFF_NOARP | IFF_MULTICAST
    no_address = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE)]}
    with contextlib.suppress(NetlinkError):  # a kernel without IPv6
        await kernel.link("set", index=below, IFLA_AF_SPEC={"attrs": [("AF_INET6", no_address)]})
    await kernel.link("set", index=below, flags=IFF_UP | IFF_NOARP, change=change)


def lower(bundle: str) -> int:
    """Return the ifindex of the device that the bundle's stands on; 0: it stands alone."""
    return owned.part(bundle, LOWER)[0]


def is_lower_down(bundle: str) -> bool:
    """Say whether the bundle's device stands on one that somebody has set down."""
    ifindex, flags = owned.part(bundle, LOWER)
    return bool(ifindex and not flags & IFF_UP)
