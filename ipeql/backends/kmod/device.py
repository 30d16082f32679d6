"""The bundle's device, by rtnetlink; every function raises NetlinkError when refused."""

import errno
import socket
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.state import ALIAS_PREFIX

KIND = "ipeql"


def index(name: str) -> int:
    """Return a device's ifindex, 0 where there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


async def ours() -> set[str]:
    """Return the names of the devices of our kind that carry our mark."""
    async with AsyncIPRoute() as kernel:
        return {
            name
            async for link in await kernel.link("dump", kind=KIND)
            if link.get("ifalias") == ALIAS_PREFIX + (name := link.get("ifname"))
        }


async def create(name: str) -> None:
    """Make the device, marked as ours; EBUSY where one of that name is somebody else's."""
    async with AsyncIPRoute() as kernel:
        if found := index(name):
            if not await _is_ours(kernel, found, name):
                raise NetlinkError(errno.EBUSY, f"{name} is another program's device")
            return
        await kernel.link("add", ifname=name, kind=KIND)
        await kernel.link("set", index=index(name), ifalias=ALIAS_PREFIX + name)


async def remove(name: str) -> None:
    """Delete the device if it carries our mark."""
    async with AsyncIPRoute() as kernel:
        if (found := index(name)) and await _is_ours(kernel, found, name):
            await kernel.link("del", index=found)


async def _is_ours(kernel: Any, found: int, name: str) -> bool:
    (link,) = await kernel.link("get", index=found)
    return bool(link.get("ifalias") == ALIAS_PREFIX + name)
