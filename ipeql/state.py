"""The desired and the observed state, as frozen data; no I/O.

``DesiredState`` comes from the configuration, ``ObservedState`` from the kernel and the dataplanes.
Units: rates bit/s, times ns, sizes bytes. Interfaces are named by ifindex where they exist and by
name where they are wanted.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Final, Literal

from ipeql.errors import Mark, Problem

MARK_PREFIX = "ipeql.bundle."
"""Our devices have the alternative name ``ipeql.bundle.<bundle>``: the mark of ownership."""

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

AUTO: Final = "auto"
"""IPEQL determines the value."""

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


def mark_of(bundle: str) -> str:
    """Return the alternative name that marks a device as the bundle's."""
    return MARK_PREFIX + bundle


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
    ``far_end`` and ``leaves_by``: the far end of a tunnel, and the ifindex of the link by which the
    tunnel's own packets leave; 0 if it is not known, or cannot be a bundle's device.
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

    @property
    def owner(self) -> str:
        """Return the bundle whose device this is, or an empty string."""
        return owner_of(self.name, self.altnames, self.alias)

    def is_called(self, name: str) -> bool:
        """Say whether ``name`` is the link's name or one of its alternative names."""
        return name == self.name or name in self.altnames

    @property
    def overhead(self) -> int:
        """Return the bytes Linux shapers count on this link beyond the IP packet."""
        return ETHERNET_HEADER if self.arphrd == ARPHRD_ETHER else 0


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


Changed = tuple[tuple[str, str], ...]
"""Keys that a change has set, as in the file, and the place of each change."""

TRANSIENT = "transient"
"""The place of a change that no file has: it ends when it is reverted or the machine restarts."""


@dataclass(frozen=True, slots=True)
class SlaveSpec:
    """One entry of ``slaves``: an exact name or a match, and its parameters.

    ``bandwidth`` None: not given, AUTO: the driver's speed. ``lag`` None: not
    given. ``overhead`` None: by link type. ``via``/``via6``: next hop on this slave, None: the
    destination (or the route's gateway) is on-link. ``up``: set the link up when enslaving it.
    ``changed`` has the key ``slave`` where a change added the whole entry.
    """

    name: str = ""
    match: LinkMatch | None = None
    bandwidth: int | Literal["auto"] | None = None
    lag: int | None = None
    overhead: int | None = None
    via: IPv4Address | None = None
    via6: IPv6Address | None = None
    up: bool = True
    mark: Mark | None = field(default=None, compare=False)
    changed: Changed = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """Return the text that people see for this entry."""
        if self.match is None:
            return self.name
        return self.match.label

    def fits(self, link: Link) -> bool:
        """Say whether ``link`` is meant by this entry."""
        return self.match.fits(link) if self.match else link.is_called(self.name)


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A route through the bundle; ``via`` None: on-link."""

    to: Network
    via: Address | None = None
    metric: int | None = None


Parameters = tuple[tuple[str, int | str], ...]
"""Method parameters in Python spelling, sorted by name, e.g. ``(("count", "packets"),)``."""


@dataclass(frozen=True, slots=True)
class BundleSpec:
    """One bundle as configured. ``mtu`` AUTO: the smallest slave's; ``mark``: its position.

    ``freed``: the slaves that a change has freed, and the place of each change.
    """

    name: str
    method: str
    slaves: tuple[SlaveSpec, ...] = ()
    parameters: Parameters = ()
    backend: str = "auto"
    mtu: int | Literal["auto"] = AUTO
    stripe_unit: str = "burst"
    addresses: tuple[Interface, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    min_slaves: int = 1
    poll_interval: int = 10**9
    mark: Mark | None = field(default=None, compare=False)
    changed: Changed = field(default=(), compare=False)
    freed: Changed = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All bundles by name. ``generation`` counts accepted loads.

    ``problems``: the changes of bundles that are without effect, and why. ``complete``: False if a
    file could not be used; that file may define bundles that are missing here.
    """

    bundles: Mapping[str, BundleSpec]
    generation: int = 0
    complete: bool = True
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SlaveRow:
    """One slave in a dataplane's table; everything resolved to numbers.

    ``usable``: the verdict of health; a dataplane also leaves out a slave whose link is down.
    """

    ifindex: int
    name: str
    bandwidth: int = 0
    lag: int | None = None
    overhead: int = ETHERNET_HEADER
    via: IPv4Address | None = None
    via6: IPv6Address | None = None
    usable: bool = True


@dataclass(frozen=True, slots=True)
class BundleTable:
    """All that a dataplane needs to stripe: replaced as a whole by ``Backend.configure``."""

    method: str
    parameters: Parameters = ()
    stripe_unit: str = "burst"
    poll_interval: int = 10**9
    slaves: tuple[SlaveRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do on this machine. ``reason`` says why it is not available.

    ``rank``: the higher one is preferred by ``backend: auto``. ``lacks``: why it does not support a
    method or a stripe unit.
    """

    backend: str
    available: bool
    methods: frozenset[str] = frozenset()
    stripe_units: frozenset[str] = frozenset()
    rank: int = 0
    reason: str = ""
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ObservedBundle:
    """A dataplane found running for a bundle. ``table`` None: it has not been configured.

    ``fault``: why its table cannot be known, e.g. an answer that cannot be understood.
    """

    backend: str
    table: BundleTable | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ObservedRoute:
    """A route that carries our protocol number."""

    to: Network
    via: Address | None
    ifindex: int
    metric: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of health on one slave; ``reason``: empty when usable, else e.g. ``no-carrier``.

    ``detail``: the reason in a few words for people.
    """

    usable: bool
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ObservedState:
    """The observed state: links by ifindex, our routes, running dataplanes and verdicts.

    ``prepared``: (bundle, ifindex) of slaves whose earlier settings are kept for their release.
    ``verdicts``: by (bundle, ifindex); a slave without one is usable when up with carrier.
    """

    links: Mapping[int, Link] = field(default_factory=dict)
    routes: frozenset[ObservedRoute] = frozenset()
    bundles: Mapping[str, ObservedBundle] = field(default_factory=dict)
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
    prepared: frozenset[tuple[str, int]] = frozenset()
    verdicts: Mapping[tuple[str, int], Verdict] = field(default_factory=dict)

    def link(self, name: str) -> Link | None:
        """Return the link called ``name``, if there is one."""
        return next((link for link in self.links.values() if link.is_called(name)), None)

    def device(self, bundle: str) -> Link | None:
        """Return the device of ``bundle``, whatever its name is now."""
        return next((link for link in self.links.values() if link.owner == bundle), None)


@dataclass(frozen=True, slots=True)
class SlaveStatistics:
    """Counters of one slave since it was enslaved; ``rate`` is bit/s over the last second.

    ``dropped`` counts packets by reason; ``queued_packets``/``queued_bytes`` wait in the dataplane.
    """

    ifindex: int
    name: str
    picks: int = 0
    packets: int = 0
    bytes: int = 0
    queued_packets: int = 0
    queued_bytes: int = 0
    rate: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BundleStatistics:
    """Counters of a bundle: its slaves' and the packets that reached no slave, by reason."""

    slaves: tuple[SlaveStatistics, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
