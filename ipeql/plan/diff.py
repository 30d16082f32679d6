"""The plan: the actions that turn the observed state into the desired one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipeql.errors import Code, Problem
from ipeql.plan.actions import (
    Action,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    Receive,
    ReleaseSlave,
    RenameDevice,
    RestoreFilter,
    SetFilter,
)
from ipeql.plan.backend import Choice, choose_backend
from ipeql.plan.device import ABSENT, Device, device_actions, observe_device, with_metric
from ipeql.plan.members import Enslaved, Member, comes_back, enslave, members
from ipeql.plan.receiving import receiver
from ipeql.plan.traffic import hindrances, loose_rp_filter
from ipeql.plan.trains import train_limit
from ipeql.plan.uplink import Steered, leftovers, restoring_actions, steer, steering_actions
from ipeql.state import AUTO, BundleSpec, Capabilities, DesiredState, Link, ObservedState


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions, bundle by bundle in order, and the problems that prevent others."""

    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()

    def by_bundle(self) -> dict[str, list[Action]]:
        """Return each bundle's actions; bundles do not depend on each other's."""
        found: dict[str, list[Action]] = {}
        for action in self.actions:
            found.setdefault(action.bundle, []).append(action)
        return found


def plan(desired: DesiredState, observed: ObservedState) -> Plan:
    """Return the actions that lead from ``observed`` to ``desired``; none if nothing differs.

    Bundles that are no longer wanted come first, so that their slaves are free for the others. No
    bundle is removed while a file cannot be used: that file may define it. A bundle that no backend
    supports stays as it is, with a problem. Devices without our mark are never changed.
    """
    names = {link.name: link for link in observed.links.values()}
    ours = {link.owner: link for link in observed.links.values() if link.owner}
    actions: list[Action] = []
    problems: list[Problem] = []
    unwanted = _present(observed) - desired.bundles.keys() if desired.complete else set()
    for bundle in sorted(unwanted):
        actions += _remove(bundle, observed, ours.get(bundle))
    present = members(desired, observed.links, observed.prepared)
    steered = steer(desired, present, observed)
    for bundle, spec in desired.bundles.items():
        link, named = ours.get(bundle), names.get(bundle)
        running = observed.bundles.get(spec.name)
        choice = choose_backend(spec, observed.capabilities, running.backend if running else None)
        if named and named is not link:
            problems.append(_name_taken(spec))
        if running and running.fault:
            problems.append(_unclear(spec, running.fault))
        if named and not link:
            continue
        if choice.backend is None:
            problems.append(_no_backend(spec, choice))
        else:
            able = observed.capabilities[choice.backend]
            enslaved = enslave(spec, present[bundle], observed, able)
            if link and not named:
                actions.append(RenameDevice(bundle=bundle, before=link.name))
            actions += steering_actions(bundle, steered[bundle], observed)
            actions += _bundle(spec, able, link, enslaved, observed)
            actions += restoring_actions(bundle, steered[bundle], observed)
            problems += (*enslaved.problems, *steered[bundle].problems)
            everything = observed.links.values()
            receives = enslaved.table.receive == "bundle"
            problems += hindrances(spec, link, enslaved.slaves, everything, receives)
    if desired.complete:
        actions += leftovers(steered, observed)
    return Plan(tuple(actions), tuple(problems))


def _present(observed: ObservedState) -> set[str]:
    """Return the bundles of which a device, a dataplane or a slave is there."""
    ours = {link.owner or link.part_of for link in observed.links.values()} - {""}
    return ours | observed.bundles.keys() | {bundle for bundle, _ in observed.prepared}


def _remove(bundle: str, observed: ObservedState, link: Link | None) -> Iterator[Action]:
    parts = any(other.part_of == bundle for other in observed.links.values())
    if link or parts or bundle in observed.bundles:
        yield _destroy(bundle, observed, link)
    yield from restoring_actions(bundle, Steered(), observed)
    yield from _release(bundle, (), observed)


def _bundle(
    spec: BundleSpec,
    able: Capabilities,
    link: Link | None,
    enslaved: Enslaved,
    observed: ObservedState,
) -> Iterator[Action]:
    backend, (table, slaves, _) = able.backend, enslaved
    running = observed.bundles.get(spec.name)
    if running and running.backend != backend:
        yield _destroy(spec.name, observed, link)
        running = link = None
    if link is None or running is None:
        yield CreateBundle(bundle=spec.name, backend=backend, revive=link is not None)
        running = None
    for slave in slaves:
        yield from _prepare(spec.name, slave, table.receive, observed)
    before = running.table if running else None
    if before != table:
        yield ConfigureBundle(bundle=spec.name, backend=backend, before=before, after=table)
    mtus = [slave.link.mtu for slave in slaves] + ([] if spec.mtu == AUTO else [spec.mtu])
    # Without carrier the routes of a loop would go, and the loop with them: it would flap.
    carrier = any(row.usable for row in table.slaves) or any(
        comes_back(slave.link, link) for slave in slaves
    )
    routes = tuple(with_metric(route) for route in spec.routes if carrier or route.to.prefixlen)
    wanted = Device(
        mtu=min(mtus, default=None),
        train_limit=train_limit(table),
        up=True,
        addresses=spec.addresses,
        routes=routes,
        carrier=carrier,
    )
    yield from device_actions(spec.name, wanted, observe_device(link, observed))
    if running and link and able.receiver:
        found = receiver(spec, link, slaves, observed) if table.receive == "bundle" else None
        if found != running.receiver:
            receive = Receive(
                bundle=spec.name, backend=backend, before=running.receiver, after=found
            )
            yield receive
        elif found:
            yield from _restore(spec.name, slaves, observed)
    yield from _release(spec.name, slaves, observed)


def _restore(bundle: str, slaves: Iterable[Member], observed: ObservedState) -> Iterator[Action]:
    for slave in slaves:
        index, name = slave.link.ifindex, slave.link.name
        if (bundle, index) in observed.loosened:
            yield RestoreFilter(bundle=bundle, ifindex=index, name=name)


def _prepare(bundle: str, slave: Member, receive: str, observed: ObservedState) -> Iterator[Action]:
    link = slave.link
    index, name = link.ifindex, link.name
    if (bundle, index) not in observed.prepared:
        up = slave.spec.up and not link.up
        yield PrepareSlave(bundle=bundle, ifindex=index, name=name, up=up)
    if receive == "bundle":
        return
    before, after = link.rp_filter, loose_rp_filter(link)
    if link.strict_rp_filter and before is not None and before != after:
        yield SetFilter(bundle=bundle, ifindex=index, name=name, before=before, after=after)


def _release(bundle: str, keep: Iterable[Member], observed: ObservedState) -> Iterator[Action]:
    kept = {slave.link.ifindex for slave in keep}
    for owner, ifindex in sorted(observed.prepared):
        if owner == bundle and ifindex not in kept:
            link = observed.links.get(ifindex)
            name = link.name if link else f"ifindex {ifindex}"
            yield ReleaseSlave(bundle=bundle, ifindex=ifindex, name=name)


def _destroy(bundle: str, observed: ObservedState, link: Link | None) -> DestroyBundle:
    running = observed.bundles.get(bundle)
    if running is None:
        return DestroyBundle(bundle=bundle, backend=None)
    restore: list[Action] = [CreateBundle(bundle=bundle, backend=running.backend)]
    if running.table:
        restore.append(
            ConfigureBundle(
                bundle=bundle, backend=running.backend, before=None, after=running.table
            )
        )
    restore += device_actions(bundle, observe_device(link, observed), ABSENT)
    return DestroyBundle(bundle=bundle, backend=running.backend, restore=tuple(restore))


def _name_taken(spec: BundleSpec) -> Problem:
    return Problem(
        Code.NAME_TAKEN,
        f"{spec.name}: another interface already has this name",
        f"remove or rename that interface ('ip link show {spec.name}'), or rename the bundle",
        spec.mark,
        spec.name,
    )


def _unclear(spec: BundleSpec, fault: str) -> Problem:
    help_ = "IPEQL configures it anew; if that does not help, report it"
    return Problem(Code.INTERNAL, f"{spec.name}: {fault}", help_, bundle=spec.name)


def _no_backend(spec: BundleSpec, choice: Choice) -> Problem:
    other = "another method or stripe-unit" if spec.backend == "auto" else "'backend: auto'"
    return Problem(
        Code.NO_BACKEND,
        f"{spec.name}: no backend supports it: {choice.reason}",
        f"install what is missing, or choose {other}",
        spec.mark,
        spec.name,
    )
