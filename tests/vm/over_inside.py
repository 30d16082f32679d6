"""Tunnels of the kernel that follow their uplinks, in the guest; test_dataplanes.py runs it.

The kernel that runs here may have neither WireGuard nor IPIP.
"""

import subprocess
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ipeql.state import FIRST_MARK
from lab.network import ipeqld
from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, wait_for
from tests.vm.recorder import SLOWNESS

pytestmark = pytest.mark.netns

SERVER = "10.99.0.1"
PATIENCE_S = 60


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Join home to the server by two uplinks, each with a default route of its own."""
    monkeypatch.setattr(ipeqld, "START_TIMEOUT_S", ipeqld.START_TIMEOUT_S * SLOWNESS)
    monkeypatch.setattr(ipeqld, "STOP_TIMEOUT_S", ipeqld.STOP_TIMEOUT_S * SLOWNESS)
    # The modules make devices in the first namespace when they are loaded.
    Path("/proc/sys/net/core/fb_tunnels_only_for_init_net").write_text("2")
    with Lab([None, None]) as lab:
        lab.b.add_address("lo", ip_interface(f"{SERVER}/32"))
        for number in (1, 2):
            gateway(lab, number)
        yield lab


def ip(host: Host, command: str) -> str:
    return host.run("ip", *command.split())


def gateway(lab: Lab, number: int) -> None:
    ip(lab.a, f"route add default via 10.77.{number}.2 dev eth{number} metric 1{number}")


def home(*slaves: str) -> str:
    entries = [f"{{name: {name}, over: eth{number}}}" for number, name in enumerate(slaves, 1)]
    more = ("routes: [{to: default, metric: 1}]", "receive: slave")
    addresses = "addresses: [10.9.0.1/24]"
    return configuration(bundle(entries, "round_robin", *more, addresses=addresses))


def answer_by(lab: Lab, link: str) -> None:
    """Have the server answer the bundle by one tunnel."""
    lab.b.add_address("lo", ip_interface("10.9.0.2/32"))
    ip(lab.b, f"route add 10.9.0.1 dev {link}")


def lost(lab: Lab) -> bool:
    """Say whether of two packets, one by each tunnel, there is one that does not come back."""
    command = ("sh", "-c", "ping -q -i 0.2 -W 2 -c 2 10.9.0.2 || true")
    return " 0% packet loss" not in lab.a.run(*command)


def test_wireguard_of_the_kernel_follows_its_uplink(lab: Lab) -> None:
    keys = {}
    for host in (lab.a, lab.b):
        for number in (1, 2):
            ip(host, f"link add wg{number} type wireguard")
            private = host.run("wg", "genkey").strip()
            keys[host.name, number] = private, _public(private)
    for host, peer in ((lab.a, lab.b), (lab.b, lab.a)):
        for number in (1, 2):
            command = f"wg set wg{number} private-key /dev/stdin listen-port {number}000"
            command += f" peer {keys[peer.name, number][1]} allowed-ips 0.0.0.0/0"
            command += f" endpoint {SERVER}:{number}000" if host is lab.a else ""
            host.run("sh", "-c", f"echo {keys[host.name, number][0]} | {command}")
            host.set_up(f"wg{number}")
    answer_by(lab, "wg1")
    with Ipeqld(lab.a, home("wg1", "wg2")) as daemon:
        wait_for(lambda: not lost(lab), PATIENCE_S)
        for number in (1, 2):
            mark = f"{FIRST_MARK + number - 1:#x}"
            assert lab.a.run("wg", "show", f"wg{number}", "fwmark").strip() == mark
            assert f"10.77.{number}.1:" in lab.b.run("wg", "show", f"wg{number}", "endpoints")
        ip(lab.a, "route del default dev eth2")
        wait_for(lambda: "dev eth2" not in ip(lab.a, f"route show table {mark} default"))
        before = lab.b.run("wg", "show", "wg2", "transfer").split()[1]
        assert lost(lab)
        assert lab.b.run("wg", "show", "wg2", "transfer").split()[1] == before
        gateway(lab, 2)
        wait_for(lambda: not lost(lab), PATIENCE_S)
        daemon.ipeql("free", "ipeql0", "wg2")
        assert lab.a.run("wg", "show", "wg2", "fwmark").strip() == "off"
    assert "98" not in ip(lab.a, "rule") + ip(lab.a, "route show table all proto 98")
    assert lab.a.run("wg", "show", "wg1", "fwmark").strip() == "off"


def _public(private: str) -> str:
    command = ["wg", "pubkey"]
    return subprocess.run(
        command, input=private, text=True, check=True, stdout=subprocess.PIPE
    ).stdout.strip()


def test_a_tunnel_bound_to_a_modem_follows_it(lab: Lab) -> None:
    kinds = {1: "gre", 2: "ipip"}
    for number, kind in kinds.items():
        far, near = f"remote {SERVER}", f"remote 10.77.{number}.1 local {SERVER}"
        bound = f"local 10.77.{number}.1 dev eth{number} ttl 64"
        ip(lab.a, f"link add t{number} type {kind} {far} {bound}")
        ip(lab.b, f"link add t{number} type {kind} {near} ttl 64")
        lab.b.set_up(f"t{number}")
    answer_by(lab, "t1")
    with Ipeqld(lab.a, home("t1", "t2")) as daemon:
        wait_for(lambda: not lost(lab), PATIENCE_S)
        # Whatever the main table says.
        ip(lab.a, "route del default dev eth2")
        ip(lab.a, "route add default via 10.77.2.2 dev eth2 table 78")
        wait_for(lambda: not lost(lab), PATIENCE_S)
        lab.delete_link("eth2")
        wait_for(lambda: _state(daemon, "t2") == "no-uplink", PATIENCE_S)
        lab.create_link("eth2")
        gateway(lab, 2)
        wait_for(lambda: not lost(lab) and _state(daemon, "t2") == "active", PATIENCE_S)
        shown = ip(lab.a, "-d link show t2")
        assert f"remote {SERVER} local 10.77.2.1 dev eth2 ttl 64" in shown
        ip(lab.a, "link set t2 type ipip dev eth1")
        wait_for(lambda: "ip link set t2 type ipip dev eth2" in daemon.ipeql("status"), PATIENCE_S)
    assert "98" not in ip(lab.a, "rule") + ip(lab.a, "route show table all proto 98")


def _state(daemon: Ipeqld, name: str) -> str:
    (shown,) = daemon.status()["bundles"]
    return next(str(each["state"]) for each in shown["slaves"] if each["label"] == name)
