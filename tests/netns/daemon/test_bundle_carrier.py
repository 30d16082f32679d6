"""The bundle's carrier follows its slaves, and a route of a higher metric takes over meanwhile."""

from collections.abc import Iterator

import pytest

from ipeql.errors import ExitCode
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import USUAL, carries, traffic, wait_for

pytestmark = pytest.mark.netns

TO = "192.168.40.1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None, None]) as lab:
        lab.plain_receiver(lab.names[2])
        yield lab


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    lab.a.sysctl("net/ipv4/conf/default/ignore_routes_with_linkdown", "1")
    with Ipeqld(lab.a, USUAL) as daemon:
        lab.a.run("ip", "route", "add", "192.168.40.0/24", "via", "10.9.0.2", "metric", "10")
        back = ["via", str(lab.address(lab.b, "eth3").ip), "metric", "100"]
        lab.a.run("ip", "route", "add", "192.168.40.0/24", *back)
        yield daemon


def way(lab: Lab) -> str:
    """Return the device over which the kernel would send."""
    words = lab.a.run("ip", "route", "get", TO).split()
    return words[words.index("dev") + 1]


def test_routes_fall_back_while_no_slave_is_usable(lab: Lab, daemon: Ipeqld) -> None:
    assert way(lab) == "ipeql0"
    lab.set_carrier(lab.a, "eth1", False)
    wait_for(lambda: daemon.status()["bundles"][0]["usable_slaves"] == 1)
    assert way(lab) == "ipeql0"
    lab.set_carrier(lab.a, "eth2", False)
    wait_for(lambda: way(lab) == "eth3")
    assert daemon.status()["bundles"][0]["state"] == "down"
    assert daemon.run_ipeql("status").returncode == ExitCode.DOWN
    lab.set_carrier(lab.a, "eth1", True)
    wait_for(lambda: way(lab) == "ipeql0")
    lab.set_carrier(lab.a, "eth2", True)
    with traffic(lab):
        wait_for(carries(daemon, "eth1", "eth2"))
    wait_for(lambda: daemon.status()["bundles"][0]["state"] == "ready")
    assert daemon.run_ipeql("status").returncode == ExitCode.OK
