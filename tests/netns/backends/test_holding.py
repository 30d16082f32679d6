"""What a dataplane does that holds packets: ``bw_lag_eq``."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.backends.bpf import dataplane, holder
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.kmod.backend import MODULE, KmodBackend
from ipeql.backends.tun.backend import TunBackend
from ipeql.state import BundleTable, SlaveRow
from ipeql.state.path import Adjusted
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, HELLO, TWO_LINKS, bundle, listener, send

pytestmark = pytest.mark.netns

MS = 10**6
MBIT = 10**6
TABLE = BundleTable(
    "bw_lag_eq",
    slaves=(
        SlaveRow(11, "eth1", bandwidth=10 * MBIT, lag=5 * MS),
        SlaveRow(12, "eth2", bandwidth=10 * MBIT, lag=300 * MS),
    ),
)
LATE = BundleTable(
    "bw_lag_eq",
    (("max_hold", 10_000 * MS),),
    slaves=(TABLE.slaves[0], replace(TABLE.slaves[1], lag=3000 * MS)),
)
"""Held longer than anything else takes, but for the wait at the far end."""

LINKS = (
    *TWO_LINKS,
    *(f"neigh add fd00:9::2 lladdr 02:00:00:00:00:02 dev eth{number}" for number in (1, 2)),
)
ACK = 0x10
SEGMENT = struct.pack("!HHIIBBH4x", 9, 9, 1, 1, 5 << 4, ACK, 1000)

MAKERS: dict[str, Callable[[Path], Backend]] = {"tun": TunBackend}
if not dataplane.unavailable() and not holder.lack():
    MAKERS["bpf"] = lambda _: BpfBackend()
if MODULE.exists():  # in the emulated kernel; elsewhere a skip would be a failure of CI
    MAKERS["kmod"] = lambda _: KmodBackend()


@pytest.fixture(params=[*MAKERS])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return MAKERS[request.param](tmp_path)


@pytest.mark.parametrize("to", ["10.9.0.2", "fd00:9::2"])
def test_a_lightnowledgement_overtakes_what_is_held(
    namespace: Namespace, backend: Backend, to: str
) -> None:
    async def body() -> None:
        await asyncio.to_thread(namespace.ip, *LINKS)
        async with bundle(backend, namespace, TABLE):
            with closing(listener("far1")) as far:
                send(to, 1)
                send_segment(to)
                assert ours(far).endswith(SEGMENT)
                assert ours(far).endswith(HELLO)

    namespace.run(body)


@pytest.mark.parametrize("to", ["10.9.0.2", "fd00:9::2"])
def test_what_is_held_for_a_slave_that_is_out_takes_another(
    namespace: Namespace, backend: Backend, to: str
) -> None:
    async def body() -> None:
        await asyncio.to_thread(namespace.ip, *LINKS)
        async with bundle(backend, namespace, LATE):
            with closing(listener("far2")) as far:
                send(to, 1)
                await backend.adjust(BUNDLE, {11: Adjusted(usable=False)})
                assert ours(far).endswith(HELLO)

    namespace.run(body)


def send_segment(to: str) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)) as sock:
        sock.sendto(SEGMENT, (to, 0))


def ours(sock: socket.socket) -> bytes:
    """Return the next frame that the test has sent."""
    while not (frame := sock.recv(2000)).endswith((HELLO, SEGMENT)):
        pass
    return frame
