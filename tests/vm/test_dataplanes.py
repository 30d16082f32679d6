"""The dataplanes on Debian 12's kernel: what of tests/netns is run in the emulated one."""

import pytest

from tests.vm.room import TIMEOUT_S, Room

pytestmark = [pytest.mark.vm, pytest.mark.timeout(TIMEOUT_S + 60)]

_CONTRACT = (
    "capabilities_say_what_is_there",
    "create_marks_a_device_that_is_down_and_destroy_removes_all",
    "a_table_is_observed_as_it_was_configured",
    "a_table_that_cannot_be_is_refused_whole",
    "statistics_are_kept_for_the_slaves_that_stay",
    "a_packet_without_a_usable_slave_is_counted",
    "another_backend_object_adopts_what_runs",
    "a_device_deleted_by_others_is_made_anew",
    "what_does_not_exist_is_an_error_with_its_name",
)
_DEVICES = (
    "a_link_whose_carrier_returns_loses_nothing[{}]",
    "a_link_without_header_gets_bare_packets[{}]",
    "multicast_takes_the_first_usable_slave[{}]",
    "the_broadcast_of_a_subnet_is_placed_by_the_method[{}]",
    "auto_bw_reads_the_queues_of_the_slaves[{}]",
    "a_link_that_goes_down_gets_no_packet_more[{}-set_down]",
    "a_link_that_goes_down_gets_no_packet_more[{}-carrier_lost]",
    "a_route_that_changes_takes_its_packets_along[{}-ipv4]",
    "a_route_that_changes_takes_its_packets_along[{}-ipv6]",
    "a_route_that_changes_takes_its_packets_along[{}-ipv4_by_ipv6]",
)

_INTERFACE = (
    "packet_sockets_and_counters_see_every_packet[{}]",
    "a_shaper_shapes[{}]",
    "every_queueing_discipline_can_be_attached[{}-fq_codel]",
    "netfilter_sees_and_drops[{}]",
)


_ADJUST = (
    "a_slave_leaves_and_returns_at_once_and_nothing_is_lost",
    "rates_and_lags_count_from_the_next_packet_on",
    "an_adjustment_outlives_a_table_for_the_slaves_that_stay",
    "no_slave_is_left_where_all_are_out",
    "what_cannot_be_adjusted_is_refused",
)

_USE = (
    "a_spare_gets_packets_while_no_other_is_usable",
    "overflow_takes_packets_while_all_others_are_full",
    "a_flow_moves_when_its_slave_is_out_and_stays_over_a_new_table",
    "every_packet_takes_as_many_slaves_as_it_has_copies",
    "a_class_goes_its_own_way_whatever_the_method",
)

_AROUND = "tests/vm/around_inside.py::test_a_vlan_may_be_a_slave_and_the_bundle_in_a_vrf"


def contract(backend: str) -> tuple[str, ...]:
    """Return the contract's tests of one backend."""
    file = "tests/netns/backends/test_backend_contract.py"
    return tuple(f"{file}::test_{name}[{backend}]" for name in _CONTRACT)


def adjusting(backend: str) -> tuple[str, ...]:
    """Return the tests of one backend that is adjusted."""
    file = "tests/netns/backends/test_adjust.py"
    return tuple(f"{file}::test_{name}[{backend}]" for name in _ADJUST)


def using(backend: str) -> tuple[str, ...]:
    """Return the tests of the rules beside the methods, of one backend in the kernel."""
    file = "tests/netns/backends/test_use.py"
    return tuple(f"{file}::test_{name}[{backend}]" for name in _USE)


def devices(backend: str) -> tuple[str, ...]:
    """Return the tests of links and next hops of one backend in the kernel."""
    file = "tests/netns/backends/test_backend_devices.py"
    return tuple(f"{file}::test_{name.format(backend)}" for name in _DEVICES)


def interface(backend: str) -> tuple[str, ...]:
    """Return the tests of the bundle's device of one backend."""
    file = "tests/netns/backends/test_interface.py"
    return tuple(f"{file}::test_{name.format(backend)}" for name in _INTERFACE)


TUN = (*contract("tun"), *interface("tun"), f"{_AROUND}[tun]")
BPF = (
    *contract("bpf"),
    *adjusting("bpf"),
    *using("bpf"),
    *devices("bpf"),
    *interface("bpf"),
    f"{_AROUND}[bpf]",
    "tests/netns/backends/test_interface.py::test_mark_and_priority_are_kept[bpf]",
    "tests/netns/backends/test_bpf_devices.py::test_every_kind_of_device_will_do",
    "tests/netns/backends/test_bpf_methods.py::test_every_decision_is_the_reference_s",
    "tests/netns/backends/test_holding.py::test_a_lightnowledgement_overtakes_what_is_held",
    "tests/netns/backends/test_holding.py::test_what_is_held_for_a_slave_that_is_out_takes_another",
)

HOLDING = (
    "tests/vm/shaper_inside.py::test_a_call_beside_a_download_has_its_turn",
    "tests/vm/bpf_held_inside.py::test_nothing_that_is_held_is_lost_and_the_end_leaves_nothing",
    *(
        f"tests/netns/backends/bpf_holding_inside.py::test_{name}"
        for name in (
            "a_packet_is_held_until_it_is_due",
            "the_devices_are_there_while_the_method_holds",
            "devices_that_others_have_deleted_are_made_anew",
            "a_new_table_loses_nothing_that_is_held",
            "what_is_held_for_a_link_that_goes_down_takes_another",
            "the_first_packet_asks_for_its_next_hop_on_every_slave",
        )
    ),
)
"""What takes fq, which the kernel that runs the other tests may not have.

Done on the instruction clock, which skips the time in which all wait.
"""

TUNNELS = (
    "tests/vm/over_inside.py::test_wireguard_of_the_kernel_follows_its_uplink",
    "tests/vm/over_inside.py::test_a_tunnel_bound_to_a_modem_follows_it",
)


@pytest.mark.parametrize("node", TUN + BPF + TUNNELS, ids=lambda node: node.rpartition("/")[2])
def test_inside(node: str, room: Room) -> None:
    room.check(node)


@pytest.mark.parametrize("node", HOLDING, ids=lambda node: node.rpartition("/")[2])
def test_inside_on_the_instruction_clock(node: str, exact_room: Room) -> None:
    exact_room.check(node)
