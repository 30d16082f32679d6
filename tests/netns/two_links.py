"""A bundle over two bare links: what is sent to it, and what comes out at their far ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from ipeql.backends.base import Backend
from ipeql.state import BundleTable, SlaveRow
from tests.netns.conftest import Namespace

BUNDLE = "ipeql0"
HELLO = b"hello"
ETH_P_ALL = 3

TWO_LINKS = tuple(
    command
    for number in (1, 2)
    for command in (
        f"link add eth{number} index {10 + number} type veth peer name far{number}",
        f"link set eth{number} up",
        f"link set far{number} up",
        f"neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev eth{number}",
    )
)
TABLE = BundleTable("round_robin", slaves=(SlaveRow(11, "eth1"), SlaveRow(12, "eth2")))


@asynccontextmanager
async def bundle(
    backend: Backend, namespace: Namespace, table: BundleTable = TABLE
) -> AsyncIterator[None]:
    """Have a bundle with ``table`` that is up and has an address, gone afterwards."""
    try:
        await backend.create(BUNDLE)
        await backend.configure(BUNDLE, table)
        await asyncio.to_thread(
            namespace.ip,
            f"link set {BUNDLE} up",
            f"address add 10.9.0.1/24 dev {BUNDLE}",
            f"address add fd00:9::1/64 dev {BUNDLE} nodad",
        )
        yield
    finally:
        await backend.destroy(BUNDLE)


def send(to: str, count: int) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        for _ in range(count):
            sock.sendto(HELLO, (to, 9))


def listener(link: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((link, ETH_P_ALL))
    sock.settimeout(5)
    return sock


def received(sock: socket.socket) -> bytes:
    """Return the next frame that is ours."""
    while not (frame := sock.recv(2000)).endswith(HELLO):
        pass
    return frame
