"""Which links are a bundle's slaves now, and the table a dataplane gets for them."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import NamedTuple

from ipeql.errors import Code, Problem
from ipeql.methods import (
    MAX_HOLD_NS,
    MAX_SLAVES,
    METHODS,
    MIN_BANDWIDTH,
    QUEUE_LIMIT_NS,
    SlaveParameters,
    default_queue_limit,
)
from ipeql.paths.rate.law import start
from ipeql.state import (
    AUTO,
    CLASS_METHODS,
    DEVICE,
    BundleSpec,
    BundleTable,
    Capabilities,
    DesiredState,
    Link,
    Measured,
    ObservedState,
    Parameters,
    SlaveRow,
    SlaveSpec,
    Verdict,
)

_ARPHRD_LOOPBACK = 772

MEASURED_QUEUE_LIMIT = 200 * 10**6
"""The least ``queue-limit``, ns, where a lag is measured and not yet known, unless one is given.

It has room for a round trip over paths that lag up to 190 ms more than a fast one, and does not
change with what is measured (docs/methods.md, bw_lag_eq).
"""

_GIVEN = {field.name for field in fields(SlaveSpec)} & {field.name for field in fields(SlaveRow)}
"""What a slave's row has of its entry; of these, some are resolved."""


class Member(NamedTuple):
    """A link and its entry of ``slaves``."""

    spec: SlaveSpec
    link: Link


class Enslaved(NamedTuple):
    """The table of a bundle's present slaves, the slaves in it, and why others are not in it."""

    table: BundleTable
    slaves: list[Member]
    problems: list[Problem]


def members(
    desired: DesiredState,
    links: Mapping[int, Link],
    prepared: Collection[tuple[str, int]] = (),
) -> dict[str, list[Member]]:
    """Return every bundle's present slaves in configured order, by the bundle's name.

    A match means all links that fit it, sorted by name. An exact name has precedence over every
    match, an earlier match over a later one. Bundles' devices and the loopback are never slaves,
    nor are the slaves, by ``prepared``, of a bundle whose file cannot be used.
    """
    kept = {
        ifindex
        for bundle, ifindex in prepared
        if bundle not in desired.bundles and not desired.complete
    }
    free = {
        link.name: link
        for link in sorted(links.values(), key=lambda link: link.name)
        if not link.owner
        and not link.part_of
        and link.ifindex not in kept
        and link.name not in desired.bundles
        and link.arphrd != _ARPHRD_LOOPBACK
    }
    called = {altname: link for link in free.values() for altname in link.altnames} | free
    named = {
        slave.name: called[slave.name]
        for spec in desired.bundles.values()
        for slave in spec.slaves
        if slave.match is None and slave.name in called
    }
    for link in named.values():
        free.pop(link.name, None)
    found: dict[str, list[Member]] = {}
    taken: set[int] = set()
    for bundle, spec in desired.bundles.items():
        found[bundle] = []
        for slave in spec.slaves:
            if slave.match is None:
                meant = named.get(slave.name)
                fitting = [meant] if meant and meant.ifindex not in taken else []
            else:
                fitting = [link for link in free.values() if slave.match.fits(link)]
            for link in fitting:
                free.pop(link.name, None)
                taken.add(link.ifindex)
                found[bundle].append(Member(slave, link))
    return found


def enslave(
    spec: BundleSpec,
    present: list[Member],
    observed: ObservedState,
    able: Capabilities | None = None,
) -> Enslaved:
    """Resolve everything about the members ``present`` to the numbers a dataplane works with.

    ``able``: what the dataplane supports. Where it cannot receive for the bundle, or is not known,
    the slaves receive. If a driver reports no speed, for example without carrier, the present
    bandwidth is kept.
    """
    running, device = observed.bundles.get(spec.name), observed.device(spec.name)
    carried = running.table.slaves if running and running.table else ()
    last = {row.ifindex: row.bandwidth for row in carried}
    slaves: list[Member] = []
    rows: list[SlaveRow] = []
    problems: list[Problem] = []
    for member in present:
        bandwidth = _bandwidth(spec, member, last.get(member.link.ifindex, 0))
        if bandwidth < MIN_BANDWIDTH and needs_bandwidth(spec, member.spec):
            problems.append(_speed_unknown(spec, member))
        else:
            slaves.append(member)
            rows.append(_row(spec, member, bandwidth, observed, device))
    if len(slaves) > MAX_SLAVES:
        problems.append(_too_many(spec, slaves[MAX_SLAVES:]))
    slaves, rows = slaves[:MAX_SLAVES], rows[:MAX_SLAVES]
    dscps = _dscps(spec)
    table = BundleTable(
        method=spec.method,
        parameters=_parameters(spec, slaves, rows),
        stripe_unit=spec.stripe_unit,
        poll_interval=spec.poll_interval,
        overflow_after=spec.overflow_after,
        light_dscps=dscps["bw_lag_val"],
        duplicate_dscps=dscps["duplicate"],
        receive=spec.receive if able and spec.receive in able.receives else "slave",
        slaves=tuple(rows),
    )
    return Enslaved(table, slaves, problems)


def _bandwidth(spec: BundleSpec, member: Member, last: int) -> int:
    """Return the bandwidth of a slave's row, bit/s; 0: not known. ``last``: of the row in force."""
    slave, link = member
    if measured := measured_bandwidth(spec, slave):
        return start(measured)
    if slave.bandwidth == DEVICE:
        return link.speed or last
    return slave.bandwidth if isinstance(slave.bandwidth, int) else 0


def needs_bandwidth(spec: BundleSpec, slave: SlaveSpec) -> bool:
    """Say whether the slave's bandwidth is needed: by the method, or to know when it is full."""
    return "bandwidth" in METHODS[spec.method].needs or spec.keeps_queue_of(slave)


def measured_bandwidth(spec: BundleSpec, slave: SlaveSpec) -> Measured | None:
    """Return the bounds of the slave's bandwidth if the one in force is the measured one."""
    if not needs_bandwidth(spec, slave) or spec.probe_of(slave) is None:
        return None
    if slave.bandwidth is None:
        return Measured()
    return slave.bandwidth if isinstance(slave.bandwidth, Measured) else None


def measures_lag(spec: BundleSpec, slave: SlaveSpec) -> bool:
    """Say whether the slave's lag in force is the measured one."""
    needed = "lag" in METHODS[spec.method].needs
    return needed and slave.lag in (AUTO, None) and spec.probe_of(slave) is not None


def _parameters(spec: BundleSpec, slaves: list[Member], rows: list[SlaveRow]) -> Parameters:
    """Return the method's parameters, with a ``queue-limit`` for these slaves unless given."""
    given = dict(spec.parameters)
    if "queue_limit" in METHODS[spec.method].parameters - given.keys():
        mtu = min((member.link.mtu for member in slaves), default=0)
        largest = mtu if spec.mtu == AUTO else min(mtu, spec.mtu)
        known = [SlaveParameters(row.bandwidth, row.lag) for row in rows]
        limit = default_queue_limit(known, largest, int(given.get("max_hold", MAX_HOLD_NS)))
        if any(measures_lag(spec, member.spec) for member in slaves):
            limit = max(limit, MEASURED_QUEUE_LIMIT)
        if limit > QUEUE_LIMIT_NS:
            given["queue_limit"] = limit
    return tuple(sorted(given.items()))


def _dscps(spec: BundleSpec) -> dict[str, int]:
    """Return the DSCPs of each method of a class as a mask, in which bit d is DSCP d."""
    masks = dict.fromkeys(CLASS_METHODS, 0)
    seen = 0
    for each in spec.classes:
        wanted = sum(1 << dscp for dscp in set(each.dscps))
        masks[each.method] |= wanted & ~seen
        seen |= wanted
    return masks


def _row(
    spec: BundleSpec, member: Member, bandwidth: int, observed: ObservedState, device: Link | None
) -> SlaveRow:
    slave, link = member
    verdict = observed.verdicts.get((spec.name, link.ifindex), Verdict(link.up and link.carrier))
    as_given = {name: getattr(slave, name) for name in _GIVEN}
    resolved = {
        "name": link.name,
        "bandwidth": bandwidth,
        "lag": 0 if slave.lag == AUTO or measures_lag(spec, slave) else slave.lag,
        "overhead": link.overhead if slave.overhead is None else slave.overhead,
        "usable": verdict.usable and not comes_back(link, device),
    }
    return SlaveRow(ifindex=link.ifindex, **(as_given | resolved))


def comes_back(link: Link, device: Link | None) -> bool:
    """Say whether the packets that a slave sends, a tunnel, come back into the bundle's device.

    Such a slave is not used: each packet would make another one, endlessly.
    """
    return device is not None and device.ifindex in (link.leaves_by, link.lower)


def _speed_unknown(spec: BundleSpec, member: Member) -> Problem:
    by_method = "bandwidth" in METHODS[spec.method].needs
    return Problem(
        Code.SPEED_UNKNOWN,
        f"{spec.name}: {member.link.name} is left out: its driver reports no speed, "
        f"and {spec.method if by_method else '`use: when-full`'} needs the bandwidth",
        "write the slave's bandwidth, such as 'bandwidth: 20Mbit', instead of 'device'",
        member.spec.mark or spec.mark,
        spec.name,
    )


def _too_many(spec: BundleSpec, left_out: list[Member]) -> Problem:
    names = ", ".join(member.link.name for member in left_out)
    return Problem(
        Code.TOO_MANY_SLAVES,
        f"{spec.name}: {names} left out: a bundle has at most {MAX_SLAVES} slaves",
        "let the matches fit fewer links, or divide the slaves between two bundles",
        spec.mark,
        spec.name,
    )
