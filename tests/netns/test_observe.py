"""What the kernel has and when it changed, seen from inside a real namespace."""

import asyncio
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Protocol

import pytest

from ipeql.observe import Watcher, look, snapshot
from ipeql.state import (
    ARPHRD_ETHER,
    FIRST_MARK,
    ForeignRule,
    Gateway,
    Link,
    ObservedRoute,
    Rule,
)

pytestmark = pytest.mark.netns

PAIR = "link add name a0 type veth peer name b0"
NO_LINK_LOCAL = ("link set a0 addrgenmode none", "link set b0 addrgenmode none")
"""Without link-local addresses no duplicate address detection sends events seconds later."""


class Namespace(Protocol):
    """What ``conftest`` makes."""

    name: str

    def ip(self, *commands: str) -> None: ...

    def run_program(self, *command: str) -> None: ...

    def run(self, body: Callable[[], object], timeout: float = 20) -> None: ...


async def link(name: str) -> Link | None:
    links, _ = await snapshot()
    return next((link for link in links.values() if link.name == name), None)


async def present(name: str) -> Link:
    found = await link(name)
    assert found is not None
    return found


async def eventually(watcher: Watcher, name: str, fits: Callable[[Link | None], bool]) -> None:
    """Look, and after each word of a change look again, until the link ``name`` fits."""
    async with asyncio.timeout(5):
        while not fits(await link(name)):
            await watcher.changed()


def is_in(up: bool, carrier: bool) -> Callable[[Link | None], bool]:
    return lambda link: link is not None and (link.up, link.carrier) == (up, carrier)


async def quiet(watcher: Watcher) -> bool:
    """Say whether nothing changes for a while."""
    try:
        async with asyncio.timeout(0.15):
            await watcher.changed()
    except TimeoutError:
        return True
    return False


async def settle(watcher: Watcher) -> None:
    """Let what is under way come to rest, so that the next wake-up has one cause."""
    async with asyncio.timeout(10):
        while not await quiet(watcher):
            pass


def test_a_link_as_the_kernel_shows_it(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(
            PAIR,
            "link set a0 address 02:00:00:00:00:01 mtu 1400 alias words",
            "link property add dev a0 altname ipeql.bundle.bundle0 altname other",
            "tuntap add mode tun name t0",
        )
        links, routes = await snapshot()
        veth = next(link for link in links.values() if link.name == "a0")
        assert links[veth.ifindex] is veth
        assert (veth.mac, veth.mtu, veth.arphrd) == ("02:00:00:00:00:01", 1400, ARPHRD_ETHER)
        assert (veth.driver, veth.speed) == ("veth", 10 * 10**9)
        assert (veth.alias, veth.owner) == ("words", "bundle0")
        assert set(veth.altnames) == {"ipeql.bundle.bundle0", "other"}
        assert (veth.up, veth.carrier) == (False, False)
        tun = await present("t0")
        assert (tun.driver, tun.mac, tun.overhead) == ("tun", "", 0)
        loopback = await present("lo")
        assert (loopback.driver, loopback.speed) == ("", None)
        assert routes == frozenset()

    namespace.run(body)


@pytest.mark.parametrize("name", ["a.b", "é-1", "a,b\\c", "fifteen-bytes-x"])
def test_any_name_the_kernel_takes(namespace: Namespace, name: str) -> None:
    async def body() -> None:
        namespace.ip(PAIR, f"link set a0 name '{name}'")
        assert (await present(name)).driver == "veth"

    namespace.run(body)


def test_admin_state_and_carrier(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(PAIR, *NO_LINK_LOCAL)
        async with Watcher() as watcher:
            for command, state in (
                ("link set a0 up", (True, False)),
                ("link set b0 up", (True, True)),
                ("link set b0 down", (True, False)),
                ("link set b0 up", (True, True)),
                ("link set a0 down", (False, False)),
            ):
                await settle(watcher)
                namespace.ip(command)
                await eventually(watcher, "a0", is_in(*state))

    namespace.run(body)


def test_the_gateways_of_an_uplink_and_rules(namespace: Namespace) -> None:
    async def gateways() -> set[Gateway]:
        links, _ = await snapshot()
        found, _ = await look(links, {"a0"})
        return set(next(link for link in found.values() if link.name == "a0").gateways)

    async def body() -> None:
        namespace.ip(
            PAIR,
            "link set a0 up",
            "link set b0 up",
            "address add 10.0.0.2/24 dev a0",
            "link add c0 type veth peer name d0",
            "link set c0 up",
            "link set d0 up",
            "address add 10.1.0.2/24 dev c0",
        )
        assert await gateways() == set()
        namespace.ip("route add default via 10.0.0.3 dev a0 table 77")
        assert await gateways() == {Gateway(4, ip_address("10.0.0.3"))}
        namespace.ip(
            "route add default via 10.0.0.1 dev a0 metric 9 src 10.0.0.2",
            "route add default via 10.0.0.4 dev a0 metric 10",
            "route add unreachable default metric 5",
        )
        here = Gateway(4, ip_address("10.0.0.1"), ip_address("10.0.0.2"))
        assert await gateways() == {here}
        both = "nexthop via 10.1.0.1 dev c0 nexthop via 10.0.0.5 dev a0"
        namespace.ip(f"route add default metric 2 {both}")
        assert await gateways() == {Gateway(4, ip_address("10.0.0.5"))}
        namespace.ip(
            "rule add not fwmark 5 lookup 77",
            "rule add pref 98 fwmark 0x98000001 lookup 0x98000001 protocol 98",
            "route add 10.0.0.0/24 dev a0 metric 1 table 0x98000001 protocol 98",
        )
        rule = ("pref", "7", "fwmark", "0x10/0xf0", "lookup", "77")
        namespace.run_program("ip", "-6", "rule", "add", *rule)
        _, policy = await look({}, ())
        assert policy.rules == {Rule(4, FIRST_MARK, FIRST_MARK)}
        assert policy.foreign == {ForeignRule(6, 7, 0x10, 0xF0)}
        (route,) = policy.routes
        assert (route.table, route.to, route.metric) == (FIRST_MARK, ip_network("10.0.0.0/24"), 1)

    namespace.run(body)


@pytest.mark.parametrize(
    ("command", "wakes"),
    [
        ("route add default dev a0 table 77", True),
        ("route add ::/0 dev a0 metric 9", True),
        ("route add 10.9.9.0/24 dev a0", False),
        ("rule add fwmark 5 lookup 77", True),
        ("-6 rule add fwmark 5 lookup 77", True),
    ],
)
def test_default_routes_and_rules_of_others_wake(
    namespace: Namespace, command: str, wakes: bool
) -> None:
    async def body() -> None:
        namespace.ip(PAIR, *NO_LINK_LOCAL, "link set a0 up", "link set b0 up")
        async with Watcher() as watcher:
            await settle(watcher)
            namespace.run_program("ip", *command.split())
            assert await quiet(watcher) != wakes

    namespace.run(body)


def test_a_link_that_vanishes_returns_as_another(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(PAIR)
        before = await present("a0")
        async with Watcher() as watcher:
            namespace.ip("link del a0")
            await eventually(watcher, "a0", lambda a0: a0 is None)
            namespace.ip(PAIR)
            await eventually(watcher, "a0", lambda a0: a0 is not None)
        after = await present("a0")
        assert after.ifindex != before.ifindex
        assert before.ifindex not in (await snapshot())[0]

    namespace.run(body)


def test_a_renamed_link_is_the_same_link(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(PAIR)
        before = await present("a0")
        async with Watcher() as watcher:
            namespace.ip("link set a0 name renamed")
            await eventually(watcher, "renamed", lambda renamed: renamed is not None)
        assert (await snapshot())[0][before.ifindex].name == "renamed"

    namespace.run(body)


def test_a_link_moved_away_and_back(
    namespace: Namespace, make_namespace: Callable[[], Namespace]
) -> None:
    other = make_namespace()

    async def body() -> None:
        namespace.ip(PAIR)
        async with Watcher() as watcher:
            namespace.ip(f"link set a0 netns {other.name}")
            await eventually(watcher, "a0", lambda a0: a0 is None)
            other.ip(f"link set a0 netns {namespace.name}")
            await eventually(watcher, "a0", lambda a0: a0 is not None)

    namespace.run(body)


def test_addresses_come_and_go(namespace: Namespace) -> None:
    own = {ip_interface("10.1.2.3/24"), ip_interface("fd01::3/64"), ip_interface("10.7.7.1/32")}

    async def body() -> None:
        namespace.ip(PAIR)
        async with Watcher() as watcher:
            namespace.ip(
                "addr add 10.1.2.3/24 dev a0",
                "addr add fd01::3/64 dev a0",
                "addr add 10.7.7.1 peer 10.7.7.2 dev a0",
            )
            await eventually(watcher, "a0", lambda a0: a0 is not None and a0.addresses == own)
            namespace.ip("addr del fd01::3/64 dev a0")
            await eventually(
                watcher,
                "a0",
                lambda a0: a0 is not None and a0.addresses == own - {ip_interface("fd01::3/64")},
            )

    namespace.run(body)


def test_our_routes_and_only_ours(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(PAIR, *NO_LINK_LOCAL, "link set a0 up", "link set b0 up")
        namespace.ip("addr add 10.1.2.3/24 dev a0")
        async with Watcher() as watcher:
            await settle(watcher)
            namespace.ip(
                "route add 10.80.0.0/16 dev a0",
                "route add 10.81.0.0/16 dev a0 proto 99",
                "route add fd80::/64 dev a0",
            )
            assert await quiet(watcher)
            namespace.ip(
                "route add 10.90.0.0/16 via 10.1.2.9 metric 50 proto 98",
                "route add default dev a0 proto 98",
                "route add fd90::/64 dev a0 metric 7 proto 98",
                "route add 0.0.0.0/0 via inet6 fe80::1 dev a0 metric 9 proto 98",
                "route add 10.91.0.0/16 dev a0 proto 98 table 7",
            )
            await asyncio.wait_for(watcher.changed(), 5)
            _, routes = await snapshot()
            a0 = (await present("a0")).ifindex
            assert routes == {
                ObservedRoute(ip_network("10.90.0.0/16"), ip_address("10.1.2.9"), a0, 50),
                ObservedRoute(ip_network("0.0.0.0/0"), None, a0, None),
                ObservedRoute(ip_network("fd90::/64"), None, a0, 7),
                ObservedRoute(ip_network("0.0.0.0/0"), ip_address("fe80::1"), a0, 9),
            }
            await settle(watcher)
            namespace.ip("route del fd90::/64 dev a0")
            await asyncio.wait_for(watcher.changed(), 5)
            assert len((await snapshot())[1]) == 3

    namespace.run(body)


def test_strict_rp_filter_is_the_larger_of_two(namespace: Namespace) -> None:
    conf = Path("/proc/sys/net/ipv4/conf")

    async def body() -> None:
        namespace.ip(PAIR)
        for everywhere, own in ((0, 0), (0, 2), (2, 0)):
            (conf / "all/rp_filter").write_text(str(everywhere))
            (conf / "a0/rp_filter").write_text(str(own))
            loose_without_address = max(everywhere, own) == 2
            assert (await present("a0")).strict_rp_filter == loose_without_address
        namespace.ip("addr add 10.0.0.1/24 dev a0")
        for everywhere, own in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 1), (1, 2)):
            (conf / "all/rp_filter").write_text(str(everywhere))
            (conf / "a0/rp_filter").write_text(str(own))
            assert (await present("a0")).strict_rp_filter == (max(everywhere, own) == 1)
        async with Watcher() as watcher:
            (conf / "a0/rp_filter").write_text("1")
            await eventually(watcher, "a0", lambda a0: a0 is not None and a0.strict_rp_filter)

    namespace.run(body)


def test_a_burst_of_changes_wakes_once(namespace: Namespace) -> None:
    async def body() -> None:
        async with Watcher() as watcher:
            namespace.ip(*(f"addr add 10.0.0.{i}/32 dev lo" for i in range(1, 101)))
            await asyncio.wait_for(watcher.changed(), 5)
            assert len((await present("lo")).addresses) == 100
            assert await quiet(watcher)
            assert watcher.resyncs == 0

    namespace.run(body)


def test_a_storm_that_overruns_the_socket_ends_in_the_right_state(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with Watcher(receive_buffer=1) as watcher:
            namespace.ip(
                *(f"link add v{i} type veth peer name w{i}" for i in range(50)),
                *(f"addr add 10.0.0.{i}/32 dev lo" for i in range(1, 201)),
            )
            await asyncio.wait_for(watcher.changed(), 5)
            assert watcher.resyncs == 1
            warned = [record for record in caplog.records if record.name.startswith("ipeql.")]
            assert len(warned) == 1
            await settle(watcher)
            links, _ = await snapshot()
            assert len(links) == 101
            assert len((await present("lo")).addresses) == 200
            namespace.ip("link set v7 mtu 1280")
            await eventually(watcher, "v7", lambda v7: v7 is not None and v7.mtu == 1280)

    namespace.run(body)


def test_900_links_take_less_than_300_ms_of_processor_time(namespace: Namespace) -> None:
    async def body() -> None:
        namespace.ip(*(f"link add v{i} type veth peer name w{i}" for i in range(450)))
        times = []
        for _ in range(5):
            start = time.thread_time()
            links, _ = await snapshot()
            times.append(time.thread_time() - start)
        assert len(links) == 901
        assert {link.name for link in links.values()} >= {f"v{i}" for i in range(450)}
        assert min(times) < 0.3

    namespace.run(body)
