"""Rules, tables and marks of tunnels: by every plan each leaves by its uplink or not at all."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.errors import Code
from ipeql.methods import METHODS
from ipeql.plan import (
    AddRule,
    BindTunnel,
    Plan,
    RemoveRule,
    RemoveTableRoute,
    SetMark,
    SetTableRoute,
    plan,
    undo,
)
from ipeql.state import (
    FIRST_MARK,
    BundleSpec,
    Capabilities,
    DesiredState,
    ForeignRule,
    Gateway,
    Link,
    ObservedState,
    Policy,
    Rule,
    SlaveSpec,
    TableRoute,
    is_our_mark,
)

ABLE = {"tun": Capabilities("tun", True, frozenset(METHODS), frozenset({"burst"}), rank=10)}
FAR = {4: ip_address("203.0.113.1"), 6: ip_address("2001:db8::1")}
UPLINKS = ("eth0", "wwan0", "ppp0")
TUNNELS = ("wg0", "wg1", "wg2", "gre0")
GIVEN = (0x51, 0x52)
ALL = 2**32 - 1


@dataclass
class Machine:
    """Links, marks, rules and tables as the kernel would have them after each action."""

    links: dict[int, Link]
    foreign: frozenset[ForeignRule] = frozenset()
    rules: set[Rule] = field(default_factory=set)
    tables: dict[object, TableRoute] = field(default_factory=dict)
    prepared: set[tuple[str, int]] = field(default_factory=set)

    def observe(self) -> ObservedState:
        policy = Policy(frozenset(self.rules), frozenset(self.tables.values()), self.foreign)
        prepared = frozenset(self.prepared)
        return ObservedState(self.links, capabilities=ABLE, prepared=prepared, policy=policy)

    def named(self, name: str) -> Link | None:
        return next((link for link in self.links.values() if link.name == name), None)

    def put(self, link: Link) -> None:
        self.links[link.ifindex] = link

    def carry_out(self, desired: DesiredState) -> Plan:
        """Plan and do what concerns tunnels; return the plan."""
        found = plan(desired, self.observe())
        for action in found.actions:
            match action:
                case AddRule(rule=rule):
                    assert rule not in self.rules
                    self.rules.add(rule)
                case RemoveRule(rule=rule):
                    self.rules.remove(rule)
                case SetTableRoute(before=before, after=after):
                    assert self.tables.get(after.place) == before
                    assert not after.ifindex or self.links[after.ifindex].up
                    self.tables[after.place] = after
                case RemoveTableRoute(route=route):
                    assert self.tables.pop(route.place) == route
                case SetMark(ifindex=ifindex, before=before_mark, after=mark):
                    assert self.links[ifindex].mark == before_mark
                    self.put(replace(self.links[ifindex], mark=mark))
                case BindTunnel(ifindex=ifindex, after=uplink):
                    self.put(replace(self.links[ifindex], bound=uplink))
        self.prepared = {
            (bundle, link.ifindex)
            for bundle, spec in desired.bundles.items()
            for slave in spec.slaves
            if (link := self.named(slave.name))
        }
        return found

    def ways(self, link: Link, version: int) -> list[int] | None:
        """Return where packets to the far end may leave by the tunnel's rule; None: none fits."""
        for rule in self.rules:
            if rule.version != version or (rule.mark and rule.mark != link.mark):
                continue
            if rule.to and (FAR[version] not in rule.to or link.bound is None):
                continue
            fitting = [
                route
                for route in self.tables.values()
                if route.table == rule.table and FAR[version] in route.to
            ]
            longest = max(route.to.prefixlen for route in fitting)
            best = [route for route in fitting if route.to.prefixlen == longest]
            return [min(best, key=lambda route: route.metric).ifindex]
        return None


@st.composite
def uplinks(draw: st.DrawFn, ifindex: int, name: str) -> Link:
    addresses = ["192.168.1.2/24", "203.0.113.9/24", "10.64.0.1/32", "fe80::5/64", "2001:db8::5/64"]
    gateways = [
        Gateway(4, ip_address("192.168.1.1")),
        Gateway(4, ip_address("192.168.1.1"), ip_address("192.168.1.2")),
        Gateway(6, ip_address("fe80::1")),
        Gateway(4),
    ]
    return Link(
        ifindex,
        name,
        up=draw(st.booleans()),
        addresses=frozenset(map(ip_interface, draw(st.sets(st.sampled_from(addresses))))),
        gateways=frozenset(draw(st.lists(st.sampled_from(gateways), unique_by=lambda g: g[0]))),
        point_to_point=draw(st.booleans()),
    )


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    links: dict[int, Link] = {}
    for name in draw(st.sets(st.sampled_from(UPLINKS))):
        ifindex = len(links) + draw(st.sampled_from([2, 20]))
        links[ifindex] = draw(uplinks(ifindex, name))
    for ifindex, name in enumerate(sorted(draw(st.sets(st.sampled_from(TUNNELS)))), 40):
        bound = draw(st.sampled_from([0, 2, 3, 99])) if name == "gre0" else None
        marks = [*GIVEN, 0, FIRST_MARK, FIRST_MARK + 1]
        mark = None if name == "gre0" else draw(st.sampled_from(marks))
        links[ifindex] = Link(ifindex, name, mark=mark, bound=bound, far_end=FAR[4])
    rules = [
        ForeignRule(4, 5000, FIRST_MARK, ALL),
        ForeignRule(4, 5210, 0x80000, 0xFF0000),
        ForeignRule(6, 90, 0, 0xFF0000),
    ]
    return Machine(links, frozenset(draw(st.sets(st.sampled_from(rules)))))


SLAVES = st.lists(
    st.builds(
        SlaveSpec, st.sampled_from(TUNNELS), over=st.sampled_from(["", *UPLINKS])
    ),
    unique_by=lambda slave: slave.name,
)  # fmt: skip


def bundle(*slaves: SlaveSpec) -> DesiredState:
    return DesiredState({"b": BundleSpec("b", "round_robin", tuple(slaves))})


@given(machines(), SLAVES, SLAVES, st.data())
def test_a_tunnel_leaves_by_its_uplink_or_not_at_all(
    machine: Machine, first: list[SlaveSpec], then: list[SlaveSpec], data: st.DataObject
) -> None:
    original = {ifindex: link.mark for ifindex, link in machine.links.items()}
    for slaves in (first, then):
        found = machine.carry_out(bundle(*slaves))
        wrong = [problem.message for problem in found.problems if problem.code is Code.NOT_OVER]
        again = machine.carry_out(bundle(*slaves))
        assert not [
            each
            for each in again.actions
            if isinstance(each, AddRule | RemoveRule | SetTableRoute | RemoveTableRoute | SetMark)
        ]
        for slave in slaves:
            link, uplink = machine.named(slave.name), machine.named(slave.over)
            if not link or not slave.over or any(f" {slave.name} " in text for text in wrong):
                continue
            for version in (4, 6) if link.bound is None else (4,):
                ways = machine.ways(link, version)
                if link.bound is not None and not uplink:
                    continue  # nothing leaves by a link that is gone
                assert ways is not None
                assert set(ways) <= {0, uplink.ifindex if uplink and uplink.up else 0}
        for ifindex in list(machine.links):
            if machine.links[ifindex].name in UPLINKS and data.draw(st.booleans()):
                gone = machine.links.pop(ifindex)
                machine.tables = {
                    place: route
                    for place, route in machine.tables.items()
                    if route.ifindex != ifindex
                }
                if data.draw(st.booleans()):
                    machine.put(replace(gone, ifindex=ifindex + 200))
    machine.carry_out(DesiredState({}))
    assert not machine.rules
    assert not machine.tables
    for ifindex, mark in original.items():
        if (link := machine.links.get(ifindex)) and mark in GIVEN:
            assert link.mark == mark


def wireguard(ifindex: int, name: str, mark: int = 0) -> Link:
    return Link(ifindex, name, mark=mark, far_end=FAR[4])


ETH0 = Link(2, "eth0", addresses=frozenset({ip_interface("192.168.1.2/24")}))
WWAN0 = Link(3, "wwan0", addresses=frozenset({ip_interface("10.64.0.2/30")}), point_to_point=True)


def machine(*links: Link, foreign: ForeignRule | None = None) -> Machine:
    rules = frozenset({foreign} if foreign else ())
    return Machine({link.ifindex: link for link in (ETH0, WWAN0, *links)}, rules)


def test_a_tunnel_keeps_its_number_when_another_comes_before_it() -> None:
    home = machine(wireguard(40, "wg0"), wireguard(41, "wg1", 0x51))
    mine = [SlaveSpec("wg0", over="eth0"), SlaveSpec("wg1", over="wwan0")]
    home.carry_out(bundle(*mine))
    before = set(home.rules)
    home.put(wireguard(39, "gre0"))
    home.carry_out(bundle(SlaveSpec("gre0", over="eth0"), *mine))
    assert before <= home.rules
    assert home.links[41].mark == 0x51


def test_a_mark_that_others_look_for_is_not_taken() -> None:
    foreign = ForeignRule(6, 5000, FIRST_MARK, 0xFF0000FF)
    home = machine(wireguard(40, "wg0"), wireguard(41, "other", FIRST_MARK + 1), foreign=foreign)
    home.carry_out(bundle(SlaveSpec("wg0", over="eth0")))
    assert home.links[40].mark == FIRST_MARK + 2


def test_two_tunnels_with_one_given_mark_share_an_uplink_or_are_refused() -> None:
    home = machine(wireguard(40, "wg0", 0x51), wireguard(41, "wg1", 0x51))
    one, two = SlaveSpec("wg0", over="eth0"), SlaveSpec("wg1", over="eth0")
    assert not home.carry_out(bundle(one, two)).problems
    assert len(home.rules) == 2
    found = home.carry_out(bundle(one, replace(two, over="wwan0")))
    (problem,) = found.problems
    assert problem.code is Code.NOT_OVER
    assert "wg set wg1 fwmark 0" in problem.help
    assert len(home.rules) == 2


def test_a_point_to_point_link_is_its_own_gateway_in_the_family_of_its_addresses() -> None:
    home = machine(wireguard(40, "wg0"))
    home.carry_out(bundle(SlaveSpec("wg0", over="wwan0")))
    assert home.ways(home.links[40], 4) == [3]
    assert home.ways(home.links[40], 6) == [0]


@pytest.mark.parametrize(
    ("link", "remedy"),
    [
        (Link(40, "gre0", kind="gre", bound=0), "ip link set gre0 type gre dev eth0"),
        (Link(40, "gre0", kind="gre", bound=3), "ip link set gre0 type gre dev eth0"),
        (Link(40, "gre0", kind="veth"), "remove it"),
    ],
)
def test_what_cannot_go_over_an_uplink_is_named(link: Link, remedy: str) -> None:
    (problem,) = machine(link).carry_out(bundle(SlaveSpec("gre0", over="eth0"))).problems
    assert problem.code is Code.NOT_OVER
    assert remedy in problem.help


def test_a_rule_of_others_that_comes_first_is_named() -> None:
    old = ForeignRule(4, 51, 0x51, ALL)
    home = machine(wireguard(40, "wg0", 0x51), foreign=old)
    (problem,) = home.carry_out(bundle(SlaveSpec("wg0", over="eth0"))).problems
    assert problem.help == "ip -4 rule del priority 51 fwmark 0x51"
    late = machine(wireguard(40, "wg0", 0x51), foreign=old._replace(priority=5000))
    assert not late.carry_out(bundle(SlaveSpec("wg0", over="eth0"))).problems


def test_a_strict_filter_of_the_uplink_is_named() -> None:
    home = machine(wireguard(40, "wg0"))
    home.put(replace(ETH0, strict_rp_filter=True))
    (problem,) = home.carry_out(bundle(SlaveSpec("wg0", over="eth0"))).problems
    assert (problem.code, problem.help) == (
        Code.UPLINK_FILTER,
        "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
    )


def test_no_rule_goes_while_a_file_cannot_be_used() -> None:
    home = machine(wireguard(40, "wg0"))
    home.carry_out(bundle(SlaveSpec("wg0", over="eth0")))
    before = set(home.rules)
    home.carry_out(DesiredState({}, complete=False))
    assert home.rules == before


def test_a_number_of_a_bundle_whose_file_cannot_be_used_is_not_taken() -> None:
    home = machine(wireguard(40, "wg0", 0x51), wireguard(41, "wg1"))
    home.carry_out(bundle(SlaveSpec("wg0", over="eth0")))
    other = BundleSpec("c", "round_robin", (SlaveSpec("wg1", over="wwan0"),))
    home.carry_out(DesiredState({"c": other}, complete=False))
    assert (home.ways(home.links[40], 4), home.ways(home.links[41], 4)) == ([0], [3])


def test_undoing_takes_marks_and_rules_back() -> None:
    home = machine(wireguard(40, "wg0"))
    found = plan(bundle(SlaveSpec("wg0", over="eth0")), home.observe())
    steps = [step for action in found.actions for step in undo(action)]
    assert [step.after for step in steps if isinstance(step, SetMark)] == [0]
    assert sum(isinstance(step, RemoveRule) for step in steps) == 2


def test_our_marks_have_no_bit_that_others_test() -> None:
    for mask in (0x4000, 0x8000, 0x3F00, 0xFF0000):
        assert not FIRST_MARK & mask
    assert is_our_mark(FIRST_MARK)
    assert not is_our_mark(51820)
