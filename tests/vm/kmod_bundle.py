"""A bundle of the kernel module under test: its table, what it counts, traffic over it."""

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ipaddress import IPv6Address
from typing import TypeVar

from ipeql.backends.kmod.backend import KmodBackend
from ipeql.state import BundleStatistics, BundleTable, SlaveRow
from lab.network import netns
from lab.network.hosts import Lab
from lab.network.traffic import UdpResult, UdpStream
from tests.netns.bundle import RECEIVERS

T = TypeVar("T")

RATE = 200
"""Datagrams a second."""

BY_HAND = (
    "link add ipeql0 type ipeql",
    "address add 10.9.0.1/24 dev ipeql0",
    "address add fd00:9::1/64 dev ipeql0 nodad",
    "link set ipeql0 up",
    "link set eth1 master ipeql0",
    "link set eth2 master ipeql0",
)


def ip(lab: Lab, *commands: str) -> None:
    lab.a.call(
        lambda: subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, timeout=600
        )
    )


def row(number: int, bandwidth: int = 10**8, lag: int = 0) -> SlaveRow:
    via6 = IPv6Address(f"fd77:{number}::2")
    return SlaveRow(999 + number, f"eth{number}", bandwidth, lag, via6=via6)


def asked(lab: Lab, body: Callable[[KmodBackend], T]) -> T:
    return netns.inside(lab.a.netns, lambda: body(KmodBackend()))


def configure(lab: Lab, table: BundleTable) -> None:
    asked(lab, lambda backend: asyncio.run(backend.configure("ipeql0", table)))


def statistics(lab: Lab) -> BundleStatistics:
    return asked(lab, lambda backend: asyncio.run(backend.statistics("ipeql0")))


def carries(lab: Lab, *names: str) -> Callable[[], bool]:
    """Return a condition: the slaves named, or any at all, are those that have sent since now."""
    before = {each.name: each.packets for each in statistics(lab).slaves}

    def sent() -> bool:
        now = statistics(lab).slaves
        found = {each.name for each in now if each.packets > before.get(each.name, 0)}
        return found == {*names} if names else bool(found)

    return sent


@contextmanager
def traffic(lab: Lab, *receivers: str, rate: int = RATE) -> Iterator[list[UdpResult]]:
    """Send datagrams during the context; AssertionError where one is lost."""
    streams = [UdpStream(lab, to, rate=rate) for to in receivers or RECEIVERS[:1]]
    results: list[UdpResult] = []
    try:
        yield results
    finally:
        results += [stream.finish() for stream in streams]
    for result in results:
        assert (result.lost, result.duplicated) == (0, 0), f"of {result.sent}"


@contextmanager
def flow(
    lab: Lab, receiver: str, kind: socket.SocketKind
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield a socket in host a that is connected to a port of host b, and the socket there."""
    family = socket.AF_INET6 if ":" in receiver else socket.AF_INET
    create: Callable[[], socket.socket] = lambda: socket.socket(family, kind)  # noqa: E731
    with closing(netns.inside(lab.a.netns, create)) as here:
        with closing(netns.inside(lab.b.netns, create)) as there:
            for sock in (here, there):
                sock.settimeout(10)
            there.bind((receiver, 0))
            if kind is socket.SOCK_STREAM:
                there.listen()
            here.connect(there.getsockname()[:2])
            if kind is not socket.SOCK_STREAM:
                yield here, there
                return
            with closing(there.accept()[0]) as accepted:
                accepted.settimeout(10)
                yield here, accepted


@contextmanager
def flood(lab: Lab) -> Iterator[None]:
    """Send as fast as can be to where no route may lead."""
    script = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    while True:
        try:
            sock.sendto(bytes(1000), ("10.9.0.2", 9))
        except OSError:
            pass
"""
    process = lab.a.popen("python3", "-c", script)
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
