"""What a bundle receives on its slaves: the program's part of the state, from what is observed."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from ipeql.plan.members import Member
from ipeql.state import ARPHRD_ETHER, BundleSpec, Link, Network, ObservedState, Receiver, Receiving

LINK_LOCAL = IPv6Network("fe80::/10")
"""Every link has this network; no bundle routes to it."""


def receiver(
    spec: BundleSpec, device: Link, slaves: Sequence[Member], observed: ObservedState
) -> Receiver:
    """Return what the receiving program of a bundle has to know now.

    A device that stands on another gets its packets there.
    """
    below = observed.links.get(device.lower)
    place = below if below and below.part_of == spec.name else device
    return Receiver(
        device=place.ifindex,
        mac=device.mac if place.arphrd == ARPHRD_ETHER else "",
        own=place is device,
        slaves=tuple(_slave(slave.link) for slave in slaves),
        routed=_routed(spec, device),
        addresses=tuple(sorted({each.ip for each in device.addresses}, key=_order)),
    )


def _slave(link: Link) -> Receiving:
    return Receiving(
        ifindex=link.ifindex,
        name=link.name,
        mac=link.mac if link.arphrd == ARPHRD_ETHER else "",
        addresses=tuple(sorted(link.addresses, key=_order)),
        groups=link.up and link.arp and any(each.version == 6 for each in link.addresses),
    )


def _routed(spec: BundleSpec, device: Link) -> tuple[Network, ...]:
    """Return the networks that the bundle routes to, or will after this pass."""
    networks: set[Network] = {each.network for each in (*spec.addresses, *device.addresses)}
    networks |= {route.to for route in spec.routes} | device.routed
    return tuple(sorted(filter(_counts, networks), key=_order))


def _counts(network: Network) -> bool:
    if isinstance(network, IPv4Network):
        return not network.is_multicast
    return not network.is_multicast and not network.subnet_of(LINK_LOCAL)


def _order(value: object) -> tuple[int, str]:
    text = str(value)
    return (6 if ":" in text else 4, text)
