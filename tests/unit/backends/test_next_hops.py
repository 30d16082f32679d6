"""Which next hops are asked for before a packet needs them."""

from ipaddress import IPv4Address, ip_address
from typing import Any

from ipeql.backends.bpf.next_hops import missing
from ipeql.state import SlaveRow

BUNDLE, ETH1, ETH2 = 7, 11, 12
ROWS = (SlaveRow(ETH1, "eth1"), SlaveRow(ETH2, "eth2"))
REACHABLE, FAILED = 0x02, 0x20
UNICAST, LOCAL = 1, 2


def route(dst: str | None, length: int, gateway: str | None = None, **more: int) -> dict[str, Any]:
    usual = {"dst": dst, "dst_len": length, "gateway": gateway, "oif": BUNDLE, "type": UNICAST}
    return usual | dict(more)


def neighbour(ifindex: int, dst: str, state: int = REACHABLE) -> dict[str, Any]:
    return {"ifindex": ifindex, "dst": dst, "state": state}


SUBNET = route("10.9.0.0", 24)


def wanted(*pairs: tuple[int, str]) -> list[tuple[int, object]]:
    return [(ifindex, ip_address(address)) for ifindex, address in pairs]


def test_the_gateways_of_the_bundle_are_asked_for_on_every_slave() -> None:
    routes = [SUBNET, route(None, 0, "10.9.0.2"), route("192.168.7.0", 24, "10.77.1.1", oif=ETH1)]
    assert missing(BUNDLE, ROWS, routes, []) == wanted((ETH1, "10.9.0.2"), (ETH2, "10.9.0.2"))


def test_what_one_slave_knows_of_the_bundle_s_subnet_is_asked_for_on_the_others() -> None:
    local = route("10.1.0.0", 16, type=LOCAL)
    link = route("fe80::", 64)
    found = [neighbour(ETH1, each) for each in ("10.9.0.3", "10.1.0.4", "fe80::5", "10.77.1.1")]
    failed = neighbour(ETH1, "10.9.0.6", FAILED)
    elsewhere = neighbour(99, "10.9.0.8")
    asked = missing(BUNDLE, ROWS, [SUBNET, local, link], [*found, failed, elsewhere])
    assert asked == wanted((ETH2, "10.9.0.3"))


def test_a_slave_s_own_next_hop_is_asked_for_instead() -> None:
    rows = (SlaveRow(ETH1, "eth1", via=IPv4Address("10.77.1.1")), ROWS[1])
    routes = [route("192.168.1.0", 24, "10.9.0.2"), route("fd01::", 64, "fd00:9::2")]
    assert missing(BUNDLE, rows, routes, []) == wanted(
        (ETH1, "10.77.1.1"), (ETH1, "fd00:9::2"), (ETH2, "10.9.0.2"), (ETH2, "fd00:9::2")
    )


def test_what_the_kernel_has_an_entry_for_is_left_to_it() -> None:
    routes = [SUBNET, route("192.168.1.0", 24, "10.9.0.2")]
    found = [neighbour(ETH1, "10.9.0.2", FAILED), neighbour(ETH2, "10.9.0.2")]
    assert missing(BUNDLE, ROWS, routes, found) == []
