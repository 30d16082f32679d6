"""The kernel module on Debian 12's kernel."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lab.vm import machine as vm
from tests.vm.recorder import MODULE, is_built_for
from tests.vm.room import TIMEOUT_S, Room
from tests.vm.test_dataplanes import adjusting, contract, devices, using

pytestmark = [pytest.mark.vm, pytest.mark.timeout(TIMEOUT_S + 60)]

TESTS = {
    "kmod_inside": (
        "iproute2_alone_makes_a_bundle_that_stripes",
        "the_first_packet_to_every_fresh_neighbour_arrives",
        "the_carrier_of_a_bundle_is_its_slaves",
        "the_mtu_of_a_bundle_is_its_smallest_slave_s",
        "the_path_of_a_tunnel_tells_its_mtu",
        "every_method_change_loses_nothing",
        "a_next_hop_is_one_host_s_address",
        "paths_of_unequal_lag_deliver_in_order",
        "devices_come_and_go_under_traffic",
        "the_module_comes_and_goes_under_traffic",
    ),
    "kmod_observed_inside": (
        "a_tap_sees_every_packet",
        "a_queueing_discipline_gets_every_packet",
        "a_shaper_holds_its_rate",
        "mark_and_priority_reach_the_slave",
        "a_filter_may_drop_every_packet",
        "a_bundle_that_is_down_sends_nothing",
    ),
    "kmod_receive_inside": (
        "a_tap_and_the_counters_see_both_directions",
        "a_socket_bound_to_the_bundle_hears",
        "link_local_addresses_of_the_bundles_reach_each_other",
        "a_broadcast_of_the_bundles_subnet_is_heard",
        "a_group_is_heard",
        "a_firewall_matches_the_bundle_s_name",
        "a_slave_s_own_traffic_stays_its_own",
        "trains_stay_whole",
        "it_may_stay_with_the_slave",
        "a_slave_that_another_device_hears_by_keeps_what_it_receives",
        "a_bundle_may_be_in_a_vrf_and_in_no_bridge",
        "a_vlan_may_be_a_slave",
    ),
    "kmod_trains_inside": (
        "the_stripe_unit_is_a_train_or_a_packet",
        "the_trains_of_a_connection_are_cut_from_a_change_on",
    ),
    "kmod_use_inside": (
        "a_flow_stays_on_its_slave",
        "a_slave_for_when_others_are_full_gets_what_is_too_much",
        "what_was_set_is_told_and_what_cannot_be_is_refused",
    ),
    "kmod_version_inside": (
        "a_module_of_another_version_is_refused_with_the_remedy",
        "an_answer_that_cannot_be_understood_is_a_problem_of_its_bundle",
    ),
}
"""The files in tests/vm that only a guest runs, and what of each."""

EXACT = {
    "kmod_inside": ("a_slave_fails_and_nothing_is_lost",),
    "kmod_use_inside": ("a_slave_for_when_others_are_down_rests_until_they_are",),
    "kmod_pressure_inside": ("a_call_beside_a_download_has_its_turn",),
    "kmod_daemon_inside": (
        "auto_takes_the_module_a_killed_daemon_is_not_missed_and_the_end_leaves_nothing",
        "a_reload_with_another_method_and_other_slaves_loses_nothing",
        "a_device_unplugged_and_plugged_in_again_is_enslaved_again",
    ),
}
"""What is done on the instruction clock: a daemon has its time there, however busy the machine."""

RELEASE = (vm.newest_kernel() or Path()).name.removeprefix("vmlinuz-")


def nodes(tests: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"tests/vm/{file}.py::test_{name}" for file, names in tests.items() for name in names]


NODES = (
    *contract("kmod"),
    *adjusting("kmod"),
    *using("kmod"),
    *devices("kmod"),
    *nodes(TESTS),
)


@pytest.mark.parametrize(
    "node", NODES if is_built_for(RELEASE) else (), ids=lambda node: node.rpartition("/")[2]
)
def test_inside(node: str, module_room: Room) -> None:
    module_room.check(node)


@pytest.mark.parametrize(
    "node", nodes(EXACT) if is_built_for(RELEASE) else (), ids=lambda node: node.rpartition("/")[2]
)
def test_inside_on_the_instruction_clock(node: str, exact_room: Room) -> None:
    exact_room.check(node)


def test_module_is_built_from_these_sources(guests: Mapping[str, object]) -> None:
    if not is_built_for(RELEASE):
        pytest.skip(
            f"the module is not built: make -C kernel/module KERNELRELEASE={RELEASE or '...'}"
        )
    sources = [*MODULE.parent.glob("*.[ch]"), MODULE.with_name("Kbuild")]
    own = [source for source in sources if not source.name.endswith(".mod.c")]
    newest = max(Path(source).resolve().stat().st_mtime for source in own)
    assert newest <= MODULE.stat().st_mtime
