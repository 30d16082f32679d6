"""What looks at a bundle's packets sees them, though they go past the device layer without it."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lab.network import netns
from lab.network.hosts import Lab
from tests.vm.kmod_bundle import BY_HAND, flood, ip, statistics

pytestmark = pytest.mark.netns

DATAGRAMS = 10
SHAPED_S = 3
PAYLOAD = b"seen by whoever looks"
ETH_P_ALL = 3  # include/uapi/linux/if_ether.h


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * 2) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture(autouse=True)
def bundle(lab: Lab) -> Iterator[None]:
    ip(lab, *BY_HAND)
    lab.a.wait_running("ipeql0")
    yield
    ip(lab, "link del ipeql0")


def send(lab: Lab) -> None:
    def body() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(DATAGRAMS):
                sock.sendto(PAYLOAD, ("10.9.0.2", 9))

    netns.inside(lab.a.netns, body)


def tap(lab: Lab) -> socket.socket:
    def body() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        sock.bind(("ipeql0", ETH_P_ALL))
        sock.settimeout(10)
        return sock

    return netns.inside(lab.a.netns, body)


def picked(lab: Lab) -> int:
    return sum(slave.picks for slave in statistics(lab).slaves)


def sent(lab: Lab) -> int:
    return sum(slave.bytes for slave in statistics(lab).slaves)


def test_a_tap_sees_every_packet(lab: Lab) -> None:
    send(lab)  # unseen: the tap comes under way
    with closing(tap(lab)) as sock:
        send(lab)
        seen = 0
        while seen < DATAGRAMS:
            seen += sock.recv(1500).endswith(PAYLOAD)


def test_a_queueing_discipline_gets_every_packet(lab: Lab) -> None:
    lab.a.run("tc", "qdisc", "add", "dev", "ipeql0", "root", "pfifo")
    send(lab)
    (shown,) = json.loads(lab.a.run("tc", "-s", "-j", "qdisc", "show", "dev", "ipeql0"))
    assert shown["packets"] >= DATAGRAMS


def test_a_shaper_holds_its_rate(lab: Lab) -> None:
    shaper = ("tbf", "rate", "4mbit", "burst", "5kb", "latency", "50ms")
    lab.a.run("tc", "qdisc", "add", "dev", "ipeql0", "root", *shaper)
    send(lab)
    before, began = sent(lab), time.monotonic()
    with flood(lab):
        time.sleep(SHAPED_S)
        rate = (sent(lab) - before) * 8 / (time.monotonic() - began)
    assert 1e6 < rate <= 4.1e6


def test_mark_and_priority_reach_the_slave(lab: Lab) -> None:
    table = "".join(
        f"table netdev marked {{\nchain {slave} {{\ntype filter hook egress device {slave} "
        "priority 0\nmeta mark 7 meta priority 0:5 counter\n}\n}\n"
        for slave in ("eth1", "eth2")
    )
    lab.a.call(lambda: subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True))
    try:

        def body() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 5)
                for _ in range(DATAGRAMS):
                    sock.sendto(PAYLOAD, ("10.9.0.2", 9))

        netns.inside(lab.a.netns, body)
        shown = lab.a.run("nft", "list", "table", "netdev", "marked")
        counted = re.findall(r"packets (\d+) ", shown)
        assert sum(map(int, counted)) == DATAGRAMS
    finally:
        lab.a.run("nft", "delete", "table", "netdev", "marked")


def test_a_filter_may_drop_every_packet(lab: Lab) -> None:
    lab.a.run("tc", "qdisc", "add", "dev", "ipeql0", "clsact")
    action = ("egress", "matchall", "action", "drop")
    lab.a.run("tc", "filter", "add", "dev", "ipeql0", *action)
    before = picked(lab)
    send(lab)
    assert picked(lab) == before
    lab.a.run("tc", "filter", "del", "dev", "ipeql0", "egress")
    send(lab)
    assert picked(lab) >= before + DATAGRAMS


def test_a_bundle_that_is_down_sends_nothing(lab: Lab) -> None:
    before = picked(lab)
    for slave in ("eth1", "eth2"):
        lab.a.set_up(slave, False)
    lab.a.wait_running("ipeql0", False)
    send(lab)
    assert picked(lab) == before
