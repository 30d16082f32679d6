"""Two daemons whose bundles probe each other: what becomes of traffic, and of the prober."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.shaper import Shape
from tests.netns.bundle import bundle, carries, configuration, traffic, wait_for
from tests.netns.paths.ends import PATIENCE_S, answers, probers, states

pytestmark = pytest.mark.netns

MS = 10**6


def written(lab: Lab, number: int, probe: str = "") -> str:
    """Return the configuration of host a (1) or b (2)."""
    far = 3 - number
    slaves = [
        f'{{name: {link}, bandwidth: 20Mbit, lag: auto, via6: "fd77:{place}::{far}"}}'
        for place, link in enumerate(lab.names, 1)
    ]
    addresses = f'addresses: [10.9.0.{number}/24, "fd00:9::{number}/64"]'
    key = f"probe: {{to: 10.9.0.{far}{probe}}}"
    return configuration(bundle(slaves, "bw_lag", key, addresses=addresses))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([Shape(rate=20_000_000, delay=5 * MS)] * 2) as lab:
        yield lab


@pytest.fixture
def daemons(lab: Lab) -> Iterator[tuple[Ipeqld, Ipeqld]]:
    with ExitStack() as stack:
        a = stack.enter_context(Ipeqld(lab.a, written(lab, 1)))
        b = stack.enter_context(Ipeqld(lab.b, written(lab, 2)))
        wait_for(lambda: answers(a) == ["eth1", "eth2"], PATIENCE_S)
        wait_for(lambda: states(a) == {"eth1": "active", "eth2": "active"}, PATIENCE_S)
        yield a, b


def test_a_silent_link_is_named_and_carries_nothing(
    lab: Lab, daemons: tuple[Ipeqld, Ipeqld]
) -> None:
    a, _ = daemons
    lab.shape("eth2", silent=True)
    try:
        wait_for(lambda: states(a) == {"eth1": "active", "eth2": "path-down"}, PATIENCE_S)
        with traffic(lab, "10.9.0.2"):
            wait_for(carries(a, "eth1"))
    finally:
        lab.shape("eth2", silent=False)
    wait_for(lambda: states(a)["eth2"] == "active", PATIENCE_S)
    with traffic(lab, "10.9.0.2"):
        wait_for(carries(a, "eth1", "eth2"))


def test_a_prober_that_is_killed_is_replaced_and_said_once(
    lab: Lab, daemons: tuple[Ipeqld, Ipeqld]
) -> None:
    a, _ = daemons
    (pid,) = probers(lab.a)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: probers(lab.a) not in ([], [pid]), PATIENCE_S)
    wait_for(lambda: answers(a) == ["eth1", "eth2"], PATIENCE_S)
    a.stop()
    told = [line for line in a.log if "prober" in line]
    assert told == ["ipeqld: the prober ended (SIGKILL); starting another"]
    assert probers(lab.a) == []


def test_a_prober_ends_with_its_daemon_however_that_ends(
    lab: Lab, daemons: tuple[Ipeqld, Ipeqld]
) -> None:
    a, _ = daemons
    before = probers(lab.a)
    a.process.kill()
    a.process.wait()
    wait_for(lambda: probers(lab.a) == [], PATIENCE_S)
    a.start()
    wait_for(lambda: len(probers(lab.a)) == 1, PATIENCE_S)
    assert probers(lab.a) != before


def test_without_probes_there_is_no_prober(lab: Lab, daemons: tuple[Ipeqld, Ipeqld]) -> None:
    a, _ = daemons
    plain = (
        written(lab, 1).replace("    probe: {to: 10.9.0.2}\n", "").replace("lag: auto", "lag: 1ms")
    )
    a.reload(plain)
    wait_for(lambda: probers(lab.a) == [], PATIENCE_S)
    a.reload(written(lab, 1))
    wait_for(lambda: answers(a) == ["eth1", "eth2"], PATIENCE_S)


def test_a_slave_that_comes_back_under_another_ifindex_is_probed(
    lab: Lab, daemons: tuple[Ipeqld, Ipeqld]
) -> None:
    a, b = daemons
    before = lab.a.index("eth2")
    lab.delete_link("eth2")
    wait_for(lambda: answers(a) == ["eth1"], PATIENCE_S)
    lab.create_link("eth2")
    assert lab.a.index("eth2") != before
    wait_for(lambda: answers(a) == ["eth1", "eth2"], PATIENCE_S)
    wait_for(lambda: answers(b) == ["eth1", "eth2"], PATIENCE_S)
