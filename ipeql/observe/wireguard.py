"""WireGuard links: their peer's address and their firewall mark.

The kernel's are asked by generic netlink (include/uapi/linux/wireguard.h), those of wireguard-go
and others in user space by the socket that wg(8) uses, too
(https://www.wireguard.com/xplatform/).
"""

import asyncio
import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket
from pyroute2.netlink.generic.wireguard import (
    WG_CMD_GET_DEVICE,
    WG_CMD_SET_DEVICE,
    WG_GENL_NAME,
    WG_GENL_VERSION,
    wgmsg,
)

from ipeql.observe.dump import attributes, dump, repeated
from ipeql.state import Address, Link

KIND = "wireguard"
"""Of the kernel's links, as rtnetlink calls it."""

_SOCKETS = Path("/var/run/wireguard")
_TIMEOUT_S = 1.0
_MOST_SAID = 1 << 20

_FWMARK, _PEERS, _ENDPOINT = 7, 8, 4
_GENL_HEADER = 4
_PORT = 2


class Device(NamedTuple):
    """What is known of a WireGuard link. ``mark`` 0: none. ``far_end``: of its only peer."""

    mark: int
    far_end: Address | None


def is_one(link: Link) -> bool:
    """Say whether a link is WireGuard's."""
    try:
        return link.kind == KIND or (link.kind == "tun" and path(link.name).is_socket())
    except PermissionError:
        return False


def path(name: str) -> Path:
    """Return where the socket of a link in user space is, if it has one."""
    return _SOCKETS / f"{name}.sock"


class Family(AsyncGenericNetlinkSocket):  # type: ignore[misc]
    """The kernel's WireGuard, an async context manager; NetlinkError where it is not there."""

    module_err_level = "debug"

    async def __aenter__(self) -> Self:
        """Find the family."""
        await self.setup_endpoint()
        try:
            await self.bind(WG_GENL_NAME, wgmsg)
        except BaseException:
            self.close()
            raise
        return self

    async def read(self, ifindex: int) -> Device:
        """Return what is known of a link; NetlinkError where it is none."""
        request = wgmsg()
        request["cmd"], request["version"] = WG_CMD_GET_DEVICE, WG_GENL_VERSION
        request["attrs"] = [("WGDEVICE_A_IFINDEX", ifindex)]
        mark, ends = 0, []
        for message in await dump(self, self.prid, request, _GENL_HEADER):
            given = message.attributes
            mark = int.from_bytes(given.get(_FWMARK, b""), sys.byteorder)
            ends += [
                attributes(peer).get(_ENDPOINT, b"") for peer in repeated(given.get(_PEERS, b""), 0)
            ]
        return Device(mark, _address(ends[0]) if len(ends) == 1 else None)

    async def set_mark(self, ifindex: int, mark: int) -> None:
        """Set the mark of a link; NetlinkError where it is none."""
        message = wgmsg()
        message["cmd"], message["version"] = WG_CMD_SET_DEVICE, WG_GENL_VERSION
        message["attrs"] = [("WGDEVICE_A_IFINDEX", ifindex), ("WGDEVICE_A_FWMARK", mark)]
        async for _ in await self.nlm_request(message, self.prid, NLM_F_REQUEST | NLM_F_ACK):
            pass


async def read(links: Iterable[Link]) -> dict[int, Device]:
    """Return what is known of WireGuard links, by ifindex.

    Those are left out that cannot be asked, or have gone meanwhile.
    """
    found: dict[int, Device] = {}
    ours = [link for link in links if is_one(link)]
    with suppress(NetlinkError):
        if any(link.kind == KIND for link in ours):
            async with Family() as kernel:
                for link in ours:
                    if link.kind == KIND:
                        with suppress(NetlinkError):
                            found[link.ifindex] = await kernel.read(link.ifindex)
    for link in ours:
        if link.kind != KIND:
            with suppress(OSError, ValueError):
                found[link.ifindex] = _said(await converse(link.name, "get=1"))
    return found


def _address(packed: bytes) -> Address | None:
    """Return the address in a struct sockaddr_in or sockaddr_in6."""
    family = int.from_bytes(packed[:_PORT], sys.byteorder)
    if family == socket.AF_INET:
        return ipaddress.ip_address(packed[4:8])
    return ipaddress.ip_address(packed[8:24]) if family == socket.AF_INET6 else None


async def converse(name: str, *lines: str) -> str:
    """Send a request to a WireGuard link in user space, and return the answer.

    OSError where nobody answers, or the request is refused.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path(name), limit=_MOST_SAID)
            try:
                writer.write("".join(f"{line}\n" for line in (*lines, "")).encode())
                answer = (await reader.readuntil(b"\n\n")).decode()
            finally:
                writer.close()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise OSError(str(error)) from error
    if number := abs(int(dict(_pairs(answer)).get("errno", 0))):
        raise OSError(number, os.strerror(number))
    return answer


def _pairs(answer: str) -> Iterator[tuple[str, str]]:
    for line in answer.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def _said(answer: str) -> Device:
    pairs = list(_pairs(answer))
    ends = [value for key, value in pairs if key == "endpoint"]
    peers = sum(key == "public_key" for key, _ in pairs)
    host = ends[0].rpartition(":")[0].strip("[]").partition("%")[0] if ends else ""
    far_end = ipaddress.ip_address(host) if host and peers == 1 else None
    return Device(int(dict(pairs).get("fwmark", 0)), far_end)
