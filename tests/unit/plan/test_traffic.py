"""What keeps packets from passing: each check finds its fault, and nothing else."""

from dataclasses import replace
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)

import pytest

from ipeql.documents.status import describe
from ipeql.errors import Code
from ipeql.plan.members import Member
from ipeql.plan.traffic import CODES, hindrances
from ipeql.state import (
    BundleSpec,
    BundleTable,
    DesiredState,
    Link,
    ObservedBundle,
    ObservedState,
    SlaveRow,
    SlaveSpec,
)

SPEC = BundleSpec("ipeql0", "round_robin", addresses=(IPv4Interface("10.9.0.1/24"),))
SPEC6 = replace(SPEC, addresses=(IPv6Interface("fd00:9::1/64"),))
SLAVE = SlaveSpec("eth1")
DEVICE = Link(9, "ipeql0", alias="ipeql:ipeql0", kind="tun")
ETH1 = Link(2, "eth1", addresses=frozenset({ip_interface("10.77.1.1/24")}))
PPP = 512


def codes(
    link: Link = ETH1,
    slave: SlaveSpec = SLAVE,
    spec: BundleSpec = SPEC,
    device: Link = DEVICE,
    master: Link | None = None,
) -> list[Code]:
    links = [device, link, *([master] if master else [])]
    return [each.code for each in hindrances(spec, device, [Member(slave, link)], links)]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert codes() == []
    assert codes(replace(ETH1, arp_ignore=3)) == []
    assert codes(slave=replace(SLAVE, via6=IPv6Address("fe80::1")), spec=SPEC6) == []
    assert codes(master=Link(5, "vrf1", kind="vrf"), device=replace(DEVICE, master=5)) == []


@pytest.mark.parametrize("value", [1, 2, 8])
def test_arp_ignore_counts_where_the_far_end_asks_by_arp(value: int) -> None:
    deaf = replace(ETH1, arp_ignore=value)
    assert codes(deaf) == [Code.ARP_IGNORED]
    assert codes(deaf, replace(SLAVE, via=IPv4Address("10.77.1.2"))) == []
    assert codes(replace(deaf, arp=False)) == codes(replace(deaf, arphrd=PPP)) == []
    assert Code.ARP_IGNORED not in codes(deaf, spec=SPEC6)


def test_strict_filter_counts_where_the_slave_s_own_cannot_help() -> None:
    strict = replace(ETH1, rp_filter=2, strict_rp_filter=True)
    assert codes(strict) == [Code.FILTER_EVERYWHERE]
    assert codes(replace(strict, rp_filter=1)) == []  # the plan sets it


@pytest.mark.parametrize(
    ("address", "shadows"),
    [
        ("10.9.0.5/24", True),
        ("10.9.0.5/28", True),
        ("10.9.0.5/16", False),
        ("10.9.0.1/32", False),
        ("10.9.1.5/24", False),
        ("fd00:9::1/64", False),
    ],
)
def test_a_slave_s_subnet_within_the_bundle_s_shadows_it(address: str, shadows: bool) -> None:
    link = replace(ETH1, addresses=frozenset({ip_interface(address)}))
    assert codes(link) == [Code.SUBNET_SHADOWED] * shadows
    assert codes(replace(link, up=False)) == []


def test_a_tunnel_whose_packets_leave_by_the_bundle_is_a_loop() -> None:
    tunnel = Link(3, "vx1", kind="vxlan", far_end=ip_address("10.99.0.2"))
    assert codes(tunnel) == []
    assert codes(replace(tunnel, leaves_by=2)) == []
    assert codes(replace(tunnel, leaves_by=9)) == [Code.COMES_BACK]
    assert codes(Link(3, "ipeql0.7", kind="vlan", lower=9)) == [Code.COMES_BACK]


def test_ipv6_over_ethernet_needs_a_next_hop() -> None:
    assert codes(spec=SPEC6) == [Code.NEXT_HOP_MISSING]
    assert codes(replace(ETH1, arphrd=PPP), spec=SPEC6) == []


@pytest.mark.parametrize("kind", ["bridge", "bond", "team", "openvswitch"])
def test_a_bundle_that_is_a_port(kind: str) -> None:
    port = replace(DEVICE, master=5)
    assert codes(device=port, master=Link(5, "br0", kind=kind)) == [Code.IS_PORT]


def test_a_bundle_with_a_hindrance_is_degraded_and_says_why() -> None:
    spec = replace(SPEC6, slaves=(SLAVE,))
    running = ObservedBundle("tun", BundleTable("round_robin", slaves=(SlaveRow(2, "eth1"),)))
    observed = ObservedState(links={9: DEVICE, 2: ETH1}, bundles={"ipeql0": running})
    problems = hindrances(spec, DEVICE, [Member(SLAVE, ETH1)], observed.links.values())
    assert {problem.code for problem in problems} <= CODES
    desired = DesiredState({"ipeql0": spec})
    (shown,) = describe(desired, observed, {}, problems, daemon=True)["bundles"]
    assert (shown["state"], shown["reason"][:18]) == ("degraded", "eth1 has no 'via6'")
    (shown,) = describe(desired, observed, {}, [], daemon=True)["bundles"]
    assert shown["state"] == "ready"
