"""The bundle's device upon a TAP device, whose frames the worker reads.

Where the kernel has no macvlan, the bundle's device is a TUN device itself.
"""

import errno
import os

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned, upper
from ipeql.backends.tun.device import (
    IFF_TAP,
    TAP_MTU,
    has_link_header,
    is_attached,
    name_of,
    open_device,
)

QUEUE_PACKETS = 1000
"""Packets that the kernel queues for the worker; one second at 1000 packets/s."""


async def make(bundle: str) -> int:
    """Make the bundle's device and return the descriptor of what the worker reads.

    Both devices live as long as it is open. Raises OSError as ``open_device``, and NetlinkError,
    EBUSY where a device of that name is not ours.
    """
    async with AsyncIPRoute() as kernel:
        owned.refuse_foreign(bundle)
        if left := upper.lower(bundle):
            await owned.delete(kernel, left)
        name = owned.free_name(bundle, upper.LOWER)
        descriptor = open_device(name, IFF_TAP)
        try:
            await _put_upon(kernel, bundle, owned.named(name))
        except NetlinkError as error:
            os.close(descriptor)
            if error.code != errno.EOPNOTSUPP:
                raise
        else:
            return descriptor
        return await _alone(kernel, bundle)


async def _put_upon(kernel: AsyncIPRoute, bundle: str, below: int) -> None:
    await owned.claim_part(kernel, below, bundle, upper.LOWER)
    await kernel.link("set", index=below, txqlen=QUEUE_PACKETS, mtu=TAP_MTU)
    # What the bundle's own queueing discipline lets pass has waited already.
    await kernel.tc("replace", "noqueue", index=below)
    await upper.set_up(kernel, below)
    await upper.put_upon(kernel, bundle, below)


async def _alone(kernel: AsyncIPRoute, bundle: str) -> int:
    descriptor = open_device(bundle)
    try:
        index = owned.named(bundle)
        await owned.claim(kernel, index, bundle)
        await kernel.link("set", index=index, txqlen=QUEUE_PACKETS)
    except NetlinkError:
        os.close(descriptor)
        raise
    return descriptor


def is_whole(bundle: str, descriptor: int) -> bool:
    """Say whether the bundle has its device, and that stands on the one of the descriptor."""
    if not is_attached(descriptor):
        return False
    if not has_link_header(descriptor):
        return True
    below = owned.named(name_of(descriptor))
    return bool(below and below == upper.lower(bundle) and owned.index(bundle))
