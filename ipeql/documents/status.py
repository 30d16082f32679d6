"""The status document: one JSON object that the command, the control socket and D-Bus all show.

Keys are snake_case with the unit in the name. ``schemas/status.json`` has them, and docs/json.md
what stays of them while the schema is ``ipeql-status/1``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ipeql.config.schema.dscp import name_of
from ipeql.documents.configuration import parameters
from ipeql.documents.path import path_document
from ipeql.errors import Problem
from ipeql.health.carrier import objection
from ipeql.health.path import PATH_DOWN
from ipeql.methods import TIMES
from ipeql.plan import Member, choose_backend, members, traffic
from ipeql.plan.members import comes_back, enslave, measured_bandwidth, measures_lag
from ipeql.state import (
    AUTO,
    TRANSIENT,
    BundleSpec,
    BundleStatistics,
    Changed,
    DesiredState,
    Learning,
    Link,
    ObservedBundle,
    ObservedState,
    PathReport,
    SlaveRow,
    SlaveSpec,
    SlaveStatistics,
    Standing,
)

SCHEMA = "ipeql-status/1"


def describe(
    desired: DesiredState,
    observed: ObservedState,
    statistics: Mapping[str, BundleStatistics],
    problems: Sequence[Problem],
    *,
    daemon: bool,
    changed_files: Sequence[str] = (),
    waiting: Collection[str] = (),
) -> dict[str, Any]:
    """Return the status document.

    ``statistics`` is by bundle name. A problem is shown with the bundle it names, or at the top
    where it names none, such as a refused reload. ``daemon``: one is running.
    ``changed_files``: those of the configuration that have changed since they were read.
    ``waiting``: bundles that no pass has come to yet. ``counted`` of a slave: its counters are
    known; they are 0 where they are not. Pure.
    """
    problems = (*problems, *desired.problems)
    present = members(desired, observed.links, observed.prepared)
    return {
        "schema": SCHEMA,
        "daemon": daemon,
        "generation": desired.generation,
        "changed_files": list(changed_files),
        "problems": [
            problem.to_json() for problem in problems if problem.bundle not in desired.bundles
        ],
        "bundles": [
            _bundle(
                spec,
                observed,
                statistics.get(name, BundleStatistics()),
                [problem for problem in problems if problem.bundle == name],
                present[name],
                waiting=name in waiting,
            )
            for name, spec in sorted(desired.bundles.items())
        ],
    }


def _bundle(
    spec: BundleSpec,
    observed: ObservedState,
    statistics: BundleStatistics,
    problems: Sequence[Problem],
    present: list[Member],
    *,
    waiting: bool,
) -> dict[str, Any]:
    running = observed.bundles.get(spec.name)
    slaves = _slaves(spec, observed, statistics, present)
    usable = sum(slave["state"] == "active" for slave in slaves)
    chosen, why = choose_backend(spec, observed.capabilities, running.backend if running else None)
    state, reason = _state(spec, usable, running is not None, problems)
    if waiting and not running:
        state, reason = "down", "other bundles are made first"
    device = observed.device(spec.name)
    table = running.table if running else None
    in_force = dict(table.parameters) if table and table.method == spec.method else {}
    return {
        "name": spec.name,
        "state": state,
        "reason": reason,
        "method": spec.method,
        "parameters": {
            f"{name}_ns" if name in TIMES else name: in_force.get(name, value)
            for name, value in parameters(spec).items()
        },
        "backend": running.backend if running else chosen,
        "backend_reason": why,
        "device": _kind(device, observed) if device and running else "",
        "stripe_unit": spec.stripe_unit,
        "poll_interval_ns": spec.poll_interval,
        "overflow_after_ns": spec.overflow_after,
        "classes": [
            {"dscp": [str(name_of(dscp)) for dscp in each.dscps], "method": each.method}
            for each in spec.classes
        ],
        "receive": table.receive if table else spec.receive,
        "receive_reason": _no_receiving(spec, observed, running),
        "mtu_bytes": device.mtu if device and running else (None if spec.mtu == AUTO else spec.mtu),
        "addresses": [str(address) for address in spec.addresses],
        "min_slaves": spec.min_slaves,
        "usable_slaves": usable,
        "rate_bps": sum(slave.rate for slave in statistics.slaves),
        "dropped": dict(statistics.dropped),
        "file": spec.mark.file if spec.mark else "",
        "line": spec.mark.line if spec.mark else 0,
        "transient": _transient(spec.changed),
        "freed": _transient(spec.freed),
        "problems": [problem.to_json() for problem in problems],
        "slaves": slaves,
    }


def _kind(device: Link, observed: ObservedState) -> str:
    """Say of what kind a bundle's device is, and the one that it stands on."""
    below = observed.links.get(device.lower)
    return f"{device.kind} on {below.kind}" if below and below.part_of else device.kind


def _no_receiving(spec: BundleSpec, observed: ObservedState, running: ObservedBundle | None) -> str:
    """Return why packets arrive on the slaves although the bundle is to receive them, or ""."""
    able = observed.capabilities.get(running.backend) if running else None
    if able is None or spec.receive in able.receives:
        return ""
    lack = able.lacks.get(spec.receive)
    return f"{able.backend} cannot receive for the bundle" + (f": {lack}" if lack else "")


def _state(
    spec: BundleSpec, usable: int, running: bool, problems: Sequence[Problem]
) -> tuple[str, str]:
    if not running:
        return "failed", problems[0].message if problems else "its dataplane is not running"
    if not usable:
        return "down", "no slave is usable"
    if usable < spec.min_slaves:
        return "degraded", f"fewer usable slaves than min-slaves, {spec.min_slaves}"
    for problem in problems:
        if problem.code in traffic.CODES:
            return "degraded", problem.message.removeprefix(f"{spec.name}: ")
    return "ready", ""


def _slaves(
    spec: BundleSpec,
    observed: ObservedState,
    statistics: BundleStatistics,
    present: list[Member],
) -> list[dict[str, Any]]:
    """Show every present slave, and every entry that has none, in configured order."""
    running = observed.bundles.get(spec.name)
    carried = {row.ifindex for row in running.table.slaves} if running and running.table else set()
    wanted = {row.ifindex: row for row in enslave(spec, present, observed).table.slaves}
    serving = [
        row
        for row in wanted.values()
        if row.usable and row.ifindex in carried and not _is_suspended(observed, spec, row)
    ]
    serves = {row.ifindex for row in serving}
    counters = {slave.ifindex: slave for slave in statistics.slaves}
    total = sum(slave.bytes for slave in statistics.slaves)
    shown = []
    for entry in spec.slaves:
        links = [member.link for member in present if member.spec is entry]
        for link in links:
            row = wanted.get(link.ifindex)
            state, reason = _slave_state(observed, spec.name, link, row, link.ifindex in carried)
            counted = counters.get(link.ifindex, SlaveStatistics(link.ifindex, link.name))
            share = counted.bytes / total if total else 0.0
            report = observed.paths.get((spec.name, link.ifindex))
            if state == PATH_DOWN and (probe := spec.probe_of(entry)):
                reason = f"{reason} (asked: {probe.to})"
            elif row and row.ifindex in serves:
                reason = _rests(row, serving)
            shown.append(
                _slave(entry, row, counted, share)
                | _path(spec, entry, report)
                | {"state": state, "reason": reason, "counted": link.ifindex in counters}
            )
        if not links:
            state, reason = _missing(entry, observed)
            none = SlaveStatistics(0, entry.name)
            shown.append(
                _slave(entry, None, none, 0.0)
                | _path(spec, entry, None)
                | {"state": state, "reason": reason}
            )
    return shown


def _is_suspended(observed: ObservedState, spec: BundleSpec, row: SlaveRow) -> bool:
    report = observed.paths.get((spec.name, row.ifindex))
    return report is not None and report.standing is Standing.SUSPENDED


def _rests(row: SlaveRow, serving: Sequence[SlaveRow]) -> str:
    """Return why one of the slaves that can serve is not used by its ``use``, or ""."""
    if row.use == "when-full" and any(other.use == "always" for other in serving):
        return "rests until the others are full"
    if row.use == "when-down" and row is not min(serving, key=lambda each: each.use == row.use):
        return "rests: others are usable"
    return ""


def _path(spec: BundleSpec, entry: SlaveSpec, report: PathReport | None) -> dict[str, Any]:
    """Return the path of a slave, None where it has no probe, and what is measured of it."""
    probe, measured = spec.probe_of(entry), measures_lag(spec, entry)
    given = None if entry.lag == AUTO else entry.lag
    is_known = report and report.bandwidth and report.learning is not Learning.STARTUP
    return ({"bandwidth_bps": report.bandwidth} if report and is_known else {}) | {
        "bandwidth_measured": measured_bandwidth(spec, entry) is not None,
        "lag_ns": (report.lag if report else None) if measured else given,
        "lag_measured": measured,
        "path": path_document(probe, report) if probe else None,
    }


def _slave_state(
    observed: ObservedState, bundle: str, link: Link, row: SlaveRow | None, carried: bool
) -> tuple[str, str]:
    if row is None:
        return "left-out", "its bandwidth is unknown, or the bundle is full"
    if not row.usable:
        if comes_back(link, observed.device(bundle)):
            return "loop", "its own packets come back into the bundle"
        verdict = observed.verdicts.get((bundle, link.ifindex))
        against = verdict or objection(link)
        return (against.reason, against.detail) if against else ("pending", "")
    return ("active", "") if carried else ("pending", "not in the dataplane yet")


def _missing(entry: SlaveSpec, observed: ObservedState) -> tuple[str, str]:
    if entry.match:
        return "absent", "no free link matches"
    if observed.link(entry.name):
        return "left-out", "such a link cannot be a slave"
    return "absent", "no such link"


def _slave(
    entry: SlaveSpec, row: SlaveRow | None, counted: SlaveStatistics, share: float
) -> dict[str, Any]:
    given = entry.bandwidth if isinstance(entry.bandwidth, int) else 0
    return {
        "name": counted.name,
        "label": entry.label,
        "state": "",
        "reason": "",
        "ifindex": counted.ifindex,
        "transient": _transient(entry.changed),
        "counted": False,
        "use": entry.use,
        "bandwidth_bps": row.bandwidth if row else given,
        "bandwidth_measured": False,
        "lag_ns": None,
        "lag_measured": False,
        "share": round(share, 4),
        "rate_bps": counted.rate,
        "picks": counted.picks,
        "packets": counted.packets,
        "bytes": counted.bytes,
        "queued_packets": counted.queued_packets,
        "queued_bytes": counted.queued_bytes,
        "received_packets": counted.received_packets,
        "received_bytes": counted.received_bytes,
        "dropped": dict(counted.dropped),
        "path": None,
    }


def _transient(changed: Changed) -> list[str]:
    return [key for key, location in changed if location == TRANSIENT]
