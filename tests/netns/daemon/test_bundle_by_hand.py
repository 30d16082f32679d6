"""What an administrator does by hand to a bundle and its slaves: set back, or respected."""

import subprocess
from collections.abc import Iterator

import pytest

from ipeql.backends.bpf import dataplane
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, slave, wait_for

pytestmark = pytest.mark.netns


@pytest.fixture(params=["tun", "bpf"])
def daemon(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Ipeqld]:
    if request.param == "bpf" and (reason := dataplane.unavailable()):
        pytest.skip(reason)
    routes = ("routes:", "  - {to: 192.168.40.0/24, via: 10.9.0.2}")
    usual = bundle((slave(1), slave(2)), "round_robin", *routes, backend=request.param)
    with Ipeqld(lab.a, configuration(usual)) as daemon:
        yield daemon


def shape(lab: Lab) -> list[str]:
    """Return what the configuration says of the device, as the kernel has it."""
    try:
        shown = lab.a.run("ip", "-o", "link", "show", "ipeql0").split("mtu ")[1].split()[0]
        up = str(",UP" in lab.a.run("ip", "-o", "link", "show", "ipeql0"))
        addresses = lab.a.run("ip", "-br", "address", "show", "ipeql0").split()
        routes = lab.a.run("ip", "route", "show", "proto", "98")
    except subprocess.CalledProcessError:
        return []
    mine = sorted(each for each in addresses if each.startswith(("10.9.", "fd00:9:")))
    return [shown, up, routes.strip(), *mine]


@pytest.mark.parametrize(
    "command",
    [
        "address flush dev ipeql0",
        "route flush proto 98",
        "link set ipeql0 down",
        "link set ipeql0 mtu 1400",
        "link set ipeql0 gso_max_segs 100",
        "link set ipeql0 name uplink0",
        "link delete ipeql0",
    ],
)
def test_what_was_changed_by_hand_is_set_back(lab: Lab, daemon: Ipeqld, command: str) -> None:
    wait_for(lambda: daemon.ipeql("plan") == "nothing to do\n")
    before = shape(lab)
    assert len(before) == 5
    lab.a.run("ip", *command.split())
    wait_for(lambda: shape(lab) == before)
    wait_for(lambda: daemon.ipeql("plan") == "nothing to do\n")


def test_a_slave_that_was_set_down_stays_down(lab: Lab, daemon: Ipeqld) -> None:
    def states() -> dict[str, str]:
        (shown,) = daemon.status()["bundles"]
        return {each["name"]: each["state"] for each in shown["slaves"]}

    lab.a.run("ip", "link", "set", "eth2", "down")
    daemon.ipeql("reload")
    daemon.process.kill()
    daemon.process.wait()
    daemon.start()
    wait_for(lambda: daemon.run_ipeql("apply").returncode == 0)
    assert states() == {"eth1": "active", "eth2": "admin-down"}
    assert ",UP" not in lab.a.run("ip", "-o", "link", "show", "eth2")
    lab.a.run("ip", "link", "set", "eth2", "up")
    wait_for(lambda: states() == {"eth1": "active", "eth2": "active"})


def test_ipv6_comes_back_with_the_mtu(lab: Lab, daemon: Ipeqld) -> None:
    wait_for(lambda: daemon.ipeql("plan") == "nothing to do\n")
    before = shape(lab)
    lab.a.run("ip", "link", "set", "eth2", "mtu", "600")
    wait_for(lambda: shape(lab)[:1] == ["600"])
    wait_for(lambda: daemon.status()["bundles"][0]["problems"])
    (problem,) = daemon.status()["bundles"][0]["problems"]
    assert "fd00:9::1/64" in problem["message"]
    assert "1280" in problem["help"]
    lab.a.run("ip", "link", "set", "eth2", "mtu", "1500")
    wait_for(lambda: shape(lab) == before)
