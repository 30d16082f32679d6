"""What arrives on the slaves arrives on the bundle, between two IPEQL ends with strict settings."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import rp_filter
from tests.netns.packets import (
    ETH_P_IP,
    GROUP,
    PORT,
    counted,
    dhcp_offer,
    ends,
    frames,
    group_sender,
    hardware,
    interface,
    member,
    ping,
    received,
    send_frame,
    tap,
    udp,
)

pytestmark = pytest.mark.netns

BACKENDS = ("bpf", "tun")
RULES = """\
table inet seen {
  chain in { type filter hook input priority 0; iifname "ipeql0" counter name "in"; }
  chain out { type filter hook output priority 0; oifname "ipeql0" counter name "out"; }
  chain slaves {
    type filter hook input priority 0; iifname "eth*" ip saddr 10.9.0.2 counter name "slaves"
  }
  counter in { }
  counter out { }
  counter slaves { }
}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        yield lab


@pytest.fixture(scope="module", params=BACKENDS)
def both(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[Ipeqld, Ipeqld]]:
    yield from ends(lab, request.param)


def test_a_socket_bound_to_the_bundle_gets_its_answers(
    lab: Lab, both: tuple[Ipeqld, Ipeqld]
) -> None:
    before = received(both[0])
    for to in ("10.9.0.2", "fd00:9::2"):
        assert ping(lab.a, to, "-I", "ipeql0") == 5
    assert received(both[0]) >= before + 10
    for daemon in both:
        (shown,) = daemon.status()["bundles"]
        assert (shown["state"], shown["problems"], shown["receive"]) == ("ready", [], "bundle")
    assert [rp_filter(lab, link) for link in ("eth1", "eth2")] == [0, 0]


def test_the_firewall_sees_the_bundle_s_name(lab: Lab, both: tuple[Ipeqld, Ipeqld]) -> None:
    nft = lab.a.popen("nft", "-f", "-", stdin=subprocess.PIPE)
    nft.communicate(RULES, timeout=20)
    try:
        assert ping(lab.b, "10.9.0.1") == 5
        assert ping(lab.a, "10.9.0.2") == 5
        assert [counted(lab.a, name) for name in ("in", "out", "slaves")] == [10, 10, 0]
    finally:
        lab.a.run("nft", "delete", "table", "inet", "seen")


def test_taps_and_counters_of_the_interface(lab: Lab, both: tuple[Ipeqld, Ipeqld]) -> None:
    with closing(lab.a.call(lambda: tap("ipeql0"))) as seen:
        before = lab.a.call(lambda: [interface(direction) for direction in ("rx", "tx")])
        assert ping(lab.a, "10.9.0.2", count=50) == 50
        after = lab.a.call(lambda: [interface(direction) for direction in ("rx", "tx")])
        assert sum(1 for _ in frames(seen)) >= 100
    if "macvlan" in both[0].status()["bundles"][0]["device"]:
        assert [late - early for late, early in zip(after, before, strict=True)] == [50, 50]


def test_a_train_stays_whole(lab: Lab, both: tuple[Ipeqld, Ipeqld]) -> None:
    with closing(lab.b.call(lambda: tap("ipeql0"))) as seen:
        with closing(lab.b.call(lambda: socket.create_server(("10.9.0.2", PORT)))) as server:
            connect = lambda: socket.create_connection(("10.9.0.2", PORT), 5)  # noqa: E731
            with closing(lab.a.call(connect)) as sender, closing(server.accept()[0]) as taker:
                sender.sendall(bytes(1 << 17))
                left = 1 << 17
                while left:
                    left -= len(taker.recv(1 << 17))
        assert max(map(len, frames(seen))) > 3000


def test_a_slave_s_own_traffic_stays_its_own(lab: Lab, both: tuple[Ipeqld, Ipeqld]) -> None:
    before = received(both[0])
    assert ping(lab.a, "10.77.1.2") == 5
    assert ping(lab.a, "fd77:2::2") == 5
    assert ping(lab.b, "10.77.1.1", "-I", "10.77.1.2") == 5
    with closing(lab.a.call(lambda: tap("eth1", ETH_P_IP))) as client:
        source, mac = "10.9.0.2", lab.b.call(lambda: hardware("eth1"))
        send_frame(lab.b, "eth1", dhcp_offer(source, mac))
        assert any(frame[20:24] == b"\0C\0D" for frame in frames(client))
    assert received(both[0]) == before


def test_what_is_forwarded_from_another_subnet_stays_too(
    lab: Lab, both: tuple[Ipeqld, Ipeqld]
) -> None:
    before = received(both[0])
    foreign = udp("10.66.0.5", "10.55.0.5", 9, 9)
    with closing(lab.a.call(lambda: tap("eth1", ETH_P_IP))) as seen:
        to = lab.a.call(lambda: hardware("eth1"))
        send_frame(lab.b, "eth1", to + lab.b.call(lambda: hardware("eth1")) + b"\x08\0" + foreign)
        assert any(foreign in frame for frame in frames(seen))
    assert received(both[0]) == before


@pytest.mark.parametrize("backwards", [False, True])
def test_groups_in_both_directions(lab: Lab, both: tuple[Ipeqld, Ipeqld], backwards: bool) -> None:
    sender, taker = (lab.b, lab.a) if backwards else (lab.a, lab.b)
    with closing(taker.call(lambda: member("ipeql0"))) as listening:
        with closing(sender.call(lambda: group_sender("ipeql0"))) as sending:
            sending.sendto(b"hello", (GROUP, PORT))
        assert listening.recv(100) == b"hello"


def test_a_route_of_another_program_counts(lab: Lab, both: tuple[Ipeqld, Ipeqld]) -> None:
    lab.b.run("ip", "address", "add", "192.168.9.9/32", "dev", "lo")
    lab.a.run("ip", "route", "add", "192.168.9.9/32", "via", "10.9.0.2")
    both[0].ipeql("reload")
    try:
        assert ping(lab.a, "192.168.9.9", "-I", "ipeql0") == 5
    finally:
        lab.a.run("ip", "route", "del", "192.168.9.9/32")
        lab.b.run("ip", "address", "del", "192.168.9.9/32", "dev", "lo")
