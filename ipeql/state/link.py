"""A network interface as the kernel shows it, whose it is, and which links an entry means.

Units: rates bit/s, sizes bytes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ipeql.state.uplink import Gateway
from ipeql.state.values import Address, Interface, Network

MARK_PREFIX = "ipeql.bundle."
"""Our devices have the alternative name ``ipeql.bundle.<bundle>``: the mark of ownership."""

PART_PREFIX = "ipeql.part."
"""What a bundle's device stands on has the alternative name ``ipeql.part.<part>.<bundle>``."""

ALIAS_PREFIX = "ipeql:"
"""The mark in ``ifalias``, ``ipeql:<bundle>``: of earlier versions, and before Linux 5.5."""

PROTOCOL = 98
"""rtm_protocol of our routes, ifa_proto of our addresses.

Unassigned in iproute2's rt_protos and rt_addrprotos, and in the kernel's rtnetlink.h and if_addr.h.
"""

MAX_TRAIN = 65535
"""GSO_MAX_SEGS of include/linux/netdevice.h, what devices are made with: any train."""

ARPHRD_ETHER = 1
"""include/uapi/linux/if_arp.h: links of this type put 14 bytes before the packet."""

ETHERNET_HEADER = 14


def mark_of(bundle: str) -> str:
    """Return the alternative name that marks a device as the bundle's."""
    return MARK_PREFIX + bundle


def mark_of_part(bundle: str, part: str) -> str:
    """Return the alternative name that marks a device as a part of what the bundle consists of."""
    return f"{PART_PREFIX}{part}.{bundle}"


def owner_of(name: str, altnames: Iterable[str], alias: str) -> str:
    """Return the bundle whose device has this name and mark, or an empty string.

    Anybody may write ``alias``, so it counts only where the bundle has the device's name.
    """
    for altname in altnames:
        if altname.startswith(MARK_PREFIX):
            return altname.removeprefix(MARK_PREFIX)
    return name if alias == ALIAS_PREFIX + name else ""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface as the kernel shows it.

    ``speed`` is what the driver reports in bit/s, None where it reports none. ``rp_filter``: the
    link's own setting, None where IPv4 is not on it. ``strict_rp_filter``: by that or by the
    setting for all links the kernel drops packets that arrive here from sources routed elsewhere.
    ``own_addresses``: those among ``addresses`` that IPEQL put there. ``mac`` is the hardware
    address in use, ``card`` the permanent one. ``kind`` is rtnetlink's, empty for hardware. Names
    are text that is safe to show (ipeql.names). ``train_limit``: the most packets that the kernel
    joins to a GSO train (gso_max_segs).

    ``arp``: neighbours are asked for. ``arp_ignore``: the kernel's setting that is in force here.
    ``master``, ``lower``: the ifindex of the link that this is a port of, or is built on.
    ``routed``: of a bundle's device, the networks that routes of anybody in the main table lead to.
    ``far_end`` and ``leaves_by``: the far end of a tunnel, and the ifindex of the link by which the
    tunnel's own packets leave; 0 if it is not known, or cannot be a bundle's device.
    ``bound`` and ``mark``: what keeps a tunnel's own packets on their way: the ifindex of the link
    they have to leave by, 0 for none; and their firewall mark, 0 for none. None: it has no such
    setting, or it cannot be read or, for a mark of 0, set. ``point_to_point``: it leads to one
    host. ``gateways``: of an uplink, at most one for each IP version.
    """

    ifindex: int
    name: str
    mtu: int = 1500
    train_limit: int = MAX_TRAIN
    up: bool = True
    carrier: bool = True
    arphrd: int = ARPHRD_ETHER
    mac: str = ""
    card: str = ""
    kind: str = ""
    driver: str = ""
    speed: int | None = None
    alias: str = ""
    altnames: tuple[str, ...] = ()
    addresses: frozenset[Interface] = frozenset()
    own_addresses: frozenset[Interface] = frozenset()
    rp_filter: int | None = 0
    strict_rp_filter: bool = False
    arp: bool = True
    arp_ignore: int = 0
    master: int = 0
    lower: int = 0
    far_end: Address | None = None
    leaves_by: int = 0
    bound: int | None = None
    mark: int | None = None
    point_to_point: bool = False
    gateways: frozenset[Gateway] = frozenset()
    routed: frozenset[Network] = frozenset()

    @property
    def owner(self) -> str:
        """Return the bundle whose device this is, or an empty string."""
        return owner_of(self.name, self.altnames, self.alias)

    @property
    def part_of(self) -> str:
        """Return the bundle whose device stands on this one, or an empty string."""
        for altname in self.altnames:
            if altname.startswith(PART_PREFIX):
                return altname.removeprefix(PART_PREFIX).partition(".")[2]
        return ""

    def is_called(self, name: str) -> bool:
        """Say whether ``name`` is the link's name or one of its alternative names."""
        return name == self.name or name in self.altnames

    @property
    def overhead(self) -> int:
        """Return the bytes Linux shapers count on this link beyond the IP packet."""
        return ETHERNET_HEADER if self.arphrd == ARPHRD_ETHER else 0


def named(links: Mapping[int, Link], name: str) -> Link | None:
    """Return the link called ``name``, if there is one; a name goes before another's altname."""
    called = [link for link in links.values() if link.is_called(name)]
    return min(called, key=lambda link: link.name != name, default=None)


@dataclass(frozen=True, slots=True)
class LinkMatch:
    """Which links a slave entry means: every field given must fit, ``name`` as a shell glob.

    ``mac`` means the card. The VLANs, bridges and bonds that borrow its address do not fit.
    """

    name: str = ""
    mac: str = ""
    driver: str = ""

    @property
    def label(self) -> str:
        """Return the text that people see for it: all values that are given.

        No other match has this label, and no link name can be equal to it. The form shows what a
        pattern, a MAC address, or a driver after one of them is; other values are prefixed.
        """
        parts = []
        if self.name:
            parts.append(self.name if _PATTERN.fullmatch(self.name) else _said("name", self.name))
        if self.mac:
            parts.append(self.mac)
        if self.driver:
            plain = parts and _WORD.fullmatch(self.driver)
            parts.append(self.driver if plain else _said("driver", self.driver))
        return ",".join(parts)

    def fits(self, link: Link) -> bool:
        """Say whether ``link`` is meant."""
        return (
            (not self.name or fnmatchcase(link.name, self.name))
            and (not self.mac or _is_card(link, self.mac.lower()))
            and (not self.driver or link.driver == self.driver)
        )


_PATTERN = re.compile(r"[^,:]*[*?\[][^,:]*")
_WORD = re.compile(r"[\w.-]+")


def _said(key: str, value: str) -> str:
    escaped = value.replace("\\", r"\\").replace(",", r"\,")
    return f"{key}:{escaped}"


BORROWERS = frozenset(
    {"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "bridge", "bond", "team", "macsec", "hsr"}
)
"""Kinds of links that take the hardware address of a link below them."""


def _is_card(link: Link, mac: str) -> bool:
    # A port of a bond uses another port's address; its own is the permanent one.
    return link.kind not in BORROWERS and mac == (link.card or link.mac).lower()
