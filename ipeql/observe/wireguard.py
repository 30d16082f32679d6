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
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic.wireguard import AsyncWireGuard, wgmsg

from ipeql.observe.dump import attributes, dump, repeated
from ipeql.state import Address, Link

KIND = "wireguard"
"""Of the kernel's links, as rtnetlink calls it."""

_SOCKETS = Path("/var/run/wireguard")
_TIMEOUT_S = 1.0
_MOST_SAID = 1 << 20

_GET_DEVICE = 0
_FWMARK, _PEERS, _ENDPOINT = 7, 8, 4
_GENL_HEADER = 4
_PORT = 2


class Device(NamedTuple):
    """What is known of a WireGuard link. ``mark`` 0: none. ``far_end``: of its only peer."""

    mark: int
    far_end: Address | None


def is_one(link: Link) -> bool:
    """Say whether a link is WireGuard's."""
    return link.kind == KIND or (link.kind == "tun" and path(link.name).is_socket())


def path(name: str) -> Path:
    """Return where the socket of a link in user space is, if it has one."""
    return _SOCKETS / f"{name}.sock"


class Reader:
    """Reads WireGuard links; an async context manager."""

    def __init__(self) -> None:
        self._kernel: AsyncWireGuard | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._kernel:
            await self._kernel.close()

    async def read(self, link: Link) -> Device | None:
        """Return what is known of a link; None where it cannot be asked, or has gone meanwhile."""
        try:
            if link.kind == KIND:
                return await self._by_netlink(link.ifindex)
            return _said(await converse(link.name, "get=1"))
        except (NetlinkError, OSError, ValueError):
            return None

    async def _by_netlink(self, ifindex: int) -> Device:
        if not self._kernel:
            self._kernel = AsyncWireGuard()
            await self._kernel.setup_endpoint()
        request = wgmsg()
        request["cmd"] = _GET_DEVICE
        request["attrs"] = [("WGDEVICE_A_IFINDEX", ifindex)]
        mark, ends = 0, []
        for message in await dump(self._kernel, self._kernel.prid, request, _GENL_HEADER):
            given = message.attributes
            mark = int.from_bytes(given.get(_FWMARK, b""), sys.byteorder)
            ends += [
                attributes(peer).get(_ENDPOINT, b"") for peer in repeated(given.get(_PEERS, b""), 0)
            ]
        return Device(mark, _address(ends[0]) if len(ends) == 1 else None)


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
