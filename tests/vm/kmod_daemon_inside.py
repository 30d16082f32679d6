"""The kernel module under the daemon, inside the emulated kernel; test_kmod.py runs it."""

import asyncio
import re
from collections.abc import Iterator, Sequence

import pytest

from lab.network import ipeqld
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import RECEIVERS, bundle, configuration, machine, slave, wait_for
from tests.vm.kmod_bundle import asked, carries, statistics, traffic
from tests.vm.recorder import SLOWNESS

pytestmark = pytest.mark.netns

RATE = 50
"""Datagrams a second to each receiver: more would take the daemon's time, here."""

RELOADS = (("bw_lag_eq", (3, 2)), ("round_robin", (1, 2)))
"""Another method, and another list of slaves."""


ACTION = r": [+~-] "
"""In the daemon's log, of what it has changed."""


def configured(
    method: str = "round_robin", numbers: Sequence[int] = (1, 2), backend: str = "kmod"
) -> str:
    slaves = [slave(number) for number in numbers]
    return configuration(bundle(slaves, method, backend=backend))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * 3) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Give the programs their time: they start slowly here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipeqld, "START_TIMEOUT_S", ipeqld.START_TIMEOUT_S * SLOWNESS)
        patch.setattr(ipeqld, "STOP_TIMEOUT_S", ipeqld.STOP_TIMEOUT_S * SLOWNESS)
        yield


def usable(lab: Lab) -> list[str]:
    """Return the slaves that the module was told to use, in the table's order."""
    table = asked(lab, lambda backend: asyncio.run(backend.observe()))["ipeql0"].table
    return [row.name for row in table.slaves if row.usable] if table else []


def test_auto_takes_the_module_a_killed_daemon_is_not_missed_and_the_end_leaves_nothing(
    lab: Lab,
) -> None:
    before = machine(lab)
    with Ipeqld(lab.a, configured(backend="auto")) as daemon:
        shown = daemon.status()["bundles"][0]
        assert (shown["backend"], shown["backend_reason"]) == (
            "kmod",
            "the fastest that supports it",
        )
        assert "ipeql0" in lab.a.run("ip", "link", "show", "type", "ipeql")
        with traffic(lab, rate=RATE):
            daemon.process.kill()
            daemon.process.wait()
            wait_for(carries(lab, "eth1", "eth2"))
            running, counted = machine(lab), statistics(lab)
            daemon.log.clear()
            daemon.start()
            daemon.wait_log("ipeql0: new -> ready", timeout=ipeqld.START_TIMEOUT_S)
            wait_for(carries(lab, "eth1", "eth2"))
        assert not [line for line in daemon.log if re.search(ACTION, line)]
        assert machine(lab) == running
        pairs = zip(counted.slaves, statistics(lab).slaves, strict=True)
        assert all(earlier.packets < now.packets for earlier, now in pairs)
        assert daemon.stop() == 0
        assert machine(lab) == before


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, configured()) as daemon:
        yield daemon


def test_a_reload_with_another_method_and_other_slaves_loses_nothing(
    lab: Lab, daemon: Ipeqld
) -> None:
    with traffic(lab, *RECEIVERS, rate=RATE):
        for method, numbers in RELOADS:
            daemon.reload(configured(method, numbers))
            assert usable(lab) == [f"eth{number}" for number in numbers]
            wait_for(carries(lab))


def test_a_device_unplugged_and_plugged_in_again_is_enslaved_again(
    lab: Lab, daemon: Ipeqld
) -> None:
    before = lab.a.index("eth2")
    with traffic(lab, rate=RATE):
        wait_for(carries(lab, "eth1", "eth2"))
        lab.delete_link("eth2")
        wait_for(lambda: usable(lab) == ["eth1"])
        wait_for(carries(lab, "eth1"))
        lab.create_link("eth2")
        wait_for(lambda: usable(lab) == ["eth1", "eth2"], timeout=60)
        wait_for(carries(lab, "eth1", "eth2"))
    assert lab.a.index("eth2") != before
