"""The kernel module at work, inside the emulated kernel, which has loaded it; test_kmod.py runs it.

``IPEQL_CYCLES`` says how often devices and the module come and go; 10 by default.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from typing import TypeVar

import pytest

from ipeql.backends.kmod.backend import KmodBackend
from ipeql.lab import netns
from ipeql.lab.hosts import Lab
from ipeql.lab.traffic import UdpResult, UdpStream
from ipeql.state import BundleStatistics, BundleTable, SlaveRow
from tests.netns.bundle import RECEIVERS, wait_for
from tests.vm.recorder import MODULE

pytestmark = pytest.mark.netns

T = TypeVar("T")

CYCLES = int(os.environ.get("IPEQL_CYCLES", "10"))
LINKS = 4
RATE = 200
"""Datagrams a second."""

LAG = 60 * 10**6
BY_HAND = (
    "link add ipeql0 type ipeql",
    "address add 10.9.0.1/24 dev ipeql0",
    "address add fd00:9::1/64 dev ipeql0 nodad",
    "link set ipeql0 up",
    "link set eth1 master ipeql0",
    "link set eth2 master ipeql0",
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * LINKS) as lab:
        lab.plain_receiver()
        yield lab


def ip(lab: Lab, *commands: str) -> None:
    lab.a.call(
        lambda: subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, timeout=600
        )
    )


@pytest.fixture
def bundle(lab: Lab) -> Iterator[None]:
    """Have ipeql0 over eth1 and eth2, by iproute2 alone."""
    ip(lab, *BY_HAND)
    yield
    ip(lab, "link del ipeql0")


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
def traffic(lab: Lab, *receivers: str) -> Iterator[list[UdpResult]]:
    """Send datagrams during the context; AssertionError where one is lost."""
    streams = [UdpStream(lab, to, rate=RATE) for to in receivers or RECEIVERS[:1]]
    results: list[UdpResult] = []
    try:
        yield results
    finally:
        results += [stream.finish() for stream in streams]
    for result in results:
        assert (result.lost, result.duplicated) == (0, 0), f"of {result.sent}"


@pytest.mark.usefixtures("bundle")
def test_iproute2_alone_makes_a_bundle_that_stripes(lab: Lab) -> None:
    with traffic(lab):
        wait_for(lambda: sum(each.packets for each in statistics(lab).slaves) > 200)
    first, second = (each.packets for each in statistics(lab).slaves)
    assert 0.9 < second / first < 1.1  # the first has the kernel's own multicasts too
    shown = lab.a.run("ethtool", "-S", "ipeql0")
    assert f"eth1_packets: {first}" in shown
    ip(lab, "link set eth1 nomaster")
    with traffic(lab):
        wait_for(carries(lab, "eth2"))


@pytest.mark.usefixtures("bundle")
def test_the_first_packet_to_every_fresh_neighbour_arrives(lab: Lab) -> None:
    rows = tuple(row(number) for number in range(1, LINKS + 1))
    for family in ("-4", "-6"):
        lab.a.run("ip", family, "neigh", "flush", "all")
    configure(lab, BundleTable("round_robin", slaves=rows))
    with traffic(lab, *RECEIVERS):
        wait_for(carries(lab, *(each.name for each in rows)))


def set_up(lab: Lab, up: bool) -> None:
    lab.a.set_up("eth2", up)


def set_carrier(lab: Lab, carrier: bool) -> None:
    lab.set_carrier(lab.a, "eth2", carrier)


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("fail", [set_up, set_carrier])
def test_a_slave_fails_and_nothing_is_lost(lab: Lab, fail: Callable[[Lab, bool], None]) -> None:
    with traffic(lab):
        wait_for(carries(lab, "eth1", "eth2"))
        fail(lab, False)
        wait_for(carries(lab, "eth1"))
        fail(lab, True)
        wait_for(carries(lab, "eth1", "eth2"))


@pytest.mark.usefixtures("bundle")
def test_the_carrier_of_a_bundle_is_its_slaves(lab: Lab) -> None:
    lab.a.wait_running("ipeql0")
    for end in ("eth1", "eth2"):
        lab.a.set_up(end, False)
    lab.a.wait_running("ipeql0", False)
    for end in ("eth1", "eth2"):
        lab.a.set_up(end)
    lab.a.wait_running("ipeql0")


@pytest.mark.usefixtures("bundle")
def test_the_mtu_of_a_bundle_is_its_smallest_slave_s(lab: Lab) -> None:
    def mtu() -> int:
        (shown,) = json.loads(lab.a.run("ip", "-j", "link", "show", "ipeql0"))
        return int(shown["mtu"])

    assert mtu() == 1500
    for size in (1400, 1500):
        ip(lab, f"link set eth2 mtu {size}")
        assert mtu() == size
    with pytest.raises(subprocess.CalledProcessError):
        ip(lab, "link set ipeql0 mtu 1501")


@pytest.mark.usefixtures("bundle")
def test_every_method_change_loses_nothing(lab: Lab) -> None:
    rows = row(1), row(2)
    with traffic(lab):
        for method in sorted(asked(lab, KmodBackend.capabilities).methods):
            configure(lab, BundleTable(method, slaves=rows))
            wait_for(carries(lab))


@pytest.mark.usefixtures("bundle")
def test_paths_of_unequal_lag_deliver_in_order(lab: Lab) -> None:
    rows = row(1, 10**5), row(2, 10**5, LAG)
    lab.a.run("tc", "qdisc", "add", "dev", "eth2", "root", "netem", "delay", "60ms")
    try:
        configure(lab, BundleTable("bw_lag_eq", slaves=rows))
        stream = UdpStream(lab, rate=100)
        wait_for(carries(lab, "eth1", "eth2"))
        result = stream.finish()
    finally:
        lab.a.run("tc", "qdisc", "del", "dev", "eth2", "root")
    assert result.lost == 0
    assert result.delay >= LAG
    # Half of them without holding; an emulated processor that stands still mixes up some.
    assert result.reordered < 0.25


def test_devices_come_and_go_under_traffic(lab: Lab) -> None:
    once = (
        *BY_HAND,
        "link set eth1 nomaster",
        "link set eth2 down",
        "link set eth2 up",
        "link set eth1 master ipeql0",
        "link del ipeql0",
    )
    with flood(lab):
        ip(lab, *(once * CYCLES))


def test_the_module_comes_and_goes_under_traffic(lab: Lab) -> None:
    with flood(lab):
        for _ in range(CYCLES):
            ip(lab, *BY_HAND)
            subprocess.run(["rmmod", "ipeql"], check=True, timeout=60)
            subprocess.run(["insmod", MODULE], check=True, timeout=60)


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
