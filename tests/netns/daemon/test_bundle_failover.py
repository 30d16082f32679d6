"""A bundle loses slaves and gets them back, under 1000 packets/s of each IP version."""

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import SECOND
from tests.netns.bundle import USUAL, carries, traffic, usable, wait_for

pytestmark = pytest.mark.netns

MOST_LOST = 3
"""Of 1000 packets/s, when a slave fails."""

HELD_OFF_S = 0.5
"""A slave that is back waits longer than this, and nothing else may take so long."""


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def set_up(lab: Lab, up: bool) -> None:
    lab.a.set_up("eth2", up)


def set_carrier(lab: Lab, carrier: bool) -> None:
    lab.set_carrier(lab.a, "eth2", carrier)


@pytest.mark.parametrize("fail", [set_up, set_carrier])
def test_a_slave_fails_and_comes_back(
    lab: Lab, daemon: Ipeqld, fail: Callable[[Lab, bool], None]
) -> None:
    with traffic(lab, most_lost=MOST_LOST):
        wait_for(carries(daemon, "eth1", "eth2"))
        fail(lab, False)
        wait_for(lambda: usable(daemon) == ["eth1"])
        wait_for(carries(daemon, "eth1"))

    with traffic(lab):
        fail(lab, True)
        back = time.monotonic()
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
        assert time.monotonic() - back > HELD_OFF_S
        wait_for(carries(daemon, "eth2"))


def test_the_last_slave_back_serves_at_once(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab, most_lost=sys.maxsize) as results:
        wait_for(carries(daemon, "eth1", "eth2"))
        started = time.monotonic_ns()
        for link in ("eth1", "eth2"):
            lab.a.set_up(link, False)
        wait_for(lambda: not usable(daemon))
        assert daemon.status()["bundles"][0]["state"] == "down"
        outage = time.monotonic_ns() - started
        lab.a.set_up("eth2")
        wait_for(carries(daemon, "eth2"))
    assert max(result.longest_gap for result in results) < outage + HELD_OFF_S * SECOND
    assert usable(daemon) == ["eth2"]

    lab.a.set_up("eth1")
    wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
