"""What arrives for a bundle of the kernel module, inside the emulated kernel; test_kmod.py runs it.

Both hosts have one. Every reverse path filter is strict, and the slaves answer for none but their
own addresses.
"""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from ipeql.state import BundleTable
from lab.network.host import Host
from lab.network.hosts import Lab
from tests.netns.bundle import wait_for
from tests.vm.kmod_bundle import configure, row, statistics

pytestmark = pytest.mark.netns

NEAR, FAR, NEAR6, FAR6 = "10.9.0.1", "10.9.0.2", "fd00:9::1", "fd00:9::2"
PINGS = 5
ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
PACKET_OUTGOING = 4  # include/uapi/linux/if_packet.h
WRITE = 256 << 10
STRICT = {
    "net/ipv4/conf/all/rp_filter": "1",
    "net/ipv4/conf/default/rp_filter": "1",
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/icmp_echo_ignore_broadcasts": "0",
}
TABLE = BundleTable("round_robin", receive="bundle", slaves=(row(1), row(2)))
MARKS = """
table inet marks {
    chain in {
        type filter hook input priority 0
        iifname "ipeql0" icmp type echo-reply counter
    }
    chain out {
        type filter hook output priority 0
        oifname "ipeql0" icmp type echo-request counter
    }
}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * 2) as lab:
        for host in (lab.a, lab.b):
            for key, value in STRICT.items():
                host.sysctl(key, value)
            for link in lab.names:
                host.sysctl(f"net/ipv4/conf/{link}/rp_filter", "1")
        yield lab


@pytest.fixture(autouse=True)
def bundles(lab: Lab) -> Iterator[None]:
    for host, last in ((lab.a, 1), (lab.b, 2)):
        batch(
            host,
            "link add ipeql0 type ipeql",
            f"address add 10.9.0.{last}/24 brd + dev ipeql0",
            f"address add fd00:9::{last}/64 dev ipeql0 nodad",
            "link set ipeql0 up",
            *(f"link set {link} master ipeql0" for link in lab.names),
        )
    for host in (lab.a, lab.b):
        host.wait_running("ipeql0")
    yield
    for host in (lab.a, lab.b):
        batch(host, "link del ipeql0")


def batch(host: Host, *commands: str) -> None:
    host.call(
        lambda: subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, timeout=600
        )
    )


def ping(lab: Lab, to: str, *options: str, count: int = PINGS) -> int:
    """Return how many of ``count`` echo requests were answered."""
    command = ("ping", "-n", "-c", str(count), "-i", "0.2", "-W", "5", *options, to)
    done = lab.a.call(
        lambda: subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    )
    return done.stdout.count("bytes from")


def shown(host: Host, link: str = "ipeql0") -> dict[str, int]:
    (found,) = json.loads(host.run("ip", "-j", "-s", "link", "show", link))
    counted = found["stats64"]
    return {"sent": counted["tx"]["packets"], "received": counted["rx"]["packets"]}


def received(lab: Lab) -> list[int]:
    return [slave.received_packets for slave in statistics(lab).slaves]


@contextmanager
def tap(host: Host) -> Iterator[socket.socket]:
    """Yield what sees all packets of a host's bundle, as tcpdump does."""

    def body() -> socket.socket:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        found.bind(("ipeql0", ETH_P_ALL))
        found.settimeout(10)
        return found

    with closing(host.call(body)) as sock:
        yield sock


def test_a_tap_and_the_counters_see_both_directions(lab: Lab) -> None:
    assert ping(lab, FAR) == PINGS  # the first finds fresh neighbours
    before, there = shown(lab.a), shown(lab.b)
    with tap(lab.a) as sock:
        assert ping(lab, FAR) == PINGS
        seen = {"sent": 0, "received": 0}
        while sum(seen.values()) < 2 * PINGS:
            packet, (_, _, kind, *_) = sock.recvfrom(2000)
            if packet[0] == 0x45 and packet[9] == socket.IPPROTO_ICMP:
                seen["sent" if kind == PACKET_OUTGOING else "received"] += 1
    assert seen == {"sent": PINGS, "received": PINGS}
    for host, then in ((lab.a, before), (lab.b, there)):
        counted = shown(host)
        assert all(counted[name] - then[name] >= PINGS for name in seen)
    assert sum(received(lab)) == shown(lab.a)["received"]
    assert all(received(lab))


@pytest.mark.parametrize("to", [FAR, FAR6])
def test_a_socket_bound_to_the_bundle_hears(lab: Lab, to: str) -> None:
    """IPv6 without via6: the far end answers for its bundle's addresses on every slave."""
    assert ping(lab, to, "-I", "ipeql0") == PINGS
    assert len(lab.a.run("ip", "neigh", "show", to).splitlines()) == len(lab.names)


def test_link_local_addresses_of_the_bundles_reach_each_other(lab: Lab) -> None:
    (found,) = json.loads(lab.b.run("ip", "-j", "-6", "addr", "show", "dev", "ipeql0"))
    (local,) = (each["local"] for each in found["addr_info"] if each["scope"] == "link")
    assert ping(lab, f"{local}%ipeql0") == PINGS


def test_a_broadcast_of_the_bundles_subnet_is_heard(lab: Lab) -> None:
    assert ping(lab, "10.9.0.255", "-b") >= PINGS


def test_a_group_is_heard(lab: Lab) -> None:
    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("224.0.0.251", 5353))
        sock.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton("224.0.0.251") + socket.inet_aton(FAR),
        )
        sock.settimeout(10)
        return sock

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(NEAR))
            sock.sendto(b"who?", ("224.0.0.251", 5353))

    with closing(lab.b.call(listen)) as sock:
        lab.a.call(ask)
        assert sock.recv(100) == b"who?"


def test_a_firewall_matches_the_bundle_s_name(lab: Lab) -> None:
    lab.a.call(lambda: subprocess.run(["nft", "-f", "-"], input=MARKS, text=True, check=True))
    try:
        assert ping(lab, FAR) == PINGS
        assert lab.a.run("nft", "list", "table", "inet", "marks").count(f"packets {PINGS} ") == 2
    finally:
        lab.a.run("nft", "delete", "table", "inet", "marks")


def test_a_slave_s_own_traffic_stays_its_own(lab: Lab) -> None:
    assert ping(lab, FAR) == PINGS
    before = received(lab)
    for number in (1, 2):
        assert ping(lab, f"10.77.{number}.2") == PINGS
        assert ping(lab, f"fd77:{number}::2") == PINGS
    assert received(lab) == before


def test_trains_stay_whole(lab: Lab) -> None:
    def listen() -> socket.socket:
        sock = socket.create_server((FAR, 0))
        sock.settimeout(20)
        return sock

    with closing(lab.b.call(listen)) as server, tap(lab.b) as sock:
        port = server.getsockname()[1]
        with closing(lab.a.call(lambda: socket.create_connection((FAR, port), 20))) as client:
            with closing(server.accept()[0]) as there:
                there.settimeout(20)
                client.sendall(bytes(WRITE))
                left = WRITE
                while left:
                    left -= len(there.recv(left))
        longest = 0
        while longest < 3000:
            longest = max(longest, len(sock.recv(65535)))
    (counted,) = json.loads(lab.b.run("ip", "-j", "-s", "link", "show", "ipeql0"))
    assert counted["stats64"]["rx"]["packets"] >= WRITE / 1448  # of the wire


def test_it_may_stay_with_the_slave(lab: Lab) -> None:
    lab.a.sysctl("net/ipv4/conf/all/arp_ignore", "0")
    try:
        for link in lab.names:
            lab.a.sysctl(f"net/ipv4/conf/{link}/rp_filter", "0")
        lab.a.sysctl("net/ipv4/conf/all/rp_filter", "0")
        configure(lab, replace(TABLE, receive="slave"))
        assert ping(lab, FAR) == PINGS
        assert received(lab) == [0, 0]
        configure(lab, TABLE)
        assert ping(lab, FAR) == PINGS
        wait_for(lambda: sum(received(lab)) >= PINGS)
    finally:
        for key in ("all", *lab.names):
            lab.a.sysctl(f"net/ipv4/conf/{key}/rp_filter", "1")
        lab.a.sysctl("net/ipv4/conf/all/arp_ignore", "1")


def test_a_slave_that_another_device_hears_by_keeps_what_it_receives(lab: Lab) -> None:
    batch(lab.a, "link set eth2 nomaster", "link add link eth2 name upper type macvlan")
    try:
        batch(lab.a, "link set eth2 master ipeql0")
        lab.a.sysctl("net/ipv4/conf/eth2/rp_filter", "0")
        lab.a.sysctl("net/ipv4/conf/all/rp_filter", "0")
        assert ping(lab, FAR) == PINGS
        first, second = received(lab)
        assert first > 0 == second
    finally:
        batch(lab.a, "link del upper")
        lab.a.sysctl("net/ipv4/conf/eth2/rp_filter", "1")
        lab.a.sysctl("net/ipv4/conf/all/rp_filter", "1")


def test_a_bundle_may_be_in_a_vrf_and_in_no_bridge(lab: Lab) -> None:
    batch(lab.a, "link add red type vrf table 77", "link set red up", "link set ipeql0 master red")
    try:
        assert ping(lab, FAR, "-I", "red") == PINGS
    finally:
        batch(lab.a, "link set ipeql0 nomaster", "link del red")
    batch(lab.a, "link add br0 type bridge")
    try:
        with pytest.raises(subprocess.CalledProcessError):
            batch(lab.a, "link set ipeql0 master br0")
    finally:
        batch(lab.a, "link del br0")


def test_a_vlan_may_be_a_slave(lab: Lab) -> None:
    for host in (lab.a, lab.b):
        batch(
            host,
            "link set eth2 nomaster",
            "link add link eth2 name eth2.7 type vlan id 7",
            "link set eth2.7 up",
            "link set eth2.7 master ipeql0",
        )
    try:
        assert ping(lab, FAR, count=2 * PINGS) == 2 * PINGS
        assert all(received(lab))
    finally:
        for host in (lab.a, lab.b):
            batch(host, "link del eth2.7")
