"""The bpf dataplane at work: nothing is lost, whatever happens to slaves, neighbours and daemon."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ipeql.backends.bpf import dataplane, holder
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.ebpf import pins
from ipeql.state import BundleStatistics
from lab.network import netns
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import RECEIVERS, TWICE, bundle, configuration, slave, traffic, wait_for

LINKS = 8
SECOND_S = 1.0

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

BOTH = (slave(1), slave(2))
USUAL = configuration(bundle(BOTH, backend="auto"))


def statistics(lab: Lab) -> BundleStatistics:
    """Return the bundle's counters, read from the kernel."""
    return netns.inside(lab.a.netns, lambda: asyncio.run(BpfBackend().statistics("ipeql0")))


def carries(lab: Lab, *names: str) -> Callable[[], bool]:
    """Return a condition: each slave named has sent packets since this call."""
    before = {each.ifindex: each.packets for each in statistics(lab).slaves}

    def sent() -> bool:
        now = statistics(lab).slaves
        return {each.name for each in now if each.packets > before.get(each.ifindex, 0)} >= {*names}

    return sent


def usable(daemon: Ipeqld) -> int:
    count: int = daemon.status()["bundles"][0]["usable_slaves"]
    return count


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    with Lab([None] * LINKS) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def arrived(lab: Lab, receiver: str, count: int) -> list[int]:
    """Send ``count`` datagrams at once and return the numbers of those that came."""
    family = socket.AF_INET6 if ":" in receiver else socket.AF_INET

    def udp() -> socket.socket:
        return socket.socket(family, socket.SOCK_DGRAM)

    came: list[int] = []
    with closing(netns.inside(lab.b.netns, udp)) as there:
        there.bind((receiver, 0))
        there.settimeout(SECOND_S)
        with closing(netns.inside(lab.a.netns, udp)) as here:
            for number in range(count):
                here.sendto(bytes([number]), there.getsockname()[:2])
        while len(came) < count:
            try:
                came.append(there.recv(1)[0])
            except TimeoutError:
                break
    return came


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_the_first_packet_to_every_fresh_neighbour_arrives(
    lab: Lab, daemon: Ipeqld, receiver: str
) -> None:
    slaves = [slave(number) for number in range(1, LINKS + 1)]
    daemon.reload(configuration(bundle(slaves, backend="bpf")))
    for family in ("-4", "-6"):
        lab.a.run("ip", family, "neigh", "flush", "all")
    assert sorted(arrived(lab, receiver, LINKS)) == list(range(LINKS))
    assert all(each.packets for each in statistics(lab).slaves)


def test_a_neighbour_that_gets_another_address_is_followed(lab: Lab, daemon: Ipeqld) -> None:
    assert len(arrived(lab, RECEIVERS[0], LINKS)) == LINKS
    lab.b.run("ip", "link", "set", "eth1", "address", "02:00:00:00:77:01")
    lab.a.run("ip", "neigh", "flush", "dev", "eth1")
    assert len(arrived(lab, RECEIVERS[0], LINKS)) == LINKS


def test_a_route_s_gateway_is_the_next_hop(lab: Lab, daemon: Ipeqld) -> None:
    far = ("192.168.77.1", "fd00:77::1")
    for address, to, via in zip(far, ("192.168.77.0/24", "fd00:77::/64"), RECEIVERS, strict=True):
        lab.b.add_address("lo", ip_interface(address))  # usable at once
        lab.a.run("ip", "route", "replace", to, "via", via, "dev", "ipeql0")
        assert len(arrived(lab, address, LINKS)) == LINKS
    shown = lab.a.run("ip", "neigh", "show", "192.168.77.1")
    assert not shown, "the destination was asked for rather than the gateway"


def set_up(lab: Lab, up: bool) -> None:
    lab.a.set_up("eth2", up)


def set_carrier(lab: Lab, carrier: bool) -> None:
    lab.set_carrier(lab.a, "eth2", carrier)


@pytest.mark.parametrize("fail", [set_up, set_carrier])
def test_a_slave_fails_and_nothing_is_lost(
    lab: Lab, daemon: Ipeqld, fail: Callable[[Lab, bool], None]
) -> None:
    with traffic(lab):
        wait_for(carries(lab, "eth1", "eth2"))
        fail(lab, False)
        wait_for(lambda: usable(daemon) == 1)
        wait_for(carries(lab, "eth1"))
        fail(lab, True)
        wait_for(lambda: usable(daemon) == 2)
        wait_for(carries(lab, "eth1", "eth2"))


def test_a_slave_fails_and_the_next_daemon_comes_and_nothing_is_lost(
    lab: Lab, daemon: Ipeqld
) -> None:
    with traffic(lab):
        wait_for(carries(lab, "eth1", "eth2"))
        daemon.process.kill()
        daemon.process.wait()
        set_carrier(lab, False)
        wait_for(carries(lab, "eth1"))
        daemon.start()
        wait_for(lambda: daemon.run_ipeql("status").returncode == 0)
        wait_for(carries(lab, "eth1"))
    set_carrier(lab, True)
    wait_for(lambda: usable(daemon) == 2)
    assert daemon.ipeql("plan") == "nothing to do\n"


def test_every_method_and_slave_change_loses_nothing(lab: Lab, daemon: Ipeqld) -> None:
    able = BpfBackend().capabilities().methods
    with traffic(lab):
        for method in sorted(able - TWICE):
            daemon.reload(configuration(bundle(BOTH, method, backend="bpf")))
            wait_for(carries(lab, "eth1"))
        for slaves in ([slave(1)], [slave(2), slave(3)], BOTH[::-1], BOTH):
            daemon.reload(configuration(bundle(slaves, backend="bpf")))
            wait_for(carries(lab, *(f"eth{each.split('eth')[1][0]}" for each in slaves)))


def test_programs_of_another_version_are_replaced(
    lab: Lab, daemon: Ipeqld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def upgrade() -> None:
        backend = BpfBackend()
        before = (await backend.observe())["ipeql0"].table
        assert before
        monkeypatch.setattr(dataplane, "version", lambda: "another")
        assert (await backend.observe())["ipeql0"].table is None
        await backend.configure("ipeql0", before)
        assert (await backend.observe())["ipeql0"].table == before

    with traffic(lab):
        wait_for(carries(lab, "eth1", "eth2"))
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            netns.inside(lab.a.netns, lambda: asyncio.run(upgrade()))
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        wait_for(carries(lab, "eth1", "eth2"))


def test_status_says_which_backend_and_why(lab: Lab, daemon: Ipeqld) -> None:
    assert daemon.status()["bundles"][0]["backend"] == "bpf"
    daemon.reload(configuration(bundle(BOTH, "bw_lag_eq", backend="auto")))
    shown = daemon.status()["bundles"][0]
    lack = holder.lack()
    assert shown["backend"] == ("tun" if lack else "bpf")
    assert not lack or f"bpf does not support method bw_lag_eq: {lack}" in str(shown)


def test_the_end_of_the_daemon_leaves_no_pin(lab: Lab) -> None:
    with Ipeqld(lab.a, USUAL):
        assert netns.inside(lab.a.netns, pins.pinned) == ["ipeql0"]
        directory: Path = netns.inside(lab.a.netns, pins.directory)
    assert not directory.exists()
