"""Planning against a model of the machine: a plan leads there, and then nothing is left to do."""

from cProfile import Profile
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from ipeql.methods import METHODS, USES
from ipeql.plan import (
    Action,
    AddAddress,
    AddRoute,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    ReleaseSlave,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetFilter,
    SetMtu,
    SetTrainLimit,
    SetUp,
    plan,
    undo,
)
from ipeql.state import (
    ALIAS_PREFIX,
    AUTO,
    DEVICE,
    OVERFLOW_AFTER,
    BundleSpec,
    Capabilities,
    DesiredState,
    Interface,
    Link,
    LinkMatch,
    Measured,
    ObservedBundle,
    ObservedRoute,
    ObservedState,
    RouteSpec,
    SlaveSpec,
    TrafficClass,
)

UNITS = frozenset({"burst", "packet", "flow", "flowlet"})
CAPABILITIES = {
    "tun": Capabilities("tun", True, frozenset(METHODS), UNITS, rank=10),
    "bpf": Capabilities("bpf", True, frozenset({"round_robin"}), frozenset({"burst"}), rank=20),
}


@dataclass
class Machine:
    """Links and dataplanes as the kernel would have them after each action."""

    links: dict[int, Link]
    bundles: dict[str, ObservedBundle] = field(default_factory=dict)
    prepared: set[tuple[str, int]] = field(default_factory=set)
    routes: set[ObservedRoute] = field(default_factory=set)

    def observe(self) -> ObservedState:
        return ObservedState(
            links=dict(self.links),
            routes=frozenset(self.routes),
            bundles=dict(self.bundles),
            capabilities=CAPABILITIES,
            prepared=frozenset(key for key in self.prepared if key[1] in self.links),
        )

    def own(self, bundle: str) -> Link:
        (link,) = (link for link in self.links.values() if link.name == bundle)
        assert link.owner == bundle, f"{bundle} is foreign"
        return link

    def change(self, link: Link, **values: object) -> None:
        self.links[link.ifindex] = replace(link, **values)  # type: ignore[arg-type]

    def perform(self, action: Action) -> None:
        bundle = action.bundle
        match action:
            case CreateBundle(backend=backend):
                if not any(link.name == bundle for link in self.links.values()):
                    ifindex = max(self.links, default=0) + 1
                    alias = ALIAS_PREFIX + bundle
                    self.links[ifindex] = Link(ifindex, bundle, up=False, alias=alias)
                self.bundles[bundle] = ObservedBundle(backend)
            case DestroyBundle():
                self.bundles.pop(bundle, None)
                for link in list(self.links.values()):
                    if link.name == bundle:
                        del self.links[self.own(bundle).ifindex]
                        self.routes = {r for r in self.routes if r.ifindex != link.ifindex}
            case ConfigureBundle(backend=backend, before=before, after=after):
                assert self.bundles[bundle] == ObservedBundle(backend, before)
                self.bundles[bundle] = ObservedBundle(backend, after)
            case PrepareSlave(ifindex=ifindex, up=up):
                slave = self.links[ifindex]
                self.change(slave, up=slave.up or up)
                self.prepared.add((bundle, ifindex))
            case SetFilter(ifindex=ifindex, before=before_filter, after=after_filter):
                slave = self.links[ifindex]
                assert slave.rp_filter == before_filter
                self.change(slave, rp_filter=after_filter, strict_rp_filter=False)
            case ReleaseSlave(ifindex=ifindex):
                self.prepared.discard((bundle, ifindex))
            case _:
                self._change_device(action)

    def _change_device(self, action: Action) -> None:
        bundle = action.bundle
        match action:
            case SetMtu(after=mtu):
                self.change(self.own(bundle), mtu=mtu)
            case SetTrainLimit(before=before_limit, after=after_limit):
                assert self.own(bundle).train_limit == before_limit
                self.change(self.own(bundle), train_limit=after_limit)
            case SetUp():
                self.change(self.own(bundle), up=True)
            case AddAddress(address=address):
                link = self.own(bundle)
                assert not [a for a in link.addresses if a.version == 6 and a.ip == address.ip]
                own = link.own_addresses | {address}
                self.change(link, addresses=link.addresses | own, own_addresses=own)
            case RemoveAddress(address=address):
                link = self.own(bundle)
                assert address in link.own_addresses
                own = link.own_addresses - {address}
                self.change(link, addresses=link.addresses - {address}, own_addresses=own)
            case AddRoute(route=route) | RemoveRoute(route=route):
                index = self.own(bundle).ifindex
                seen = ObservedRoute(route.to, route.via, index, route.metric or None)
                assert (seen in self.routes) == isinstance(action, RemoveRoute)
                self.routes ^= {seen}
            case ReplaceRoute(before=before, after=after):
                index = self.own(bundle).ifindex
                self.routes ^= {
                    ObservedRoute(route.to, route.via, index, route.metric or None)
                    for route in (before, after)
                }
            case _:
                raise AssertionError(action)


NAMES = ["eth1", "eth2", "eth3", "ppp0"]
BUNDLES = ["ipeql0", "ipeql1"]
ADDRESSES = [
    ip_interface(text)
    for text in ("10.9.0.1/24", "10.9.0.2/24", "10.9.0.1/16", "fd00:9::1/64", "fd00:9::1/48")
]
ROUTES = [
    RouteSpec(ip_network("192.168.40.0/24")),
    RouteSpec(ip_network("192.168.41.0/24"), ip_address("10.9.0.2"), 50),
    RouteSpec(ip_network("fd00:40::/64")),
]


CLASSES = (TrafficClass((46, 40), "duplicate"), TrafficClass((46, 34), "bw_lag_val"))


def _in_the_kernel(address: Interface) -> object:
    """Return what the kernel takes for the same address: IPv6 has it once, whatever its prefix."""
    return address.ip if address.version == 6 else address


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Any links of the kernel's, with or without foreign ones where bundles would be."""
    names = draw(st.lists(st.sampled_from([*NAMES, "ipeql0"]), unique=True))
    links = {}
    for ifindex, name in enumerate(names, 2):
        up = draw(st.booleans())
        links[ifindex] = Link(
            ifindex,
            name,
            mtu=draw(st.sampled_from([576, 1400, 1500])),
            up=up,
            carrier=up and draw(st.booleans()),
            speed=draw(st.sampled_from([None, 10**9])),
            rp_filter=1 if (strict := draw(st.booleans())) else 0,
            strict_rp_filter=strict,
        )
    return Machine(links)


def bundle_specs(name: str, slaves: list[SlaveSpec]) -> st.SearchStrategy[BundleSpec]:
    return st.builds(
        BundleSpec,
        name=st.just(name),
        method=st.sampled_from(["round_robin", "bw_load"]),
        slaves=st.just(tuple(slaves)),
        backend=st.sampled_from(["auto", "tun", "bpf"]),
        stripe_unit=st.sampled_from(sorted(UNITS)),
        classes=st.sampled_from([(), CLASSES, CLASSES[1:]]),
        overflow_after=st.sampled_from([0, OVERFLOW_AFTER]),
        mtu=st.sampled_from([AUTO, 1280]),
        addresses=st.lists(st.sampled_from(ADDRESSES), unique_by=_in_the_kernel).map(tuple),
        routes=st.lists(st.sampled_from(ROUTES), unique=True).map(tuple),
    )


@st.composite
def desired_states(draw: st.DrawFn) -> DesiredState:
    """Any configuration: every exact name in one bundle at most, as the loader sees to."""
    bundles = {}
    free = list(NAMES)
    for name in draw(st.lists(st.sampled_from(BUNDLES), unique=True)):
        slaves = []
        for slave in draw(st.lists(st.sampled_from([*free, "eth*", "*"]), unique=True)):
            if slave in free:
                free.remove(slave)
            slaves.append(
                SlaveSpec(
                    name="" if "*" in slave else slave,
                    match=LinkMatch(slave) if "*" in slave else None,
                    bandwidth=draw(st.sampled_from([DEVICE, Measured(), 10**6])),
                    use=draw(st.sampled_from(USES)),
                    up=draw(st.booleans()),
                )
            )
        bundles[name] = draw(bundle_specs(name, slaves))
    return DesiredState(bundles)


def foreign(machine: Machine) -> dict[int, Link]:
    """Return what no plan may change: links that are neither ours nor slaves."""
    slaves = {ifindex for _, ifindex in machine.prepared}
    return {
        link.ifindex: link
        for link in machine.links.values()
        if not link.owner and link.ifindex not in slaves
    }


@given(machines(), st.lists(desired_states(), min_size=1, max_size=3))
def test_a_plan_leads_there_and_leaves_nothing_to_do(
    machine: Machine, states: list[DesiredState]
) -> None:
    for desired in states:
        for action in plan(desired, machine.observe()).actions:
            untouched = foreign(machine)
            machine.perform(action)
            if isinstance(action, PrepareSlave | SetFilter):
                untouched.pop(action.ifindex, None)
            assert {i: machine.links.get(i) for i in untouched} == untouched
        # A slave that was set up changes what is there; one more look sees that.
        for action in plan(desired, machine.observe()).actions:
            assert isinstance(action, ConfigureBundle)
            machine.perform(action)
        assert plan(desired, machine.observe()).actions == ()
    for action in plan(DesiredState({}), machine.observe()).actions:
        machine.perform(action)
    assert not machine.bundles
    assert not machine.prepared
    assert not [link for link in machine.links.values() if link.owner]


@given(machines(), desired_states(), desired_states(), st.data())
def test_undoing_leads_back(
    machine: Machine, before: DesiredState, after: DesiredState, data: st.DataObject
) -> None:
    for _ in range(2):
        for action in plan(before, machine.observe()).actions:
            machine.perform(action)
    there = plan(before, machine.observe())
    assert there.actions == ()
    for actions in plan(after, machine.observe()).by_bundle().values():
        refused = data.draw(
            st.sampled_from([i for i, a in enumerate(actions) if a.essential] or [0])
        )
        for action in actions[:refused]:
            machine.perform(action)
        for action in reversed(actions[:refused]):
            for step in undo(action):
                machine.perform(step)
    # A link that was set up stays up, a filter is restored by what keeps how it was.
    left = plan(before, machine.observe()).actions
    assert all(isinstance(action, ConfigureBundle) for action in left)


@given(machines(), st.lists(desired_states(), min_size=2, max_size=2))
def test_nothing_that_may_fail_goes_before_what_is_essential(
    machine: Machine, states: list[DesiredState]
) -> None:
    for desired in states:
        found = plan(desired, machine.observe())
        for actions in found.by_bundle().values():
            details = [
                not action.essential and not isinstance(action, PrepareSlave | SetFilter)
                for action in actions
            ]
            assert details == sorted(details)
        for action in found.actions:
            machine.perform(action)


def calls_to_plan(count: int) -> int:
    """Return how many calls it takes to find nothing to do for bundles of eight slaves."""
    bundles = {}
    for i in range(count):
        slaves = [SlaveSpec(f"eth{i}-{j}", bandwidth=10**7) for j in range(7)]
        slaves.append(SlaveSpec(match=LinkMatch(f"wwan{i}-*"), bandwidth=10**7))
        bundles[f"ipeql{i}"] = BundleSpec(f"ipeql{i}", "bw_load", tuple(slaves))
    names = [f"eth{i}-{j}" for i in range(count) for j in range(7)]
    names += [f"wwan{i}-0" for i in range(count)]
    machine = Machine({ifindex: Link(ifindex, name) for ifindex, name in enumerate(names, 1)})
    desired = DesiredState(bundles)
    for action in plan(desired, machine.observe()).actions:
        machine.perform(action)
    observed = machine.observe()
    profile = Profile()
    assert profile.runcall(plan, desired, observed).actions == ()
    return sum(entry.callcount for entry in profile.getstats())


def test_a_hundred_bundles_of_eight_slaves_are_planned_in_no_time() -> None:
    """Calls, not seconds, are counted: a busy machine changes nothing of them."""
    assert calls_to_plan(100) < 400_000
