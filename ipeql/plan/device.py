"""What a bundle's device lacks: MTU, addresses, up, routes."""

from collections.abc import Iterator
from typing import NamedTuple

from ipeql.plan.actions import (
    Action,
    AddAddress,
    AddRoute,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetMtu,
    SetUp,
)
from ipeql.state import Interface, Link, ObservedState, RouteSpec

_DEFAULT_METRIC = {4: 0, 6: 1024}
"""What the kernel takes for a route without one: IP6_RT_PRIO_USER for IPv6 (net/ip6_route.h)."""


class Device(NamedTuple):
    """What the plan compares of a bundle's device. ``mtu`` None: as it is."""

    mtu: int | None = None
    up: bool = False
    addresses: tuple[Interface, ...] = ()
    routes: tuple[RouteSpec, ...] = ()


ABSENT = Device()


def with_metric(route: RouteSpec) -> RouteSpec:
    """Return ``route`` with the metric it has in the kernel."""
    if route.metric is not None:
        return route
    return RouteSpec(route.to, route.via, _DEFAULT_METRIC[route.to.version])


def observe_device(link: Link | None, observed: ObservedState) -> Device:
    """Return what is there of a device, in a stable order."""
    if link is None:
        return ABSENT
    addresses = sorted(link.addresses, key=lambda address: (address.version, address))
    routes = (
        with_metric(RouteSpec(route.to, route.via, route.metric))
        for route in observed.routes
        if route.ifindex == link.ifindex
    )
    return Device(link.mtu, link.up, tuple(addresses), tuple(sorted(routes, key=str)))


def device_actions(bundle: str, wanted: Device, present: Device) -> Iterator[Action]:
    """Yield what the device lacks.

    Being up is essential and goes first. Removals go before additions: these may collide with them.
    """
    if wanted.up and not present.up:
        yield SetUp(bundle=bundle)
    if wanted.mtu is not None and wanted.mtu != present.mtu:
        yield SetMtu(bundle=bundle, before=present.mtu, after=wanted.mtu)
    for address in present.addresses:
        if address not in wanted.addresses and not _made_by_kernel(address):
            yield RemoveAddress(bundle=bundle, address=address)
    for address in dict.fromkeys(wanted.addresses):
        if address not in present.addresses:
            yield AddAddress(bundle=bundle, address=address)
    yield from _routes(bundle, wanted.routes, present.routes)


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


def _made_by_kernel(address: Interface) -> bool:
    return address.version == 6 and address.is_link_local
