"""Which way packets take: routes, next hops, and what happens while one is not known."""

from collections.abc import Iterator
from ipaddress import ip_interface

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import RECEIVER
from tests.netns.bundle import (
    RECEIVERS,
    USUAL,
    bundle,
    carries,
    configuration,
    packets,
    slave,
    traffic,
    wait_for,
)

pytestmark = pytest.mark.netns

IMPATIENT = {
    "base_reachable_time_ms": "500",
    "delay_first_probe_time": "1",
    "retrans_time_ms": "50",
    "ucast_solicit": "1",
    "mcast_solicit": "1",
}
"""arp(7): a neighbour that does not answer has failed after about two seconds."""

NO_ANSWER = "8"
"""Documentation/networking/ip-sysctl.rst, arp_ignore: do not reply for all local addresses."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        for key, value in IMPATIENT.items():
            lab.a.sysctl(f"net/ipv4/neigh/eth2/{key}", value)
        yield lab


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def test_a_route_leads_to_a_network_behind_the_next_hop(lab: Lab, daemon: Ipeqld) -> None:
    lab.b.add_address("lo", ip_interface("192.168.40.1/24"))
    route = f"routes: [{{to: 192.168.40.0/24, via: {RECEIVER}}}]"
    daemon.reload(configuration(bundle((slave(1), slave(2)), "round_robin", route)))
    with traffic(lab, "192.168.40.1"):
        wait_for(carries(daemon, "eth1", "eth2"))
    asked = lab.a.run("ip", "neighbour")
    assert RECEIVER in asked
    assert "192.168.40.1" not in asked
    daemon.reload(USUAL)
    assert "192.168.40.0/24" not in lab.a.run("ip", "route")


def test_a_next_hop_that_stops_answering_is_left_out_until_it_answers(
    lab: Lab, daemon: Ipeqld
) -> None:
    def on_one_alone() -> bool:
        before = packets(daemon)
        wait_for(lambda: packets(daemon)["eth1"] > before["eth1"] + 50)
        return packets(daemon)["eth2"] == before["eth2"]

    with traffic(lab, RECEIVER):
        wait_for(carries(daemon, "eth1", "eth2"))
        lab.b.sysctl("net/ipv4/conf/eth2/arp_ignore", NO_ANSWER)
        wait_for(on_one_alone)
        lab.b.sysctl("net/ipv4/conf/eth2/arp_ignore", "0")
        wait_for(carries(daemon, "eth1", "eth2"))


def test_every_slave_may_have_its_own_gateway() -> None:
    with Lab([None]) as lab:
        lab.plain_receiver()
        for scope in ("all", "default"):
            lab.middle.sysctl(f"net/ipv4/conf/{scope}/rp_filter", "0")
        lab.middle.sysctl("net/ipv4/ip_forward", "1")
        for host, link, near, far in ((lab.a, "gw", 1, 2), (lab.b, "uplink", 6, 5)):
            peer = ("peer", "name", link, "netns", lab.middle.netns)
            host.run("ip", "link", "add", link, "type", "veth", *peer)
            for end, number in ((host, near), (lab.middle, far)):
                end.add_address(link, ip_interface(f"10.78.0.{number}/30"))
                end.set_up(link)
            host.wait_running(link)
        lab.middle.add_route("uplink", f"{RECEIVER}/32", "10.78.0.6")
        with Ipeqld(lab.a, configuration(bundle([slave(1), "{name: gw, via: 10.78.0.2}"]))) as d:
            with traffic(lab, RECEIVER):
                wait_for(carries(d, "eth1", "gw"))
            asked = lab.a.run("ip", "neighbour", "show", "dev", "gw")
            assert "10.78.0.2" in asked
            assert RECEIVER not in asked


def test_the_first_packets_to_neighbours_not_yet_known_arrive() -> None:
    others = [f"10.9.0.{number}" for number in (7, 8)]
    with Lab([None] * 4) as lab:
        lab.plain_receiver()
        for address in others:
            lab.b.add_address("lo", ip_interface(f"{address}/32"))
        four = [slave(number) for number in (1, 2, 3, 4)]
        with Ipeqld(lab.a, configuration(bundle(four))) as daemon:
            for receivers in (RECEIVERS, others):
                with traffic(lab, *receivers):
                    wait_for(carries(daemon, "eth1", "eth2", "eth3", "eth4"))
