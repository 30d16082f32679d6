"""Which slaves are probed, and who is answered: from what is wanted and what is there. Pure."""

from ipaddress import ip_network

from ipeql.plan import Member, members
from ipeql.plan.members import measured_bandwidth, measures_lag
from ipeql.probe.channel.task import BundleTask, SlaveTask
from ipeql.state import (
    AUTO,
    STAMP_PORT,
    Address,
    BundleSpec,
    DesiredState,
    Network,
    ObservedBundle,
    ObservedState,
    ProbeSpec,
)


def tasks(desired: DesiredState, observed: ObservedState) -> tuple[BundleTask, ...]:
    """Return a task for every running bundle that has a probe, or answers probes."""
    present = members(desired, observed.links, observed.prepared)
    found = (
        _task(spec, running, present[name])
        for name, spec in sorted(desired.bundles.items())
        if (running := observed.bundles.get(name)) and running.table
    )
    return tuple(task for task in found if task.ports or any(each.probe for each in task.slaves))


def _task(spec: BundleSpec, running: ObservedBundle, present: list[Member]) -> BundleTask:
    probes = [probe for member in present if (probe := spec.probe_of(member.spec))]
    reflects = spec.reflect if spec.reflect is not None else bool(probes)
    return BundleTask(
        bundle=spec.name,
        backend=running.backend,
        addresses=_own(spec, probes),
        slaves=_slaves(spec, running, present),
        ports=tuple(sorted({each.port for each in probes} or {STAMP_PORT})) if reflects else (),
        allowed=_allowed(spec, probes) if reflects else (),
        key_file=spec.probe.key_file if spec.probe else "",
        late=running.binds_late,
    )


def _own(spec: BundleSpec, probes: list[ProbeSpec]) -> tuple[Address, ...]:
    """Return the bundle's addresses, those in a network with a far end first."""

    def is_far(number: int) -> bool:
        return not any(probe.to in spec.addresses[number].network for probe in probes)

    ordered = sorted(range(len(spec.addresses)), key=is_far)
    return tuple(spec.addresses[number].ip for number in ordered)


def _slaves(
    spec: BundleSpec, running: ObservedBundle, present: list[Member]
) -> tuple[SlaveTask, ...]:
    rows = {row.ifindex: row for row in running.table.slaves} if running.table else {}
    return tuple(
        SlaveTask(
            ifindex=link.ifindex,
            name=link.name,
            arphrd=link.arphrd,
            mac=link.mac,
            via=slave.via,
            via6=slave.via6,
            probe=spec.probe_of(slave),
            bandwidth=rows[link.ifindex].bandwidth,
            lag=None if slave.lag == AUTO else slave.lag,
            measures_lag=measures_lag(spec, slave),
            measured=measured_bandwidth(spec, slave),
        )
        for slave, link in present
        if link.ifindex in rows
    )


def _allowed(spec: BundleSpec, probes: list[ProbeSpec]) -> tuple[Network, ...]:
    """Return who is answered: the far ends first, as the filter looks at a limited number."""
    far = [ip_network(probe.to) for probe in probes]
    if isinstance(spec.reflect, tuple):
        return tuple(dict.fromkeys((*far, *spec.reflect)))
    return tuple(dict.fromkeys((*far, *(each.network for each in spec.addresses))))
