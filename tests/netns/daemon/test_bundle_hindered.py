"""What keeps packets from passing is found, reported once, and gone when it is corrected."""

from collections.abc import Iterator

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, wait_for

pytestmark = pytest.mark.netns

VX = "vx1"
TUNNEL = "link add {} type vxlan id 7 remote 10.99.0.2 dstport 4789"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        yield lab


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    plain = bundle(["{name: eth1}", "{name: eth2}"], addresses="addresses: [10.9.0.1/24]")
    with Ipeqld(lab.a, configuration(plain)) as daemon:
        yield daemon


def state(daemon: Ipeqld) -> tuple[str, list[str]]:
    """Return the bundle's state and the codes of its problems."""
    (shown,) = daemon.status()["bundles"]
    return shown["state"], sorted({problem["code"] for problem in shown["problems"]})


def test_a_subnet_of_a_slave_within_the_bundle_s(lab: Lab, daemon: Ipeqld) -> None:
    assert state(daemon) == ("ready", [])
    lab.a.run("ip", "address", "add", "10.9.0.9/25", "dev", "eth1")
    wait_for(lambda: state(daemon) == ("degraded", ["IPQ-E010"]))
    lab.a.run("ip", "address", "del", "10.9.0.9/25", "dev", "eth1")
    wait_for(lambda: state(daemon) == ("ready", []))


def test_arp_ignore_of_all_links(lab: Lab) -> None:
    address = "addresses: [10.9.0.1/24]"
    plain = bundle(["{name: eth1}"], "round_robin", "receive: slave", addresses=address)
    lab.a.sysctl("net/ipv4/conf/all/arp_ignore", "1")
    try:
        with Ipeqld(lab.a, configuration(plain)) as daemon:
            assert state(daemon) == ("degraded", ["IPQ-E009"])
            assert "sysctl -w net.ipv4.conf.all.arp_ignore=0" in daemon.ipeql("status")
            assert sum("IPQ-E009" in line for line in daemon.log) <= 1
    finally:
        lab.a.sysctl("net/ipv4/conf/all/arp_ignore", "0")


def test_a_tunnel_whose_own_packets_come_back(lab: Lab) -> None:
    lab.a.run("ip", *TUNNEL.format(VX).split())
    looping = bundle(
        ["{name: eth1}", f"{{name: {VX}}}"],
        "round_robin",
        "routes: [{to: 10.99.0.0/16, via: 10.9.0.2}]",
        addresses="addresses: [10.9.0.1/24]",
    )
    try:
        with Ipeqld(lab.a, configuration(looping)) as daemon:
            assert state(daemon) == ("degraded", ["IPQ-E011"])
            slaves = daemon.status()["bundles"][0]["slaves"]
            assert {slave["name"]: slave["state"] for slave in slaves} == {
                "eth1": "active",
                VX: "loop",
            }
            lab.a.run("ip", "route", "add", "10.99.0.2", "via", "10.77.1.2")
            lab.a.run("ip", "link", "set", VX, "alias", "look")
            wait_for(lambda: state(daemon) == ("ready", []))
            lab.a.run("ip", "route", "del", "10.99.0.2")
    finally:
        lab.a.run("ip", "link", "del", VX)


def test_a_tunnel_bound_to_its_uplink_goes_over_it(lab: Lab) -> None:
    vxlan = f"link add {VX} type vxlan id 8 dstport 4790 remote"
    lab.b.run("ip", "address", "add", "10.99.0.2/32", "dev", "lo")
    for host, ends in (
        (lab.a, "10.99.0.2 local 10.77.2.1 nolearning dev eth1"),
        (lab.b, "10.77.2.1 local 10.99.0.2"),
    ):
        host.run("ip", *f"{vxlan} {ends}".split())
    lab.b.run("ip", "address", "add", "10.9.0.2/24", "dev", VX)
    lab.b.set_up(VX)
    default = ("default", "via", "10.77.2.2", "dev", "eth2", "table", "78")
    lab.a.run("ip", "route", "add", *default)
    over = bundle(
        [f"{{name: {VX}, over: eth2}}"],
        "round_robin",
        "routes: [{to: default}]",
        addresses="addresses: [10.9.0.1/24]",
    )
    try:
        with Ipeqld(lab.a, configuration(over)) as daemon:
            assert state(daemon) == ("degraded", ["IPQ-E019"])
            remedy = "nolearning dev eth2"
            assert remedy in daemon.ipeql("status")
            lab.a.run("ip", "link", "del", VX)
            lab.a.run("ip", *f"{vxlan} 10.99.0.2 local 10.77.2.1 {remedy}".split())
            wait_for(lambda: state(daemon) == ("ready", []))
            lab.a.run("ping", "-q", "-c", "2", "-i", "0.1", "-W", "5", "10.9.0.2")
            assert "to 10.99.0.2 oif eth2" in lab.a.run("ip", "rule")
        assert "oif" not in lab.a.run("ip", "rule")
    finally:
        for host in (lab.a, lab.b):
            host.run("ip", "link", "del", VX)
        lab.a.run("ip", "route", "del", *default)
