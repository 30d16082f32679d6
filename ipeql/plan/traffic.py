"""What keeps a bundle's packets from passing although its slaves are usable.

IPEQL changes none of these settings: they are the administrator's. It reports them with the remedy,
and a bundle with one of them is degraded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ipeql.errors import Code, Problem
from ipeql.plan.members import Member, comes_back
from ipeql.state import ARPHRD_ETHER, BundleSpec, Link

_IGNORES_OTHER_LINKS = frozenset({1, 2, 8})
"""Values of arp_ignore with which requests for another link's address are not answered.

Documentation/networking/ip-sysctl.rst.
"""

_TAKES_PACKETS = frozenset({"bridge", "bond", "team", "openvswitch"})
"""Kinds of links that take all packets arriving at their ports."""

Found = tuple[Code, str, str]
"""A code, a message without the bundle's name, a remedy."""


def loose_rp_filter(link: Link) -> int:
    """Return the reverse path filter that lets a bundle's packets in: loose, or off.

    Loose drops everything on a link without an IPv4 address (docs/adr/0006-rp-filter.md).
    """
    return 2 if any(address.version == 4 for address in link.addresses) else 0


def hindrances(
    spec: BundleSpec,
    device: Link | None,
    slaves: Sequence[Member],
    links: Iterable[Link],
    receives: bool = False,
) -> list[Problem]:
    """Return what keeps packets from passing; ``slaves``: those in the table, ``links``: all.

    ``receives``: what arrives on the slaves goes on from the bundle's device. Then their own
    settings do not count, and neighbours are answered under the bundle's name.
    """
    found: list[Problem] = []
    for check in _OF_A_SLAVE if receives else (*_WHERE_SLAVES_RECEIVE, *_OF_A_SLAVE):
        for slave in slaves:
            mark = slave.spec.mark or spec.mark
            found += (
                Problem(code, f"{spec.name}: {text}", remedy, mark, spec.name)
                for code, text, remedy in check(spec, device, slave)
            )
    found += (
        Problem(code, f"{spec.name}: {text}", remedy, spec.mark, spec.name)
        for code, text, remedy in _is_port(device, links)
    )
    return found


def _strict_everywhere(spec: BundleSpec, device: Link | None, slave: Member) -> Iterator[Found]:
    # The slave's own filter has no effect: the larger value counts.
    link = slave.link
    if link.strict_rp_filter and link.rp_filter == loose_rp_filter(link):
        yield (
            Code.FILTER_EVERYWHERE,
            f"{link.name} drops packets that arrive for the bundle, "
            "because net.ipv4.conf.all.rp_filter is not 0",
            f"sysctl -w net.ipv4.conf.all.rp_filter=0, or give {link.name} an IPv4 address",
        )


def _arp_ignored(spec: BundleSpec, device: Link | None, slave: Member) -> Iterator[Found]:
    # Without a next hop, the far end sends ARP requests for the bundle's own address there.
    link = slave.link
    if (
        _has_version(spec, 4)
        and slave.spec.via is None
        and link.arphrd == ARPHRD_ETHER
        and link.arp
        and link.arp_ignore in _IGNORES_OTHER_LINKS
    ):
        yield (
            Code.ARP_IGNORED,
            f"{link.name} does not answer ARP for the bundle's address, "
            f"because arp_ignore is {link.arp_ignore}",
            f"sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.{link.name}.arp_ignore=0, "
            "or configure a next hop at the far end",
        )


def _subnet_shadowed(spec: BundleSpec, device: Link | None, slave: Member) -> Iterator[Found]:
    # The slave's route is more specific, or it is equal and earlier.
    if not slave.link.up:
        return
    for own in spec.addresses:
        for other in sorted(slave.link.addresses, key=str):
            single = other.network.prefixlen == other.network.max_prefixlen
            if single or other.version != own.version:
                continue
            if other.network.subnet_of(own.network):  # type: ignore[arg-type]
                yield (
                    Code.SUBNET_SHADOWED,
                    f"{slave.link.name} has {other} in the bundle's subnet {own.network}, "
                    "so packets for it do not go through the bundle",
                    "give the bundle a subnet of its own",
                )


def _comes_back(spec: BundleSpec, device: Link | None, slave: Member) -> Iterator[Found]:
    link = slave.link
    if device is None or not comes_back(link, device):
        return
    to = f" to {link.far_end}" if link.far_end else ""
    remedy = f"give the slave 'over:' with the link that carries {link.name}, such as 'over: eth0'"
    if slave.spec.over:
        remedy = f"'over: {slave.spec.over}' has no effect; see what else is said of {link.name}"
    elif link.lower == device.ifindex:
        remedy = f"free {link.name} from the bundle"
    yield (
        Code.COMES_BACK,
        f"loop: the packets that {link.name} sends{to} come back into the bundle",
        remedy,
    )


def _no_next_hop6(spec: BundleSpec, device: Link | None, slave: Member) -> Iterator[Found]:
    # Unlike with ARP, an IPv6 host answers only for addresses of the link that is asked.
    link = slave.link
    if (
        _has_version(spec, 6)
        and slave.spec.via6 is None
        and link.arphrd == ARPHRD_ETHER
        and link.arp
    ):
        yield (
            Code.NEXT_HOP_MISSING,
            f"{link.name} has no 'via6': over Ethernet, the far end does not answer there for "
            "the IPv6 addresses of its bundle",
            "write the far end's address on this link, such as 'via6: fe80::1'",
        )


def _is_port(device: Link | None, links: Iterable[Link]) -> Iterator[Found]:
    if device is None:
        return
    for link in links:
        if link.ifindex == device.master and link.kind in _TAKES_PACKETS:
            yield (
                Code.IS_PORT,
                f"it is a port of {link.name}, a {link.kind}, which takes all arriving packets",
                f"a bundle carries IP packets, not frames: run ip link set {device.name} "
                "nomaster, and use routes",
            )


def _has_version(spec: BundleSpec, version: int) -> bool:
    networks = [address.network for address in spec.addresses] + [r.to for r in spec.routes]
    return any(network.version == version for network in networks)


_Checks = tuple[Callable[[BundleSpec, Link | None, Member], Iterator[Found]], ...]

_WHERE_SLAVES_RECEIVE: _Checks = (_strict_everywhere, _arp_ignored, _no_next_hop6)
_OF_A_SLAVE: _Checks = (_subnet_shadowed, _comes_back)

CODES = frozenset(
    {
        Code.FILTER_EVERYWHERE,
        Code.ARP_IGNORED,
        Code.SUBNET_SHADOWED,
        Code.COMES_BACK,
        Code.NEXT_HOP_MISSING,
        Code.IS_PORT,
        Code.FILTER_REFUSED,
        Code.NOT_OVER,
        Code.UPLINK_FILTER,
    }
)
"""The problems that make a bundle degraded."""
