"""The kernel module at work, inside the emulated kernel, which has loaded it; test_kmod.py runs it.

``IPEQL_CYCLES`` says how often devices and the module come and go; 10 by default.
"""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from ipeql.backends.kmod.backend import KmodBackend
from ipeql.errors import ApplyError
from ipeql.state import BundleTable
from lab.network import netns
from lab.network.hosts import Lab
from lab.network.traffic import UdpStream
from tests.netns.bundle import RECEIVERS, TWICE, wait_for
from tests.vm.kmod_bundle import (
    BY_HAND,
    asked,
    carries,
    configure,
    flood,
    ip,
    row,
    statistics,
    traffic,
)
from tests.vm.recorder import MODULE

pytestmark = pytest.mark.netns

CYCLES = int(os.environ.get("IPEQL_CYCLES", "10"))
LINKS = 4
LAG = 60 * 10**6
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # include/uapi/linux/in.h


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * LINKS) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture
def bundle(lab: Lab) -> Iterator[None]:
    """Have ipeql0 over eth1 and eth2, by iproute2 alone."""
    ip(lab, *BY_HAND)
    yield
    ip(lab, "link del ipeql0")


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
    def mtu(name: str = "ipeql0") -> int:
        (shown,) = json.loads(lab.a.run("ip", "-j", "link", "show", name))
        return int(shown["mtu"])

    assert mtu() == 1500
    for size in (1400, 1500):
        ip(lab, f"link set eth2 mtu {size}")
        assert mtu() == size
    with pytest.raises(subprocess.CalledProcessError):
        ip(lab, "link set ipeql0 mtu 1501")
    ip(lab, "link add ipeql1 mtu 1280 type ipeql", "link set eth3 master ipeql1")
    assert mtu("ipeql1") == 1280
    ip(lab, "link del ipeql1")


@pytest.mark.usefixtures("bundle")
def test_the_path_of_a_tunnel_tells_its_mtu(lab: Lab) -> None:
    ends = " ".join(
        f"{end} {lab.address(host, 'eth1').ip}"
        for end, host in (("local", lab.a), ("remote", lab.b))
    )
    ip(
        lab,
        "link set eth1 nomaster",
        "link set eth2 nomaster",
        f"link add tunnel type ipip {ends}",
        "link set tunnel mtu 1500 up",
        "link set tunnel master ipeql0",
    )
    create = lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # noqa: E731
    with closing(netns.inside(lab.a.netns, create)) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sock.connect(("10.9.0.2", 9))
        sock.send(bytes(1500 - 28))
        wait_for(lambda: sock.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1480)
    ip(lab, "link del tunnel")
    subprocess.run(["modprobe", "--remove", "ipip"], check=True)  # it has brought tunl0


@pytest.mark.usefixtures("bundle")
def test_every_method_change_loses_nothing(lab: Lab) -> None:
    rows = row(1), row(2)
    with traffic(lab):
        for method in sorted(asked(lab, KmodBackend.capabilities).methods - TWICE):
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


@pytest.mark.usefixtures("bundle")
def test_a_next_hop_is_one_host_s_address(lab: Lab) -> None:
    for via, via6 in (("224.0.0.1", "fd77:1::2"), ("10.77.1.2", "ff02::1")):
        slave = replace(row(1), via=IPv4Address(via), via6=IPv6Address(via6))
        with pytest.raises(ApplyError, match="a next hop is one host's address"):
            configure(lab, BundleTable("round_robin", slaves=(slave,)))


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
