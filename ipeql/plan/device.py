"""The differences of a bundle's device: up, MTU, train limit, addresses, routes."""

from collections.abc import Iterator
from typing import NamedTuple

from ipeql.plan.actions import (
    Action,
    AddAddress,
    AddRoute,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetCarrier,
    SetMtu,
    SetTrainLimit,
    SetUp,
)
from ipeql.state import MAX_TRAIN, Interface, Link, ObservedState, RouteSpec

_DEFAULT_METRIC = {4: 0, 6: 1024}
"""The kernel's metric for a route without one: IP6_RT_PRIO_USER for IPv6 (net/ip6_route.h)."""


_CARRIER_CAN_BE_SET = ("dummy", "tun")
"""Drivers with ndo_change_carrier. ifb and bridge have none; the module sets its own.

A macvlan has the carrier of the device that it stands on.
"""


class Device(NamedTuple):
    """What the plan compares of a bundle's device. ``mtu`` None: as it is.

    ``addresses``: ours. ``foreign``: those that others put there. ``carrier`` None: not known,
    because the device is down, or not set by the plan.
    """

    mtu: int | None = None
    train_limit: int = MAX_TRAIN
    up: bool = False
    addresses: tuple[Interface, ...] = ()
    foreign: frozenset[Interface] = frozenset()
    routes: tuple[RouteSpec, ...] = ()
    carrier: bool | None = None


ABSENT = Device()


def with_metric(route: RouteSpec) -> RouteSpec:
    """Return ``route`` with the metric it has in the kernel."""
    if route.metric is not None:
        return route
    return RouteSpec(route.to, route.via, _DEFAULT_METRIC[route.to.version])


def observe_device(link: Link | None, observed: ObservedState) -> Device:
    """Return the observed state of a device, in a stable order."""
    if link is None:
        return ABSENT
    addresses = sorted(link.own_addresses, key=lambda address: (address.version, address))
    routes = (
        with_metric(RouteSpec(route.to, route.via, route.metric))
        for route in observed.routes
        if route.ifindex == link.ifindex
    )
    foreign = link.addresses - link.own_addresses
    below = observed.links.get(link.lower, link)
    can_be_set = (below if below.part_of else link).driver in _CARRIER_CAN_BE_SET
    return Device(
        mtu=link.mtu,
        train_limit=link.train_limit,
        up=link.up,
        addresses=tuple(addresses),
        foreign=foreign,
        routes=tuple(sorted(routes, key=str)),
        carrier=link.carrier if link.up and can_be_set else None,
    )


def device_actions(bundle: str, wanted: Device, present: Device) -> Iterator[Action]:
    """Yield the actions for the differences.

    Setting the device up is essential and comes first.
    """
    if wanted.up and not present.up:
        yield SetUp(bundle=bundle)
    if wanted.mtu is not None and wanted.mtu != present.mtu:
        yield SetMtu(bundle=bundle, before=present.mtu, after=wanted.mtu)
    if wanted.train_limit != present.train_limit:
        yield SetTrainLimit(bundle=bundle, before=present.train_limit, after=wanted.train_limit)
    if None not in (wanted.carrier, present.carrier) and wanted.carrier != present.carrier:
        yield SetCarrier(bundle=bundle, carrier=bool(wanted.carrier))
    yield from _addresses(bundle, wanted.addresses, present)
    yield from _routes(bundle, wanted.routes, present.routes)


def _addresses(bundle: str, wanted: tuple[Interface, ...], present: Device) -> Iterator[Action]:
    """Yield the changes of addresses.

    New addresses are added before old ones are removed, so that their common subnet stays
    reachable. But an IPv6 address exists only once: to change its prefix length, it is removed
    first.
    """
    missing = [
        address
        for address in dict.fromkeys(wanted)
        if address not in present.addresses and address not in present.foreign
    ]
    gone = [address for address in present.addresses if address not in wanted]
    again = {address.ip for address in missing if address.version == 6}
    for address in gone:
        if address.ip in again:
            yield RemoveAddress(bundle=bundle, address=address)
    for address in missing:
        yield AddAddress(bundle=bundle, address=address)
    for address in gone:
        if address.ip not in again:
            yield RemoveAddress(bundle=bundle, address=address)


def _routes(
    bundle: str, wanted: tuple[RouteSpec, ...], present: tuple[RouteSpec, ...]
) -> Iterator[Action]:
    """Yield the changes of routes; one that only gets another next hop is never absent."""
    missing = {(route.to, route.metric): route for route in wanted if route not in present}
    for route in present:
        if route in wanted:
            continue
        after = missing.pop((route.to, route.metric), None)
        if after:
            yield ReplaceRoute(bundle=bundle, before=route, after=after)
        else:
            yield RemoveRoute(bundle=bundle, route=route)
    for route in missing.values():
        yield AddRoute(bundle=bundle, route=route)
