"""The bus that the tests of a file share."""

import shutil
from collections.abc import Iterator

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import USUAL
from tests.netns.dbus.system_bus import SystemBus


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    for program in ("dbus-daemon", "busctl", "gdbus"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    with Lab([None, None]) as lab:
        yield lab


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Iterator[SystemBus]:
    with Ipeqld(lab.a, USUAL) as daemon:
        bus = SystemBus(daemon)
        bus.start()
        yield bus
        bus.stop()


@pytest.fixture
def bus(shared: SystemBus) -> SystemBus:
    shared.daemon.ipeql("revert")
    shared.daemon.reload(USUAL)
    return shared
