"""What the TUN dataplane puts on the wire: whose address asks, from which card, by which link."""

import asyncio
import socket
import struct
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ipeql.backends.tun.backend import TunBackend
from ipeql.backends.tun.worker.rtnl import Requests
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, HELLO, TABLE, TWO_LINKS, bundle, listener, received, send

pytestmark = pytest.mark.netns

ETH_P_ARP = 0x0806
SO_MARK, SO_RCVMARK = 36, 75
GROUP = "239.1.2.3"
NEW_MAC = "02:00:00:aa:bb:cc"


def asked_by(sock: socket.socket, target: str) -> str:
    """Return the sender of the next ARP request for ``target``."""
    while True:
        frame = sock.recv(2000)
        if int.from_bytes(frame[12:14], "big") != ETH_P_ARP or frame[21] != 1:
            continue
        if frame[38:42] == socket.inet_aton(target):
            return socket.inet_ntoa(frame[28:32])


def test_arp_asks_with_the_address_of_the_bundle(namespace: Namespace, tmp_path: Path) -> None:
    other = ("link add mgmt0 type veth peer name mgmt1", "address add 192.168.50.5/24 dev mgmt0")
    namespace.ip(*TWO_LINKS, *other, "link set mgmt0 up", "link set mgmt1 up")

    async def body() -> None:
        async with bundle(TunBackend(tmp_path), namespace):
            with closing(listener("far1")) as end:
                send("10.9.0.77", 1)
                for _ in range(3):
                    assert await asyncio.to_thread(asked_by, end, "10.9.0.77") == "10.9.0.1"

    namespace.run(body)


def test_arp_asks_with_the_slaves_address_in_its_own_subnet(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*TWO_LINKS, "address add 10.77.1.1/24 dev eth1")

    async def body() -> None:
        async with bundle(TunBackend(tmp_path), namespace):
            route = f"route add 10.77.1.9 dev {BUNDLE}"
            await asyncio.to_thread(namespace.ip, route)
            with closing(listener("far1")) as end:
                send("10.77.1.9", 1)
                assert await asyncio.to_thread(asked_by, end, "10.77.1.9") == "10.77.1.1"

    namespace.run(body)


def test_frames_carry_the_mac_that_the_slave_has_now(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(TunBackend(tmp_path), namespace):
            with closing(listener("far1")) as end:
                send("10.9.0.2", 2)
                assert received(end)[6:12].hex(":") != NEW_MAC
                again = (
                    f"link set eth1 address {NEW_MAC}",
                    TWO_LINKS[3].replace("neigh add", "neigh replace"),
                )
                await asyncio.to_thread(namespace.ip, *again)
                await asyncio.sleep(0.2)
                send("10.9.0.2", 2)
                assert received(end)[6:12].hex(":") == NEW_MAC

    namespace.run(body)


def test_groups_take_the_first_usable_slave(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(TunBackend(tmp_path), namespace):
                await asyncio.to_thread(namespace.ip, f"route add {GROUP} dev {BUNDLE}")
                send(GROUP, 2)
                for _ in range(2):
                    assert received(first)[:6] == bytes.fromhex("01005e010203")
                await asyncio.to_thread(namespace.ip, "link set eth1 down")
                await asyncio.sleep(0.2)
                send(GROUP, 1)
                assert received(second)[:6] == bytes.fromhex("01005e010203")

    namespace.run(body)


def marks_at(sock: socket.socket, count: int) -> list[int]:
    """Return the marks of the next packets of ours that leave by a link."""
    found: list[int] = []
    while len(found) < count:
        data, ancillary, _, _ = sock.recvmsg(2000, 64)
        if data.endswith(HELLO):
            found += [
                int.from_bytes(value, sys.byteorder)
                for level, kind, value in ancillary
                if (level, kind) == (socket.SOL_SOCKET, SO_MARK)
            ] or [0]
    return found


@pytest.mark.parametrize("to", ["10.9.0.2", "fd00:9::2"])
def test_a_packets_mark_is_on_it_when_it_leaves_by_a_slave(
    namespace: Namespace, tmp_path: Path, to: str
) -> None:
    namespace.ip(*TWO_LINKS, "neigh add fd00:9::2 lladdr 02:00:00:00:00:02 dev eth1")
    only = replace(TABLE, slaves=TABLE.slaves[:1])

    async def body() -> None:
        async with bundle(TunBackend(tmp_path), namespace, only):
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            with (
                closing(listener("eth1")) as end,
                closing(socket.socket(family, socket.SOCK_DGRAM)) as sock,
            ):
                end.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
                wanted = [5, 0xDEADBEEF, 0, 5, 7]
                for mark in wanted:
                    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", mark))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, mark & 7)
                    sock.sendto(HELLO, (to, 9))
                assert await asyncio.to_thread(marks_at, end, len(wanted)) == wanted

    namespace.run(body)


def checksum(data: bytes) -> bytes:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")


def ipv4(source: str, to: str, protocol: int, payload: bytes) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(to)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + addresses
    return head[:10] + checksum(head) + head[12:] + payload


def test_an_icmp_redirect_from_the_wire_moves_no_packet(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*TWO_LINKS, "link set eth1 address 02:00:00:00:00:01")
    far = "192.168.40.1"

    async def body() -> None:
        async with bundle(TunBackend(tmp_path), namespace):
            await asyncio.to_thread(namespace.ip, f"route add {far} via 10.9.0.2 dev {BUNDLE}")
            with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                sock.bind(("10.9.0.1", 5555))
                sock.connect((far, 9))
                sock.send(HELLO)
                quoted = ipv4("10.9.0.1", far, 17, struct.pack("!HHHH", 5555, 9, 13, 0))
                icmp = struct.pack("!BBH4s", 5, 1, 0, socket.inet_aton("10.9.0.66")) + quoted
                icmp = icmp[:2] + checksum(icmp) + icmp[4:]
                frame = bytes.fromhex("020000000001020000000002") + b"\x08\x00"
                with closing(listener("far1")) as wire:
                    for _ in range(3):
                        wire.send(frame + ipv4("10.9.0.2", "10.9.0.1", 1, icmp))
                await asyncio.sleep(0.2)
            route = Requests().route(socket.inet_aton(far), socket.if_nametoindex(BUNDLE))
            assert socket.inet_ntoa(route.gateway) == "10.9.0.2"

    namespace.run(body)
