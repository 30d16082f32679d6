"""The receiving program comes and goes with its bundle and its slaves, of every kind."""

import os
import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from ipeql.backends.ebpf import pins
from ipeql.backends.tun.device import NEEDS_CSUM, VNET_HEADER, open_device
from lab.network import netns
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, wait_for
from tests.netns.packets import (
    PORT,
    bound,
    ends,
    hardware,
    received,
    send_frame,
    udp,
)

pytestmark = pytest.mark.netns

BACKENDS = ("bpf", "tun")
GSO_UDP_L4 = 5  # include/uapi/linux/virtio_net.h


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        yield lab


def test_a_packet_without_link_header_gets_one(lab: Lab) -> None:
    descriptor = lab.a.call(lambda: open_device("tun9"))
    try:
        lab.a.run("ip", "link", "set", "tun9", "up")
        text = configuration(
            bundle(["{name: tun9}"], addresses="addresses: [10.9.0.1/24]", backend="bpf")
        )
        with Ipeqld(lab.a, text) as daemon:
            with closing(lab.a.call(lambda: bound("ipeql0"))) as taker:
                for size in (5, 1400):
                    packet = udp("10.9.0.2", "10.9.0.1", 9, PORT, bytes(size))
                    os.write(descriptor, bytes(VNET_HEADER.size) + packet)
                    assert len(taker.recv(65536)) == size
                train = VNET_HEADER.pack(NEEDS_CSUM, GSO_UDP_L4, 28, 1000, 20, 6)
                os.write(descriptor, train + udp("10.9.0.2", "10.9.0.1", 9, PORT, bytes(20_000)))
                assert [len(taker.recv(65536)) for _ in range(20)] == [1000] * 20
            assert received(daemon) == 22
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left(lab: Lab, backend: str) -> None:
    for daemon, _ in ends(lab, backend):
        assert proxies(lab) != []
        daemon.ipeql("free", "ipeql0", "eth2")
        wait_for(lambda: not any(link == "eth2" for link in proxies(lab)))
        assert filters(lab, "eth2") == []
        assert filters(lab, "eth1") != [] or pinned(lab) != []
    wait_for(lambda: pinned(lab) == [])
    assert proxies(lab) == []
    assert filters(lab, "eth1") == []


def test_a_bundle_whose_processes_are_killed_leaves_everything_to_the_slaves(lab: Lab) -> None:
    text = configuration(bundle(["{name: eth1}"], addresses="addresses: [10.9.0.1/24]"))
    with Ipeqld(lab.a, text) as daemon:
        for process in netns.pids(lab.a.netns):
            os.kill(process, 9)
        wait_for(lambda: "ipeql0" not in lab.a.run("ip", "link"))
        with closing(lab.a.call(lambda: bound(""))) as taker:
            lab.a.run("ip", "address", "add", "10.9.0.1/32", "dev", "lo")
            lab.a.sysctl("net/ipv4/conf/all/rp_filter", "0")
            frame = udp("10.9.0.2", "10.9.0.1", 9, PORT, b"hello")
            to, source = (host.call(lambda: hardware("eth1")) for host in (lab.a, lab.b))
            send_frame(lab.b, "eth1", to + source + b"\x08\0" + frame)
            assert taker.recv(100) == b"hello"
            lab.a.run("ip", "address", "del", "10.9.0.1/32", "dev", "lo")
        daemon.start()
        wait_for(lambda: daemon.run_ipeql("wait-online", "--timeout", "1s").returncode == 0)
    assert pinned(lab) == []


def proxies(lab: Lab) -> list[str]:
    """Return the links of host a that have proxied neighbours."""
    shown = lab.a.run("ip", "-6", "neigh", "show", "proxy")
    return re.findall(r"dev (\S+)", shown)


def filters(lab: Lab, link: str) -> list[str]:
    """Return the clsact filters of a link, and its queueing discipline for them."""
    shown = lab.a.run("tc", "filter", "show", "dev", link, "ingress")
    shown += lab.a.run("tc", "qdisc", "show", "dev", link, "clsact")
    return shown.splitlines()


def pinned(lab: Lab) -> list[str]:
    """Return the bundles of host a that have a receiving program."""
    return lab.a.call(lambda: pins.pinned(pins.RECEIVER))
