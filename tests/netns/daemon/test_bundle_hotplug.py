"""Links that go, come back, appear, move and change their names under a running bundle."""

from collections.abc import Iterator

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import (
    USUAL,
    bundle,
    carries,
    configuration,
    slave,
    traffic,
    usable,
    wait_for,
)

pytestmark = pytest.mark.netns

MOST_LOST = 3


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * 4, names=["eth1", "eth2", "lte0", "lte1"]) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def test_a_device_unplugged_and_plugged_in_again_is_enslaved_again(
    lab: Lab, daemon: Ipeqld
) -> None:
    before = lab.a.index("eth2")
    with traffic(lab, most_lost=MOST_LOST):
        wait_for(carries(daemon, "eth1", "eth2"))
        lab.delete_link("eth2")
        wait_for(lambda: usable(daemon) == ["eth1"])
        wait_for(carries(daemon, "eth1"))
        assert daemon.status()["bundles"][0]["slaves"][1]["state"] == "absent"
    with traffic(lab):
        lab.create_link("eth2")
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
        wait_for(carries(daemon, "eth1", "eth2"))
    assert lab.a.index("eth2") != before


def test_links_that_match_join_when_they_appear(lab: Lab, daemon: Ipeqld) -> None:
    match = '{match: {name: "lte*"}, bandwidth: 20Mbit, lag: 45ms, via6: "fd77:1::2"}'
    for link in ("lte0", "lte1"):
        lab.delete_link(link)
    daemon.reload(configuration(bundle([slave(1), match])))
    assert usable(daemon) == ["eth1"]
    with traffic(lab, "10.9.0.2"):
        lab.create_link("lte1")
        wait_for(lambda: usable(daemon) == ["eth1", "lte1"])
        lab.create_link("lte0")
        wait_for(lambda: usable(daemon) == ["eth1", "lte0", "lte1"])
        wait_for(carries(daemon, "eth1", "lte0", "lte1"))
    labels = [each["label"] for each in daemon.status()["bundles"][0]["slaves"]]
    assert labels == ["eth1", "lte*", "lte*"]


def test_a_slave_moved_to_another_namespace_and_back(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab, "10.9.0.2", most_lost=MOST_LOST):
        wait_for(carries(daemon, "eth1", "eth2"))
        lab.a.run("ip", "link", "set", "eth2", "netns", lab.middle.netns)
        wait_for(lambda: usable(daemon) == ["eth1"])
        wait_for(carries(daemon, "eth1"))
    with traffic(lab, "10.9.0.2"):
        lab.middle.run("ip", "link", "set", "eth2", "netns", lab.a.netns)
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
        wait_for(carries(daemon, "eth1", "eth2"))


def test_a_renamed_slave_leaves_and_joins_under_its_old_name(lab: Lab, daemon: Ipeqld) -> None:
    def rename(old: str, new: str) -> None:
        lab.a.run("ip", "link", "set", old, "down")
        lab.a.run("ip", "link", "set", old, "name", new)

    with traffic(lab, "10.9.0.2", most_lost=MOST_LOST):
        wait_for(carries(daemon, "eth1", "eth2"))
        rename("eth2", "spare")
        wait_for(lambda: usable(daemon) == ["eth1"])
        wait_for(carries(daemon, "eth1"))
    with traffic(lab, "10.9.0.2"):
        rename("spare", "eth2")
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
        wait_for(carries(daemon, "eth1", "eth2"))
