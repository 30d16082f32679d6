"""What a dataplane is given, can do and counts.

Units: rates bit/s, times ns, sizes bytes. Interfaces are named by ifindex.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from ipeql.state.desired import OVERFLOW_AFTER, Parameters
from ipeql.state.link import ETHERNET_HEADER
from ipeql.state.values import Address, Interface, Network


@dataclass(frozen=True, slots=True)
class SlaveRow:
    """One slave in a dataplane's table; everything resolved to numbers.

    ``usable``: the verdict of health; a dataplane also leaves out a slave whose link is down.
    ``use``: one of ``ipeql.methods.USES``; what it means is docs/methods.md's.
    """

    ifindex: int
    name: str
    bandwidth: int = 0
    lag: int | None = None
    overhead: int = ETHERNET_HEADER
    via: IPv4Address | None = None
    via6: IPv6Address | None = None
    usable: bool = True
    use: str = "always"


@dataclass(frozen=True, slots=True)
class BundleTable:
    """All that a dataplane needs to stripe: replaced as a whole by ``Backend.configure``.

    ``receive``: where packets of the bundle that arrive on a slave go on, ``bundle`` or ``slave``.
    ``overflow_after``: a slave whose virtual queue is longer, ns, is full.
    ``light_dscps``, ``duplicate_dscps``: masks, bit d is DSCP d: packets that have the method
    ``bw_lag_val`` or ``duplicate`` whatever the bundle's is. No DSCP is in both.
    """

    method: str
    parameters: Parameters = ()
    stripe_unit: str = "burst"
    poll_interval: int = 10**9
    slaves: tuple[SlaveRow, ...] = ()
    receive: str = "slave"
    overflow_after: int = OVERFLOW_AFTER
    light_dscps: int = 0
    duplicate_dscps: int = 0


@dataclass(frozen=True, slots=True)
class Receiving:
    """A slave on which a bundle receives: ``mac`` is empty where packets have no link header.

    ``groups``: solicitations of IPv6 neighbours for the bundle's addresses can be listened to.
    """

    ifindex: int
    name: str
    mac: str = ""
    addresses: tuple[Interface, ...] = ()
    groups: bool = False


@dataclass(frozen=True, slots=True)
class Receiver:
    """What the program at the slaves' ingress has to know of a bundle.

    Packets go on at ``device`` (ifindex); ``mac`` is its hardware address, empty where packets have
    no link header there, and ``own`` says that it is the bundle's own and no device below it.
    ``routed``: where the bundle routes to. ``addresses``: those of the bundle.
    """

    device: int
    mac: str = ""
    own: bool = True
    slaves: tuple[Receiving, ...] = ()
    routed: tuple[Network, ...] = ()
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do on this machine. ``reason`` says why it is not available.

    ``rank``: the higher one is preferred by ``backend: auto``. ``receives``: the values of
    ``receive`` that it supports; ``receiver``: by a program that ``Backend.receive`` tells what
    belongs to the bundle. ``lacks``: why it does not support a method, a stripe unit or a value of
    ``receive``.
    """

    backend: str
    available: bool
    methods: frozenset[str] = frozenset()
    stripe_units: frozenset[str] = frozenset()
    receives: frozenset[str] = frozenset({"slave"})
    receiver: bool = False
    rank: int = 0
    reason: str = ""
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SlaveStatistics:
    """Counters of one slave since it was enslaved; ``rate`` is bit/s over the last second.

    ``dropped`` counts packets by reason; ``queued_packets``/``queued_bytes`` wait in the dataplane.
    ``received_packets``/``received_bytes`` arrived on the slave and went on as the bundle's.
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
    received_packets: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True)
class BundleStatistics:
    """Counters of a bundle: its slaves' and the packets that reached no slave, by reason."""

    slaves: tuple[SlaveStatistics, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
