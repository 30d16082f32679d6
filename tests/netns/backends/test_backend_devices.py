"""What is asked of links and next hops of the dataplanes in the kernel; in a bare namespace."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from struct import pack

import pytest
from pyroute2 import AsyncIPRoute

from ipeql.backends.base import Backend
from ipeql.backends.bpf import dataplane
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.kmod.backend import MODULE, KmodBackend
from ipeql.backends.tun.device import open_device
from ipeql.state import BundleTable, SlaveRow
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, HELLO, TABLE, TWO_LINKS, bundle, listener, received, send

pytestmark = pytest.mark.netns

GROUP = "239.1.2.3"
TUNS = ("tun1", "tun2")
TUNSETCARRIER = 0x400454E2
IFF_RUNNING = 0x40
ROUNDS = 10
SETTLE_S = 0.05
PACKETS = 10


def make_bpf() -> Backend:
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    return BpfBackend()


MAKERS: dict[str, Callable[[], Backend]] = {"bpf": make_bpf}
if MODULE.exists():  # in the emulated kernel; elsewhere a skip would be a failure of CI
    MAKERS["kmod"] = KmodBackend


@pytest.fixture(params=[*MAKERS])
def backend(request: pytest.FixtureRequest) -> Backend:
    return MAKERS[request.param]()


def test_a_link_without_header_gets_bare_packets(namespace: Namespace, backend: Backend) -> None:
    async def body() -> None:
        descriptor = open_device("tun1")
        try:
            await asyncio.to_thread(namespace.ip, "link set tun1 up")
            row = SlaveRow(socket.if_nametoindex("tun1"), "tun1", overhead=0)
            async with bundle(backend, namespace, BundleTable("round_robin", slaves=(row,))):
                send("10.9.0.2", 1)
                packets = [await read(descriptor)]
                while not packets[-1].endswith(HELLO):
                    packets.append(await read(descriptor))
                assert packets[-1][10] == 0x45  # after the virtio-net header
        finally:
            os.close(descriptor)

    namespace.run(body)


async def read(descriptor: int) -> bytes:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
        return os.read(descriptor, 2000)
    finally:
        loop.remove_reader(descriptor)


def set_carrier(descriptor: int, carrier: bool) -> None:
    """Give or take a TUN device its carrier."""
    fcntl.ioctl(descriptor, TUNSETCARRIER, pack("i", carrier))


async def runs(name: str, expected: bool) -> None:
    """Wait until the kernel has dealt with a change of a link's carrier."""
    async with AsyncIPRoute() as kernel:
        while True:
            (link,) = await kernel.link("get", index=socket.if_nametoindex(name))
            if bool(link["flags"] & IFF_RUNNING) == expected:
                return
            await asyncio.sleep(0.01)


def taken(descriptor: int) -> int:
    """Return how many packets of ours a TUN device has sent since the last call."""
    count = 0
    with suppress(BlockingIOError):
        while packet := os.read(descriptor, 2000):
            count += packet.endswith(HELLO)
    return count


def test_a_link_whose_carrier_returns_loses_nothing(namespace: Namespace, backend: Backend) -> None:
    async def body() -> None:
        descriptors = [open_device(name) for name in TUNS]
        try:
            await asyncio.to_thread(namespace.ip, *(f"link set {name} up" for name in TUNS))
            rows = tuple(SlaveRow(socket.if_nametoindex(name), name, overhead=0) for name in TUNS)
            async with bundle(backend, namespace, BundleTable("round_robin", slaves=rows)):
                with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                    sock.connect(("10.9.0.2", 9))
                    for _ in range(ROUNDS):
                        set_carrier(descriptors[0], False)
                        await runs(TUNS[0], False)
                        sock.send(HELLO)
                        set_carrier(descriptors[0], True)
                        for _ in range(PACKETS):
                            sock.send(HELLO)
                        await runs(TUNS[0], True)
                        await asyncio.sleep(SETTLE_S)
                        assert sum(map(taken, descriptors)) == PACKETS + 1
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    namespace.run(body)


def test_multicast_takes_the_first_usable_slave(namespace: Namespace, backend: Backend) -> None:
    namespace.ip(*TWO_LINKS)
    first_down: Callable[[], None] = lambda: namespace.ip("link set eth1 down")  # noqa: E731

    async def body() -> None:
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(backend, namespace):
                await asyncio.to_thread(namespace.ip, f"route add {GROUP} dev {BUNDLE}")
                send(GROUP, 2)
                for _ in range(2):
                    assert received(first)[:6] == bytes.fromhex("01005e010203")
                await asyncio.to_thread(first_down)
                send(GROUP, 1)
                assert received(second)[:6] == bytes.fromhex("01005e010203")

    namespace.run(body)


def test_the_broadcast_of_a_subnet_is_placed_by_the_method(
    namespace: Namespace, backend: Backend
) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(backend, namespace):
                with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    for _ in range(4):
                        sock.sendto(HELLO, ("10.9.0.255", 9))
                for _ in range(2):
                    assert received(first)[:6] == b"\xff" * 6
                    assert received(second)[:6] == b"\xff" * 6

    namespace.run(body)


def test_auto_bw_reads_the_queues_of_the_slaves(namespace: Namespace, backend: Backend) -> None:
    namespace.ip(*TWO_LINKS)
    shape = "tc qdisc replace dev eth1 root tbf rate 8kbit burst 1540 limit 100000"
    payload = bytes(1000)

    def send_large(count: int) -> None:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            for _ in range(count):
                sock.sendto(payload, ("10.9.0.2", 9))

    async def body() -> None:
        async with bundle(backend, namespace, replace(TABLE, method="auto_bw")):

            async def carried() -> list[int]:
                return [slave.packets for slave in (await backend.statistics(BUNDLE)).slaves]

            before = await carried()
            send_large(20)
            first, second = await carried()
            assert first - before[0] >= 20, "no queue: the first in order"
            assert second == before[1]
            await asyncio.to_thread(namespace.run_program, *shape.split())
            send_large(20)
            now = await carried()
            assert now[1] - second >= 17, "one that waits is enough to take the other"

    namespace.run(body)


@pytest.mark.parametrize("end", ["eth1", "far1"], ids=["set_down", "carrier_lost"])
def test_a_link_that_goes_down_gets_no_packet_more(
    namespace: Namespace, backend: Backend, end: str
) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(backend, namespace):

            async def carried() -> list[int]:
                return [slave.packets for slave in (await backend.statistics(BUNDLE)).slaves]

            send("10.9.0.2", 10)
            assert all(await carried())
            await asyncio.to_thread(namespace.ip, f"link set {end} down")
            before = await carried()  # not earlier: the first has the kernel's own multicasts too
            send("10.9.0.2", 10)
            after = await carried()
            assert (after[0], after[1] >= before[1] + 10) == (before[0], True)
            again = (f"link set {end} up", TWO_LINKS[3].replace("neigh add", "neigh replace"))
            await asyncio.to_thread(namespace.ip, *again)
            while (await carried())[0] < before[0] + 4:  # a moment after it is up
                send("10.9.0.2", 10)

    namespace.run(body)


@pytest.mark.parametrize(
    ("far", "gateways"),
    [
        ("192.168.77.1", ("via 10.9.0.2", "via 10.9.0.3")),
        ("fd00:77::1", ("via fd00:9::2", "via fd00:9::3")),
        ("192.168.77.1", ("via inet6 fd00:9::2", "via inet6 fd00:9::3")),
    ],
    ids=["ipv4", "ipv6", "ipv4_by_ipv6"],
)
def test_a_route_that_changes_takes_its_packets_along(
    namespace: Namespace, backend: Backend, far: str, gateways: tuple[str, str]
) -> None:
    known = (
        f"neigh replace {subnet}{number} lladdr 02:00:00:00:00:0{number} dev eth1"
        for subnet in ("10.9.0.", "fd00:9::")
        for number in (2, 3)
    )
    namespace.ip(*TWO_LINKS, *known)
    only = replace(TABLE, slaves=TABLE.slaves[:1])

    async def body() -> None:
        async with bundle(backend, namespace, only):
            with closing(listener("far1")) as end:
                for gateway in (*gateways, gateways[0]):
                    route = f"route replace {far} {gateway} dev {BUNDLE}"
                    await asyncio.to_thread(namespace.ip, route)
                    for _ in range(3):
                        send(far, 1)
                        assert received(end)[:6] == bytes([2, 0, 0, 0, 0, int(gateway[-1])])

    namespace.run(body)
