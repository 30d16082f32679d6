"""A VRF around a bundle, and a VLAN below it; inside the emulated kernel.

The kernel that runs here may have neither of these devices. test_dataplanes.py runs it.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import configuration, wait_for

pytestmark = pytest.mark.netns

PINGS = 5
PATIENCE_S = 60


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([None] * 2) as lab:
        yield lab


@contextmanager
def bundles(lab: Lab, backend: str, *slaves: str) -> Iterator[Ipeqld]:
    """Have a bundle at both ends, 10.9.0.1 and 10.9.0.2; yield the daemon of host a."""
    rows = "".join(f"\n      - {{name: {slave}}}" for slave in slaves)
    near, far = (
        configuration(
            f"  ipeql0:\n    method: round_robin\n    backend: {backend}\n"
            f"    addresses: [10.9.0.{own}/24]\n    slaves:{rows}"
        )
        for own in (1, 2)
    )
    with Ipeqld(lab.b, far), Ipeqld(lab.a, near) as daemon:
        for host in (lab.a, lab.b):
            host.wait_running("ipeql0")
        yield daemon


def answered(lab: Lab, *options: str) -> int:
    """Return how many of the pings to the far end are answered."""
    command = ("ping", "-n", "-c", str(PINGS), "-i", "0.2", "-W", "2", *options, "10.9.0.2")
    done = lab.a.call(
        lambda: subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    )
    return done.stdout.count("bytes from")


def received(daemon: Ipeqld) -> list[int]:
    """Return the packets received over each slave."""
    slaves = daemon.status()["bundles"][0]["slaves"]
    return [slave["received_packets"] for slave in slaves]


@pytest.mark.parametrize("backend", ["bpf", "tun"])
def test_a_vlan_may_be_a_slave_and_the_bundle_in_a_vrf(lab: Lab, backend: str) -> None:
    for host in (lab.a, lab.b):
        host.run("ip", "link", "add", "link", "eth2", "name", "eth2.7", "type", "vlan", "id", "7")
        host.run("ip", "link", "set", "eth2.7", "up")
    with bundles(lab, backend, "eth1", "eth2.7") as daemon:
        assert answered(lab) == PINGS
        wait_for(lambda: all(received(daemon)), PATIENCE_S)
        lab.a.run("ip", "link", "add", "red", "type", "vrf", "table", "77")
        lab.a.run("ip", "link", "set", "red", "up")
        lab.a.run("ip", "link", "set", "ipeql0", "master", "red")
        assert answered(lab, "-I", "red") == PINGS
        assert answered(lab) == 0
