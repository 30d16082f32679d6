"""A bundle's device and its parts: make them, mark them as ours, find them under any name, remove.

The mark is an alternative name (docs/adr/0020-what-is-ours.md). The kernel accepts it in place of
the name, and it stays when the device is renamed. A part is a device that the bundle's own stands
on; its mark names the bundle and the part.
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

from ipeql.state import ALIAS_PREFIX, mark_of, mark_of_part, owner_of

PARTS = ("lower", "holder", "release")
"""What a bundle may consist of beside its device, from the top down."""

_NAME_BYTES = 15  # IFNAMSIZ less the NUL
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
        refuse_foreign(bundle)
        found = await _add(kernel, bundle, kinds)
    await claim(kernel, found, bundle)
    return found, new


def refuse_foreign(bundle: str) -> None:
    """Raise NetlinkError EBUSY where a link has the bundle's name."""
    if named(bundle):
        raise NetlinkError(errno.EBUSY, f"{bundle} is another program's device")


async def make_part(
    kernel: AsyncIPRoute, bundle: str, name: str, kinds: Sequence[str], **attributes: int | str
) -> int:
    """Make a part of the first of ``kinds`` that the kernel has, or keep it; return its ifindex.

    The link is called ``<bundle>-<part>``, shortened where that is too long, with a number where
    the name is taken. Raises NetlinkError.
    """
    ifindex, _ = part(bundle, name)
    if not ifindex:
        ifindex = await _add(kernel, free_name(bundle, name), kinds, **attributes)
        await claim_part(kernel, ifindex, bundle, name)
    return ifindex


async def claim_part(kernel: AsyncIPRoute, ifindex: int, bundle: str, name: str) -> None:
    """Mark a device as a part of a bundle; NetlinkError where the kernel refuses."""
    try:
        await kernel.link("property_add", index=ifindex, altname=mark_of_part(bundle, name))
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def part(bundle: str, name: str) -> tuple[int, int]:
    """Return the ifindex and the flags (IFF_*) of a bundle's part, zeros where there is none."""
    return _marked(mark_of_part(bundle, name))


def free_name(bundle: str, part: str) -> str:
    """Return a name for the link of a part that no other link has."""
    number = ""
    while named(name := bundle[: _NAME_BYTES - 1 - len(part + number)] + f"-{part}{number}"):
        number = str(int(number or 0) + 1)
    return name


async def _add(
    kernel: AsyncIPRoute, name: str, kinds: Sequence[str], **attributes: int | str
) -> int:
    for kind in kinds:
        try:
            await kernel.link("add", ifname=name, kind=kind, **attributes)
            break
        except NetlinkError as error:
            if error.code != errno.EOPNOTSUPP or kind == kinds[-1]:
                raise
    return named(name)


async def remove(bundle: str) -> None:
    """Delete the device if it carries our mark, and its parts; NetlinkError if refused."""
    async with AsyncIPRoute() as kernel:
        if found := await find(kernel, bundle):
            await delete(kernel, found)
        for name in PARTS:
            ifindex, _ = part(bundle, name)
            if ifindex:
                await delete(kernel, ifindex)


async def delete(kernel: AsyncIPRoute, ifindex: int) -> None:
    """Delete a link that may have vanished already; NetlinkError where the kernel refuses."""
    try:
        await kernel.link("del", index=ifindex)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def index(bundle: str) -> int:
    """Return the ifindex of the device that carries the bundle's mark, else of its name; else 0."""
    return _marked(mark_of(bundle))[0] or named(bundle)


def named(name: str) -> int:
    """Return the ifindex of the link of this name, ours or not; 0 where there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _marked(mark: str) -> tuple[int, int]:
    """Return ifindex and flags of the link with an alternative name, zeros where there is none.

    if_nametoindex(3) takes no more than 15 bytes.
    """
    name = os.fsencode(mark) + b"\0"
    attribute = struct.pack("=HH", 4 + len(name), _IFLA_ALT_IFNAME) + name
    body = bytes(16) + attribute + bytes(-len(attribute) % 4)
    header = struct.pack("=IHHII", 16 + len(body), RTM_GETLINK, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(10)
        kernel.send(header + body)
        answer = kernel.recv(65536)
    kind, ifindex, flags = struct.unpack_from("=4xH14xiI", answer)
    return (ifindex, flags) if kind == RTM_NEWLINK else (0, 0)
