"""Which links are a bundle's slaves now, and the table a dataplane gets for them."""

from collections.abc import Mapping
from typing import NamedTuple

from ipeql.errors import Code, Problem
from ipeql.methods import MAX_SLAVES, METHODS, MIN_BANDWIDTH
from ipeql.state import (
    BundleSpec,
    BundleTable,
    DesiredState,
    Link,
    ObservedState,
    SlaveRow,
    SlaveSpec,
    Verdict,
)

_ARPHRD_LOOPBACK = 772


class Member(NamedTuple):
    """A link and the entry of ``slaves`` that means it."""

    spec: SlaveSpec
    link: Link


class Enslaved(NamedTuple):
    """The table of a bundle's present slaves, those that are in it, and why others are not."""

    table: BundleTable
    slaves: list[Member]
    problems: list[Problem]


def members(desired: DesiredState, links: Mapping[int, Link]) -> dict[str, list[Member]]:
    """Return every bundle's present slaves in configured order, by the bundle's name.

    A match stands for all links it fits, sorted by name. An exact name anywhere goes before a
    match, an earlier match before a later one. Bundles' devices and the loopback are never slaves.
    """
    free = {
        link.name: link
        for link in sorted(links.values(), key=lambda link: link.name)
        if not link.owner and link.name not in desired.bundles and link.arphrd != _ARPHRD_LOOPBACK
    }
    named = {
        slave.name: free.pop(slave.name)
        for spec in desired.bundles.values()
        for slave in spec.slaves
        if slave.match is None and slave.name in free
    }
    found: dict[str, list[Member]] = {}
    for bundle, spec in desired.bundles.items():
        found[bundle] = []
        for slave in spec.slaves:
            if slave.match is None:
                fitting = [named[slave.name]] if slave.name in named else []
            else:
                fitting = [link for link in free.values() if slave.match.fits(link)]
            for link in fitting:
                free.pop(link.name, None)
                found[bundle].append(Member(slave, link))
    return found


def enslave(spec: BundleSpec, present: list[Member], observed: ObservedState) -> Enslaved:
    """Resolve everything about the members ``present`` to the numbers a dataplane works with."""
    fit, problems = [], []
    for slave, link in present:
        bandwidth = (link.speed if slave.bandwidth_auto else slave.bandwidth) or 0
        if "bandwidth" in METHODS[spec.method].needs and bandwidth < MIN_BANDWIDTH:
            problems.append(_speed_unknown(spec, Member(slave, link)))
        else:
            fit.append((Member(slave, link), bandwidth))
    if len(fit) > MAX_SLAVES:
        problems.append(_too_many(spec, [member.link.name for member, _ in fit[MAX_SLAVES:]]))
        fit = fit[:MAX_SLAVES]
    rows = tuple(
        SlaveRow(
            ifindex=link.ifindex,
            name=link.name,
            bandwidth=bandwidth,
            lag=slave.lag,
            overhead=link.overhead if slave.overhead is None else slave.overhead,
            via=slave.via,
            via6=slave.via6,
            usable=observed.verdicts.get(
                (spec.name, link.ifindex), Verdict(link.up and link.carrier)
            ).usable,
        )
        for (slave, link), bandwidth in fit
    )
    table = BundleTable(spec.method, spec.parameters, spec.stripe_unit, spec.poll_interval, rows)
    return Enslaved(table, [member for member, _ in fit], problems)


def _speed_unknown(spec: BundleSpec, member: Member) -> Problem:
    return Problem(
        Code.SPEED_UNKNOWN,
        f"{spec.name}: {member.link.name} is left out: its driver reports no speed, "
        f"and {spec.method} needs the bandwidth",
        "write the slave's bandwidth, such as 'bandwidth: 20Mbit', instead of 'auto'",
        member.spec.mark or spec.mark,
        spec.name,
    )


def _too_many(spec: BundleSpec, left_out: list[str]) -> Problem:
    return Problem(
        Code.TOO_MANY_SLAVES,
        f"{spec.name}: {', '.join(left_out)} left out: a bundle has at most {MAX_SLAVES} slaves",
        "make the matches narrower, or spread the slaves over two bundles",
        spec.mark,
        spec.name,
    )
