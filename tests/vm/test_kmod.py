"""The kernel module on Debian 12's kernel."""

from pathlib import Path

import pytest

from tests.vm.recorder import MODULE
from tests.vm.room import TIMEOUT_S, Room
from tests.vm.test_dataplanes import contract

pytestmark = [pytest.mark.vm, pytest.mark.timeout(TIMEOUT_S + 60)]

INSIDE = "tests/vm/kmod_inside.py"
TESTS = (
    "iproute2_alone_makes_a_bundle_that_stripes",
    "the_first_packet_to_every_fresh_neighbour_arrives",
    "a_slave_fails_and_nothing_is_lost",
    "the_carrier_of_a_bundle_is_its_slaves",
    "the_mtu_of_a_bundle_is_its_smallest_slave_s",
    "every_method_change_loses_nothing",
    "paths_of_unequal_lag_deliver_in_order",
    "devices_come_and_go_under_traffic",
    "the_module_comes_and_goes_under_traffic",
)
NODES = (*contract("kmod"), *(f"{INSIDE}::test_{name}" for name in TESTS))


@pytest.mark.parametrize(
    "node", NODES if MODULE.exists() else (), ids=lambda node: node.rpartition("/")[2]
)
def test_inside(node: str, room: Room) -> None:
    room.check(node)


def test_module_is_built_from_these_sources() -> None:
    if not MODULE.exists():
        pytest.skip("the kernel module is not built: make -C kmod, with linux-headers-amd64")
    sources = [*MODULE.parent.glob("*.[ch]"), MODULE.with_name("Kbuild")]
    own = [source for source in sources if not source.name.endswith(".mod.c")]
    newest = max(Path(source).resolve().stat().st_mtime for source in own)
    assert newest <= MODULE.stat().st_mtime
