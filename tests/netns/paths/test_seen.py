"""What people see of a path that dies behind a live carrier, and comes back."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.shaper import Shape
from tests.netns.bundle import bundle, configuration, wait_for

pytestmark = pytest.mark.netns

MS = 10**6
PATIENCE_S = 20.0
SLAVES = ("{name: eth1, bandwidth: 20Mbit}", "{name: eth2, bandwidth: 20Mbit}")


def written(number: int) -> str:
    """Return the configuration of host a (1) or b (2)."""
    probe = f"probe: {{to: 10.9.0.{3 - number}}}"
    addresses = f"addresses: [10.9.0.{number}/24]"
    return configuration(bundle(SLAVES, "bw_lag_val", probe, addresses=addresses))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([Shape(delay=5 * MS)] * 2) as lab:
        yield lab


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with ExitStack() as stack:
        daemon = stack.enter_context(Ipeqld(lab.a, written(1)))
        stack.enter_context(Ipeqld(lab.b, written(2)))
        wait_for(lambda: seen(daemon) == ["active, up", "active, up"], PATIENCE_S)
        yield daemon


def seen(daemon: Ipeqld) -> list[str]:
    """Return state and standing of each slave."""
    slaves = daemon.status()["bundles"][0]["slaves"]
    return [f"{slave['state']}, {slave['path']['standing']}" for slave in slaves]


def pinged(daemon: Ipeqld) -> list[bool]:
    """Return over which slaves the far end answers, in their order."""
    slaves = json.loads(daemon.run_ipeql("ping", "ipeql0", "--json").stdout)["slaves"]
    return [slave["round_trip_ns"] is not None for slave in slaves]


def test_a_path_that_dies_is_named_with_the_reason_and_its_return_too(
    lab: Lab, daemon: Ipeqld
) -> None:
    wait_for(lambda: pinged(daemon) == [True, True], PATIENCE_S)
    lab.shape("eth2", silent=True)
    wait_for(lambda: seen(daemon) == ["active, up", "path-down, down"], PATIENCE_S)
    daemon.wait_log("ipeql0/eth2: active -> path-down: no answer (asked: 10.9.0.2)")
    assert pinged(daemon) == [True, False]
    assert "eth2 rests: no answer (asked: 10.9.0.2)" in daemon.ipeql("status")
    assert "eth2" in daemon.ipeql("paths")
    lab.shape("eth2", silent=False)
    wait_for(lambda: seen(daemon) == ["active, up", "active, up"], PATIENCE_S)
    daemon.wait_log("ipeql0/eth2: path-down -> active")
