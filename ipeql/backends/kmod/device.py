"""The bundle's device, by rtnetlink; every function raises NetlinkError when refused."""

import errno

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned

KIND = "ipeql"


async def ours() -> dict[str, str]:
    """Return the bundles of the devices of our kind that carry our mark, by the devices' names."""
    async with AsyncIPRoute() as kernel:
        return {
            str(link.get("ifname")): bundle
            async for link in await kernel.link("dump", kind=KIND)
            if (bundle := owned.owner(link))
        }


async def create(name: str) -> None:
    """Make the device, marked as ours; EBUSY where one of that name is somebody else's."""
    async with AsyncIPRoute() as kernel:
        found = await owned.find(kernel, name)
        if not found:
            if owned.named(name):
                raise NetlinkError(errno.EBUSY, f"{name} is another program's device")
            await kernel.link("add", ifname=name, kind=KIND)
            found = owned.named(name)
        await owned.claim(kernel, found, name)


async def remove(name: str) -> None:
    """Delete the device if it carries our mark."""
    async with AsyncIPRoute() as kernel:
        if found := await owned.find(kernel, name):
            await kernel.link("del", index=found)
