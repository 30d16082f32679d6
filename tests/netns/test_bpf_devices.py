"""The devices of the bpf dataplane: what it stands on, what it sends over; in a bare namespace."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends.bpf import dataplane, device, libbpf
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.tun.device import open_device
from ipeql.state import BundleTable, SlaveRow
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

BUNDLE = "ipeql0"
HELLO = b"hello"
GROUP = "239.1.2.3"
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


@pytest.fixture(autouse=True)
def available() -> None:
    if reason := dataplane.unavailable():
        pytest.skip(reason)


@asynccontextmanager
async def bundle(namespace: Namespace, table: BundleTable) -> AsyncIterator[BpfBackend]:
    """Have a bundle with ``table`` that is up and has an address, gone afterwards."""
    backend = BpfBackend()
    try:
        await backend.create(BUNDLE)
        await backend.configure(BUNDLE, table)
        setup = (f"link set {BUNDLE} up", f"address add 10.9.0.1/24 dev {BUNDLE}")
        await asyncio.to_thread(namespace.ip, *setup)
        yield backend
    finally:
        await backend.destroy(BUNDLE)


def send(to: str, count: int) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
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


async def both_links_carry(namespace: Namespace) -> None:
    with closing(listener("far1")) as first, closing(listener("far2")) as second:
        async with bundle(namespace, TABLE):
            send("10.9.0.2", 2)
            for sock in (first, second):
                assert received(sock)[:6] == bytes.fromhex("020000000002")


@pytest.mark.parametrize("kind", device.KINDS)
def test_every_kind_of_device_will_do(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    namespace.ip(*TWO_LINKS)
    create = device.create
    monkeypatch.setattr(device, "create", lambda name: create(name, (kind,)))

    async def body() -> None:
        try:
            await create("probe", (kind,))
        except NetlinkError as error:
            assert error.code == errno.EOPNOTSUPP
            return  # this kernel has none: the next kind is for it
        await device.remove("probe")
        await both_links_carry(namespace)

    namespace.run(body)


def test_before_tcx_there_is_clsact(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace.ip(*TWO_LINKS)

    def refuse(*arguments: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(libbpf, "attach", refuse)
    namespace.run(lambda: both_links_carry(namespace))


def test_a_link_without_header_gets_bare_packets(namespace: Namespace) -> None:
    async def body() -> None:
        descriptor = open_device("tun1")
        try:
            await asyncio.to_thread(namespace.ip, "link set tun1 up")
            row = SlaveRow(socket.if_nametoindex("tun1"), "tun1", overhead=0)
            async with bundle(namespace, BundleTable("round_robin", slaves=(row,))):
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


def test_multicast_takes_the_first_usable_slave(namespace: Namespace) -> None:
    namespace.ip(*TWO_LINKS)
    first_down: Callable[[], None] = lambda: namespace.ip("link set eth1 down")  # noqa: E731

    async def body() -> None:
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(namespace, TABLE):
                await asyncio.to_thread(namespace.ip, f"route add {GROUP} dev {BUNDLE}")
                send(GROUP, 2)
                for _ in range(2):
                    assert received(first)[:6] == bytes.fromhex("01005e010203")
                await asyncio.to_thread(first_down)
                send(GROUP, 1)
                assert received(second)[:6] == bytes.fromhex("01005e010203")

    namespace.run(body)


def test_a_foreign_device_of_that_name_is_left_alone(namespace: Namespace) -> None:
    namespace.ip(f"link add {BUNDLE} type veth peer name far")

    async def body() -> None:
        backend = BpfBackend()
        with pytest.raises(Exception, match="another program's device"):
            await backend.create(BUNDLE)
        await backend.destroy(BUNDLE)
        assert device.index(BUNDLE)
        assert dataplane.pinned() == []

    namespace.run(body)


def test_auto_bw_reads_the_queues_of_the_slaves(namespace: Namespace) -> None:
    namespace.ip(*TWO_LINKS)
    shape = "tc qdisc replace dev eth1 root tbf rate 8kbit burst 1540 limit 100000"
    payload = bytes(1000)

    def send_large(count: int) -> None:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            for _ in range(count):
                sock.sendto(payload, ("10.9.0.2", 9))

    async def body() -> None:
        async with bundle(namespace, replace(TABLE, method="auto_bw")) as backend:

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
def test_a_link_that_goes_down_gets_no_packet_more(namespace: Namespace, end: str) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(namespace, TABLE) as backend:

            async def carried() -> list[int]:
                return [slave.packets for slave in (await backend.statistics(BUNDLE)).slaves]

            send("10.9.0.2", 10)
            before = await carried()
            assert all(before)
            await asyncio.to_thread(namespace.ip, f"link set {end} down")
            send("10.9.0.2", 10)
            after = await carried()
            assert (after[0], after[1] >= before[1] + 10) == (before[0], True)
            again = (f"link set {end} up", TWO_LINKS[3].replace("neigh add", "neigh replace"))
            await asyncio.to_thread(namespace.ip, *again)
            send("10.9.0.2", 10)
            assert (await carried())[0] >= before[0] + 4

    namespace.run(body)


def test_a_route_that_changes_takes_its_packets_along(namespace: Namespace) -> None:
    gateways = ("10.9.0.2", "10.9.0.3")
    namespace.ip(*TWO_LINKS, "neigh add 10.9.0.3 lladdr 02:00:00:00:00:03 dev eth1")
    only = replace(TABLE, slaves=TABLE.slaves[:1])

    async def body() -> None:
        async with bundle(namespace, only):
            with closing(listener("far1")) as far:
                for gateway in (*gateways, gateways[0]):
                    route = f"route replace 192.168.77.0/24 via {gateway} dev {BUNDLE}"
                    await asyncio.to_thread(namespace.ip, route)
                    for _ in range(3):
                        send("192.168.77.1", 1)
                        assert received(far)[:6] == bytes([2, 0, 0, 0, 0, int(gateway[-1])])

    namespace.run(body)
