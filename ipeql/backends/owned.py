"""A bundle's device: make it, mark it as ours, find it under any name, remove it.

The mark is an alternative name (docs/adr/0020-what-is-ours.md). The kernel accepts it in place of
the name, and it stays when the device is renamed.
"""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_GETLINK, RTM_NEWLINK

from ipeql.state import ALIAS_PREFIX, mark_of, owner_of

_IFLA_ALT_IFNAME = 53  # include/uapi/linux/if_link.h


def owner(link: Any) -> str:
    """Return the bundle whose device a link message describes, or an empty string."""
    names = link.get("IFLA_PROP_LIST")
    altnames = names.altnames() if names else ()
    return owner_of(link.get("ifname"), altnames, link.get("ifalias") or "")


async def find(kernel: AsyncIPRoute, bundle: str) -> int:
    """Return the ifindex of a bundle's device, 0 where there is none. Raises NetlinkError.

    A device without the mark that has the bundle's name and, as earlier versions made it, ``ifalias
    ipeql:<bundle>`` is ours too.
    """
    found = index(bundle)
    if not found:
        return 0
    try:
        (link,) = await kernel.link("get", index=found)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return 0
    return found if owner(link) == bundle else 0


async def claim(kernel: AsyncIPRoute, ifindex: int, bundle: str) -> None:
    """Mark a device as the bundle's; NetlinkError where the kernel refuses."""
    try:
        await kernel.link("property_add", index=ifindex, altname=mark_of(bundle))
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:  # before Linux 5.5
            await kernel.link("set", index=ifindex, ifalias=ALIAS_PREFIX + bundle)
        elif error.code != errno.EEXIST:
            raise


async def make(kernel: AsyncIPRoute, bundle: str, kinds: Sequence[str]) -> tuple[int, bool]:
    """Make the device of the first of ``kinds`` that the kernel has; keep one that is ours.

    Return its ifindex, and whether it is new. Raises NetlinkError, EBUSY where a device of that
    name is not ours.
    """
    found = await find(kernel, bundle)
    new = not found
    if new:
        if named(bundle):
            raise NetlinkError(errno.EBUSY, f"{bundle} is another program's device")
        for kind in kinds:
            try:
                await kernel.link("add", ifname=bundle, kind=kind)
                break
            except NetlinkError as error:
                if error.code != errno.EOPNOTSUPP or kind == kinds[-1]:
                    raise
        found = named(bundle)
    await claim(kernel, found, bundle)
    return found, new


async def remove(bundle: str) -> None:
    """Delete the device if it carries our mark; NetlinkError where the kernel refuses."""
    async with AsyncIPRoute() as kernel:
        if found := await find(kernel, bundle):
            try:
                await kernel.link("del", index=found)
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # it has vanished meanwhile
                    raise


def index(bundle: str) -> int:
    """Return the ifindex of the device that carries the bundle's mark, else of its name; else 0."""
    return _marked(mark_of(bundle)) or named(bundle)


def named(name: str) -> int:
    """Return the ifindex of the link of this name, ours or not; 0 where there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _marked(mark: str) -> int:
    """Ask for the link with an alternative name: if_nametoindex(3) takes no more than 15 bytes."""
    name = os.fsencode(mark) + b"\0"
    attribute = struct.pack("=HH", 4 + len(name), _IFLA_ALT_IFNAME) + name
    body = bytes(16) + attribute + bytes(-len(attribute) % 4)
    header = struct.pack("=IHHII", 16 + len(body), RTM_GETLINK, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(10)
        kernel.send(header + body)
        answer = kernel.recv(65536)
    kind, ifindex = struct.unpack_from("=4xH14xi", answer)
    return int(ifindex) if kind == RTM_NEWLINK else 0
