"""Links that go, come back, appear, move and change their names under a running bundle."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, slave, traffic, wait_for, worker_pid

pytestmark = pytest.mark.netns

MOST_LOST = 3
RELOADS = 6


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * 4, names=["eth1", "eth2", "lte0", "lte1"]) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture(params=["tun", "bpf"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def daemon(lab: Lab, backend: str) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, configuration(bundle(backend=backend))) as daemon:
        yield daemon


def slaves(daemon: Ipeqld) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.status()["bundles"][0]["slaves"]
    return found


def usable(daemon: Ipeqld) -> list[str]:
    return [each["name"] for each in slaves(daemon) if each["state"] == "active"]


def carries(daemon: Ipeqld, *names: str) -> Callable[[], bool]:
    """Return a condition: each slave named has sent packets since this call."""
    before = {each["name"]: each["packets"] for each in slaves(daemon)}

    def sent() -> set[str]:
        now = {each["name"]: each["packets"] for each in slaves(daemon)}
        return {name for name, count in now.items() if count > before.get(name, 0)}

    return lambda: sent().issuperset(names)


def test_a_device_unplugged_and_plugged_in_again_is_enslaved_again(
    lab: Lab, daemon: Ipeqld
) -> None:
    before = lab.a.index("eth2")
    with traffic(lab, most_lost=MOST_LOST):
        wait_for(carries(daemon, "eth1", "eth2"))
        lab.delete_link("eth2")
        wait_for(lambda: usable(daemon) == ["eth1"])
        wait_for(carries(daemon, "eth1"))
        assert slaves(daemon)[1]["state"] == "absent"
    with traffic(lab):
        lab.create_link("eth2")
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
        wait_for(carries(daemon, "eth1", "eth2"))
    assert lab.a.index("eth2") != before


def test_links_that_match_join_when_they_appear(lab: Lab, daemon: Ipeqld, backend: str) -> None:
    match = '{match: {name: "lte*"}, bandwidth: 20Mbit, lag: 45ms, via6: "fd77:1::2"}'
    for link in ("lte0", "lte1"):
        lab.delete_link(link)
    daemon.reload(configuration(bundle([slave(1), match], backend=backend)))
    assert usable(daemon) == ["eth1"]
    with traffic(lab, "10.9.0.2"):
        lab.create_link("lte1")
        wait_for(lambda: usable(daemon) == ["eth1", "lte1"])
        lab.create_link("lte0")
        wait_for(lambda: usable(daemon) == ["eth1", "lte0", "lte1"])
        wait_for(carries(daemon, "eth1", "lte0", "lte1"))
    assert [each["label"] for each in slaves(daemon)] == ["eth1", "lte*", "lte*"]


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


def test_a_machine_that_slept_is_whole_again(lab: Lab, daemon: Ipeqld, backend: str) -> None:
    """A link is another one, and the bundle's address has gone, while every process is stopped."""
    stopped = [daemon.process.pid, *([worker_pid(daemon)] if backend == "tun" else [])]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        lab.delete_link("eth2")
        lab.create_link("eth2")
        lab.a.run("ip", "address", "flush", "dev", "ipeql0")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
    wait_for(lambda: "10.9.0.1/24" in lab.a.run("ip", "address", "show", "ipeql0"))
    with traffic(lab, "10.9.0.2"):
        wait_for(carries(daemon, "eth1", "eth2"))


def test_no_reload_fails_while_a_link_flaps(lab: Lab, daemon: Ipeqld, backend: str) -> None:
    for turn in range(RELOADS):
        lab.set_carrier(lab.a, "eth2", turn % 2 == 1)
        more = f"packets-per-slave: {turn % 5 + 1}"
        daemon.reload(
            configuration(bundle((slave(1), slave(2)), "round_robin", more, backend=backend))
        )
    lab.set_carrier(lab.a, "eth2", True)
    wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
    with traffic(lab, "10.9.0.2"):
        wait_for(carries(daemon, "eth1", "eth2"))
