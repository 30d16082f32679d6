"""A bundle's device is an interface like any other: what is sent passes all that is put on it."""

import asyncio
import json
import socket
import struct
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.backends.tun.backend import TunBackend
from tests.netns.backends.test_backend_devices import MAKERS
from tests.netns.conftest import Namespace
from tests.netns.packets import frames, interface
from tests.netns.two_links import BUNDLE, HELLO, TABLE, TWO_LINKS, bundle, listener, send

pytestmark = pytest.mark.netns

FAR = "10.9.0.2"
SO_MARK, SO_RCVMARK = 36, 75  # include/uapi/asm-generic/socket.h
ONLY = replace(TABLE, slaves=TABLE.slaves[:1])
LISTENED_S = 0.3
SHAPED_S = 1.0
SENT = 50


@pytest.fixture(params=[*MAKERS, "tun"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return TunBackend(tmp_path) if request.param == "tun" else MAKERS[request.param]()


def told(*command: str) -> str:
    """Return what a program says in the namespace of the test, whose thread calls this."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout


async def carried(backend: Backend) -> tuple[int, int]:
    """Return the packets and bytes of all slaves."""
    slaves = (await backend.statistics(BUNDLE)).slaves
    return sum(slave.packets for slave in slaves), sum(slave.bytes for slave in slaves)


def test_packet_sockets_and_counters_see_every_packet(
    namespace: Namespace, backend: Backend
) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(backend, namespace):
            with closing(listener(BUNDLE)) as tap:
                await asyncio.sleep(LISTENED_S)  # for the kernel's own multicasts
                before = interface("tx")
                send(FAR, SENT)
                after = interface("tx")
                assert after - before >= SENT
                tap.setblocking(False)
                assert sum(frame.endswith(HELLO) for frame in frames(tap)) == SENT

    namespace.run(body)


def test_a_shaper_shapes(namespace: Namespace, backend: Backend) -> None:
    namespace.ip(*TWO_LINKS)
    shape = f"tc qdisc replace dev {BUNDLE} root tbf rate 4mbit burst 5kb latency 50ms"

    async def body() -> None:
        async with bundle(backend, namespace):
            told(*shape.split())
            _, before = await carried(backend)
            begin = time.monotonic()
            with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                while time.monotonic() < begin + SHAPED_S:
                    for _ in range(50):
                        sock.sendto(bytes(1000), (FAR, 9))
                    await asyncio.sleep(0.01)
            _, after = await carried(backend)
            rate = (after - before) * 8 / (time.monotonic() - begin)
            assert 1e6 < rate <= 4.1e6

    namespace.run(body)


@pytest.mark.parametrize("kind", ["fq_codel", "htb default 1", "prio", "fq"])
def test_every_queueing_discipline_can_be_attached(
    namespace: Namespace, backend: Backend, kind: str
) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(backend, namespace):
            command = f"tc qdisc replace dev {BUNDLE} root handle 1: {kind}".split()
            if subprocess.run(command, check=False, capture_output=True, timeout=10).returncode:
                return  # this kernel has none
            before, _ = await carried(backend)
            send(FAR, SENT)
            await asyncio.sleep(LISTENED_S)
            after, _ = await carried(backend)
            assert after - before >= SENT
            (shown,) = json.loads(told("tc", "-s", "-j", "qdisc", "show", "dev", BUNDLE))
            assert shown["packets"] >= SENT

    namespace.run(body)


RULES = f"""
table netdev ipeql_test {{
    chain below {{
        type filter hook egress device {BUNDLE} priority 0
        udp dport 9 counter
        udp dport 10 drop
    }}
}}
table inet ipeql_test {{
    chain above {{
        type filter hook output priority 0
        oifname {BUNDLE} udp dport 9 counter
    }}
}}
"""


def test_netfilter_sees_and_drops(namespace: Namespace, backend: Backend) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(backend, namespace):
            told("nft", RULES)
            with closing(listener("far1")) as first, closing(listener("far2")) as second:
                with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                    for port in (10, 9):
                        for _ in range(SENT):
                            sock.sendto(HELLO, (FAR, port))
                await asyncio.sleep(LISTENED_S)
                first.setblocking(False)
                second.setblocking(False)
                came = [*frames(first), *frames(second)]
            assert sum(frame.endswith(HELLO) for frame in came) == SENT
            rules = told("nft", "list", "ruleset")
            assert rules.count(f"counter packets {SENT} ") == 2

    namespace.run(body)


CLASSES = (
    "qdisc add dev eth1 root handle 1: htb default 1",
    "class add dev eth1 parent 1: classid 1:1 htb rate 1gbit quantum 1500",
    "class add dev eth1 parent 1: classid 1:10 htb rate 1gbit quantum 1500",
)
"""htb takes a priority for the number of a class, and counts what that has sent."""


def test_mark_and_priority_are_kept(namespace: Namespace, backend: Backend) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        async with bundle(backend, namespace, ONLY):
            send(FAR, 1)  # the next hop is known from now on
            await asyncio.sleep(LISTENED_S)
            for command in CLASSES:
                told("tc", *command.split())
            with (
                closing(listener("eth1")) as end,
                closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock,
            ):
                end.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
                sock.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", 7))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 0x10010)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, BUNDLE.encode())
                for _ in range(SENT):
                    sock.sendto(HELLO, (FAR, 9))
                await asyncio.sleep(LISTENED_S)
                end.setblocking(False)
                marks: list[bytes] = []
                while len(marks) < SENT:
                    data, ancillary, _, _ = end.recvmsg(2000, 64)
                    if data.endswith(HELLO):
                        marks += [value for _, kind, value in ancillary if kind == SO_MARK]
                assert marks == [struct.pack("=I", 7)] * SENT
                shown = told("tc", "-s", "class", "show", "dev", "eth1").partition("htb 1:10")[2]
                assert f" {SENT} pkt" in shown.partition("class")[0]

    namespace.run(body)
