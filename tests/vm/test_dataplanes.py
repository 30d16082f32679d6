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


def contract(backend: str) -> tuple[str, ...]:
    """Return the contract's tests of one backend."""
    file = "tests/netns/backends/test_backend_contract.py"
    return tuple(f"{file}::test_{name}[{backend}]" for name in _CONTRACT)


def devices(backend: str) -> tuple[str, ...]:
    """Return the tests of links and next hops of one backend in the kernel."""
    file = "tests/netns/backends/test_backend_devices.py"
    return tuple(f"{file}::test_{name.format(backend)}" for name in _DEVICES)


TUN = contract("tun")
BPF = (
    *contract("bpf"),
    *devices("bpf"),
    "tests/netns/backends/test_bpf_devices.py::test_every_kind_of_device_will_do",
    "tests/netns/backends/test_bpf_methods.py::test_every_decision_is_the_reference_s",
)


@pytest.mark.parametrize("node", TUN + BPF, ids=lambda node: node.rpartition("/")[2])
def test_inside(node: str, room: Room) -> None:
    room.check(node)
