"""How the packets of tunnels leave by their uplinks: the rules and tables for ``over``.

What one uplink's table has is a function of the uplink as it is observed: the subnets of its
addresses, its default route, and last that everything else is unreachable, so that no packet ever
leaves by another link.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_network

from ipeql.errors import Code, Problem
from ipeql.plan.actions import (
    Action,
    AddRule,
    BindTunnel,
    RemoveRule,
    RemoveTableRoute,
    SetMark,
    SetTableRoute,
)
from ipeql.plan.members import Member
from ipeql.state import (
    DEFAULTS,
    FIRST_MARK,
    LAST_MARK,
    RULE_PRIORITY,
    BundleSpec,
    DesiredState,
    Link,
    ObservedState,
    Policy,
    Rule,
    TableRoute,
    is_our_mark,
)

_UNMARKED = Rule(0, 0)
"""The packets of a tunnel that has no mark yet."""


@dataclass(slots=True)
class Steered:
    """What one bundle's tunnels take: rules, routes of their tables, marks, and the problems.

    ``marks``: the firewall mark that each slave is to have, by ifindex; 0: none of ours.
    ``bound``: the ifindex of the link that a tunnel is to be bound to.
    """

    rules: list[Rule] = field(default_factory=list)
    routes: list[TableRoute] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)
    bound: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(
        self,
        tunnel: Member,
        selector: Rule,
        number: int,
        uplink: Link | None,
        versions: Collection[int],
    ) -> None:
        """Give a tunnel table ``number``; its packets are those of ``selector``."""
        if selector.to:
            versions = [selector.to.version]
        else:
            selector = replace(selector, mark=selector.mark or number)
            self.marks[tunnel.link.ifindex] = selector.mark
        self.rules.extend(replace(selector, version=each, table=number) for each in versions)
        self.routes.extend(table(number, uplink, versions))


def steer(
    desired: DesiredState, present: Mapping[str, list[Member]], observed: ObservedState
) -> dict[str, Steered]:
    """Return what the tunnels of each bundle take; ``present``: the slaves of the bundles.

    A tunnel keeps the table that it has, and a mark that is given or ours. Another one takes the
    first free number of ours, which is that of its table and, where it needs one, its mark.
    """
    found = {bundle: Steered() for bundle in desired.bundles}
    steered = [
        (desired.bundles[bundle], member)
        for bundle, slaves in present.items()
        for member in slaves
        if member.spec.over
    ]
    for bundle, slaves in present.items():
        found[bundle].marks |= {link.ifindex: 0 for _, link in slaves}
    uplinks = {member.spec.over: observed.link(member.spec.over) for _, member in steered}
    numbers, versions = _Numbers(observed), sorted(observed.policy.versions)
    owners: dict[int, Member] = {}
    waiting: list[tuple[BundleSpec, Member, Rule]] = []
    for spec, slave in steered:
        its, uplink = found[spec.name], uplinks[slave.spec.over]
        member = _bound_again(slave, uplink, observed.links)
        if member.link.bound and member is not slave:
            its.bound[member.link.ifindex] = member.link.bound
        its.problems += _hindrances(spec, member, uplink, observed.policy)
        selector = _selector(member, uplink)
        if selector is None:
            continue
        owner = owners.setdefault(selector.mark, member) if selector.mark else member
        if owner.spec.over != member.spec.over:
            if not (is_our_mark(selector.mark) and _is_settable(member.link)):
                why = f"it has the mark of {owner.link.name}, which goes over {owner.spec.over}"
                remedy = f"another FwMark, or none: wg set {member.link.name} fwmark 0"
                its.problems.append(_not_over(spec, member, why, remedy))
                continue
            selector = _UNMARKED
        if number := numbers.claim(selector):
            its.take(member, selector, number, uplink, versions)
        else:
            waiting.append((spec, member, selector))
    for spec, member, selector in waiting:
        its = found[spec.name]
        if number := numbers.claim(selector) or numbers.first_free(selector):
            its.take(member, selector, number, uplinks[member.spec.over], versions)
        else:
            why = "rules of others look for all of our marks"
            remedy = f"give {member.link.name} a mark that no rule looks for"
            its.problems.append(_not_over(spec, member, why, remedy))
    return found


def _bound_again(member: Member, uplink: Link | None, links: Mapping[int, Link]) -> Member:
    """Return a tunnel as it will be once it is bound to its uplink, if its own link is gone."""
    slave, link = member
    if uplink is None or not link.bound or link.bound in links:
        return member
    return Member(slave, replace(link, bound=uplink.ifindex))


def _is_settable(link: Link) -> bool:
    """Say whether the mark of a link can be set: WireGuard's can."""
    return link.mark is not None and link.bound is None


class _Numbers:
    """The numbers of our tables and marks: which are in use, and by which packets."""

    def __init__(self, observed: ObservedState) -> None:
        rules = sorted(observed.policy.rules, key=repr)
        self._tables = {replace(rule, version=0, table=0): rule.table for rule in rules}
        self._foreign = [rule for rule in observed.policy.foreign if not rule.fits(0)]
        self._marks = {link.mark for link in observed.links.values() if link.mark}
        self._owners: dict[int, Rule] = {}

    def claim(self, selector: Rule) -> int:
        """Return the number that these packets have already; 0: none, or it is in use."""
        mark = selector.mark
        number = self._tables.get(selector) or (mark if is_our_mark(mark) else 0)
        owner = self._owners.setdefault(number, selector) if number else selector
        return number if owner == selector else 0

    def first_free(self, selector: Rule) -> int:
        """Give these packets the first number that nobody uses; 0: there is none."""
        used = {*self._owners, *self._marks, *self._tables.values()}
        for number in range(FIRST_MARK, LAST_MARK + 1):
            if number not in used and not any(rule.fits(number) for rule in self._foreign):
                self._owners[number] = selector
                if selector != _UNMARKED:
                    self._tables[selector] = number
                return number
        return 0


def _selector(member: Member, uplink: Link | None) -> Rule | None:
    """Return by what a tunnel's own packets are known: a rule without version and table.

    None: they cannot be told from others.
    """
    link = member.link
    if link.mark is not None:
        return replace(_UNMARKED, mark=link.mark)
    if uplink and link.bound == uplink.ifindex and link.far_end:
        return replace(_UNMARKED, to=ip_network(link.far_end), oif=uplink.name)
    return None


def table(number: int, uplink: Link | None, versions: Collection[int]) -> Iterator[TableRoute]:
    """Yield the routes of table ``number`` for an uplink, which may be absent."""
    for version in versions:
        default = DEFAULTS[version]
        yield TableRoute(number, default)
        if uplink is None or not uplink.up:
            continue
        own = [each for each in uplink.addresses if each.version == version]
        known = [each for each in own if not _is_link_local(each.ip)]
        for network in sorted({each.network for each in known}, key=str):
            if network.prefixlen < network.max_prefixlen:
                yield TableRoute(number, network, uplink.ifindex)
        gateway = next((each for each in uplink.gateways if each.version == version), None)
        if gateway:
            yield TableRoute(number, default, uplink.ifindex, gateway.via, gateway.src)
        elif uplink.point_to_point and known:
            yield TableRoute(number, default, uplink.ifindex)


def _is_link_local(address: object) -> bool:
    return isinstance(address, IPv6Address) and address.is_link_local


def steering_actions(bundle: str, wanted: Steered, observed: ObservedState) -> Iterator[Action]:
    """Yield the actions for one bundle: no packet goes astray in between."""
    for ifindex, after in wanted.bound.items():
        link, uplink = observed.links[ifindex], observed.links[after].name
        name, before = link.name, link.bound or 0
        yield BindTunnel(
            bundle=bundle, ifindex=ifindex, name=name, uplink=uplink, before=before, after=after
        )
    present = {route.place: route for route in observed.policy.routes}
    for route in dict.fromkeys(wanted.routes):
        there = present.get(route.place)
        if there != route:
            dev = _name(route, observed)
            yield SetTableRoute(bundle=bundle, before=there, after=route, dev=dev)
    for rule in dict.fromkeys(wanted.rules):
        if rule not in observed.policy.rules:
            yield AddRule(bundle=bundle, rule=rule)
    for ifindex, mark in wanted.marks.items():
        if mark:
            yield from _mark(bundle, observed.links[ifindex], mark)


def restoring_actions(bundle: str, wanted: Steered, observed: ObservedState) -> Iterator[Action]:
    """Yield the actions that take our marks from the slaves that a bundle had or has."""
    earlier = {ifindex for owner, ifindex in observed.prepared if owner == bundle}
    for ifindex in sorted(earlier | wanted.marks.keys()):
        link = observed.links.get(ifindex)
        if link and is_our_mark(link.mark or 0) and not wanted.marks.get(ifindex):
            yield from _mark(bundle, link, 0)


def _mark(bundle: str, link: Link, mark: int) -> Iterator[Action]:
    before = link.mark or 0
    if _is_settable(link) and mark != before:
        ifindex, name = link.ifindex, link.name
        yield SetMark(bundle=bundle, ifindex=ifindex, name=name, before=before, after=mark)


def leftovers(wanted: Mapping[str, Steered], observed: ObservedState) -> Iterator[Action]:
    """Yield the removal of what no bundle takes any more: rules first."""
    rules = {rule for each in wanted.values() for rule in each.rules}
    places = {route.place for each in wanted.values() for route in each.routes}
    for rule in sorted(observed.policy.rules - rules, key=repr):
        yield RemoveRule(bundle="", rule=rule)
    for route in sorted(observed.policy.routes, key=repr):
        if route.place not in places:
            yield RemoveTableRoute(bundle="", route=route, dev=_name(route, observed))


def _name(route: TableRoute, observed: ObservedState) -> str:
    link = observed.links.get(route.ifindex)
    return link.name if link else ""


def _hindrances(
    spec: BundleSpec, member: Member, uplink: Link | None, policy: Policy
) -> Iterator[Problem]:
    slave, link = member
    if link.mark is None and link.bound is None:
        remedy = "'over' is for WireGuard, IPIP, SIT, GRE, VTI and VXLAN; remove it"
        yield _not_over(spec, member, "it is no tunnel that can be told its way", remedy)
    elif link.mark is None and (link.bound != uplink.ifindex if uplink else not link.bound):
        why = f"it is {'bound to another link' if link.bound else 'not bound to it'}"
        remedy = f"ip link set {link.name} type {link.kind} dev {slave.over}"
        if link.kind == "vxlan":  # the kernel would keep the address that it sends to as it is
            remedy = f"make {link.name} anew, with 'nolearning dev {slave.over}'"
        yield _not_over(spec, member, why, remedy)
    for rule in sorted(policy.foreign):
        if link.mark and rule.priority <= RULE_PRIORITY and rule.fits(link.mark):
            why = f"a rule of others for its mark {link.mark:#x} comes first"
            yield _not_over(spec, member, why, f"ip -{rule.version} rule del {rule}")
    if uplink and uplink.strict_rp_filter and any(each.version == 4 for each in uplink.addresses):
        yield Problem(
            Code.UPLINK_FILTER,
            f"{spec.name}: {uplink.name} drops what comes back to {link.name}, "
            "because its rp_filter is strict",
            f"sysctl -w net.ipv4.conf.{uplink.name}.rp_filter=2",
            slave.mark or spec.mark,
            spec.name,
        )


def _not_over(spec: BundleSpec, member: Member, why: str, remedy: str) -> Problem:
    slave, link = member
    text = f"{spec.name}: {link.name} does not go over {slave.over}: {why}"
    return Problem(Code.NOT_OVER, text, remedy, slave.mark or spec.mark, spec.name)
