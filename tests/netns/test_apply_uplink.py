"""Rules and tables of uplinks: the kernel takes each, shows it as asked for, and lets it go."""

from ipaddress import ip_address, ip_network

import pytest
from pyroute2 import AsyncIPRoute

from ipeql.apply import uplink
from ipeql.observe import look
from ipeql.state import DEFAULTS, FIRST_MARK, Policy, Rule, TableRoute
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

LINKS = (
    "link add eth1 index 11 type veth peer name far1",
    "link set far1 up",
    "link set eth1 up",
    "address add 192.168.1.2/24 dev eth1",
    "address add fd77::2/64 dev eth1 nodad",
    # Of others, with our number, and in no table of ours.
    "rule add pref 98 fwmark 77 lookup 77 protocol 98",
    "route add unreachable default table 77 protocol 98",
)
T = FIRST_MARK
V4, V6 = DEFAULTS[4], DEFAULTS[6]
ROUTES = (
    TableRoute(T, V4),
    TableRoute(T, V6),
    TableRoute(T, V4, 11, ip_address("192.168.1.1")),
    TableRoute(T, V4, 11, ip_address("172.31.1.1"), ip_address("192.168.1.2")),
    TableRoute(T, V4, 11, ip_address("fe80::1")),
    TableRoute(T, V4, 11),
    TableRoute(T, V6, 11, ip_address("fe80::1"), ip_address("fd77::2")),
    TableRoute(T, V6, 11, ip_address("2001:db8::1")),
    TableRoute(T, V6, 11),
    TableRoute(T, ip_network("192.168.1.0/24"), 11),
    TableRoute(T, ip_network("fd77::/64"), 11),
)
RULES = (
    Rule(4, T, T),
    Rule(6, T, T),
    Rule(4, T, to=ip_network("203.0.113.1/32"), oif="eth1"),
    Rule(6, T, to=ip_network("2001:db8::1/128"), oif="absent0"),
)


async def there() -> Policy:
    _, policy = await look({}, {"eth1"})
    return policy


def test_every_route_and_rule_is_shown_as_it_was_asked_for(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(*LINKS)
        async with AsyncIPRoute() as kernel:
            for rule in RULES:
                await uplink.add_rule(kernel, rule)
                await uplink.add_rule(kernel, rule)
            assert (await there()).rules == set(RULES)
            in_force: dict[object, TableRoute] = {}
            for route in ROUTES:
                in_force[route.place] = route
                await uplink.set_route(kernel, route)
                assert (await there()).routes == set(in_force.values())
            for route in in_force.values():
                await uplink.remove_route(kernel, route)
                await uplink.remove_route(kernel, route)
            for rule in RULES:
                await uplink.remove_rule(kernel, rule)
                await uplink.remove_rule(kernel, rule)
            assert await there() == Policy(foreign=(await there()).foreign)
        namespace.run_program("ip", "rule", "del", "pref", "98", "fwmark", "77")
        namespace.run_program("ip", "route", "del", "unreachable", "default", "table", "77")

    namespace.run(body)
