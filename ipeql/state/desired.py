"""What is wanted: the configuration as frozen data.

Units: rates bit/s, times ns, sizes bytes. Interfaces are named by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from ipeql.errors import Mark, Problem
from ipeql.state.link import Link, LinkMatch
from ipeql.state.path import Measured, ProbeKeys, ProbeSpec
from ipeql.state.values import AUTO, Address, Interface, Network

Changed = tuple[tuple[str, str], ...]
"""Keys that a change has set, as in the file, and the place of each change."""

TRANSIENT = "transient"
"""The place of a change that no file has: it ends when it is reverted or the machine restarts."""


OVERFLOW_AFTER = 20 * 10**6
"""The queue, ns, with more than which a slave is full, unless a bundle says otherwise."""


CLASS_METHODS = ("duplicate", "bw_lag_val")
"""The methods that a class of packets may have."""

MOST_CLASSES = 8
"""A bundle has no more classes."""


@dataclass(frozen=True, slots=True)
class SlaveSpec:
    """One entry of ``slaves``: an exact name or a match, and its parameters.

    ``bandwidth`` None: not given, DEVICE: the driver's speed. ``lag`` None: not given, AUTO:
    measured. ``overhead`` None: by link type. ``via``/``via6``: next hop on this slave, None: the
    destination (or the route's gateway) is on-link. ``use``: one of ``ipeql.methods.USES``.
    ``over``: the link by which the packets of a slave that is a tunnel leave; empty: by the routes.
    ``up``: set the link up when enslaving it. ``probe``: what it has otherwise than the bundle's.
    ``changed`` has the key ``slave`` where a change added the whole entry.
    """

    name: str = ""
    match: LinkMatch | None = None
    bandwidth: int | Measured | Literal["device"] | None = None
    lag: int | Literal["auto"] | None = None
    overhead: int | None = None
    via: IPv4Address | None = None
    via6: IPv6Address | None = None
    use: str = "always"
    over: str = ""
    up: bool = True
    probe: ProbeKeys | None = None
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
    """A route through the bundle; ``via`` None: on-link. ``number``: of its entry in the file."""

    to: Network
    via: Address | None = None
    metric: int | None = None
    number: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """The packets of some DSCPs, 0 to 63, and their ``method``, one of CLASS_METHODS."""

    dscps: tuple[int, ...]
    method: str


Parameters = tuple[tuple[str, int | str], ...]
"""Method parameters in Python spelling, sorted by name, e.g. ``(("count", "packets"),)``."""


@dataclass(frozen=True, slots=True)
class BundleSpec:
    """One bundle as configured. ``mtu`` AUTO: the smallest slave's; ``mark``: its position.

    ``overflow_after``: a slave whose queue is longer, ns, is full; see ``use`` of a slave.
    ``classes``: packets with a method of their own; of two with one DSCP the first counts.
    ``reflect``: answer probes on the slaves, those of some networks only, or None: where there is a
    probe. ``freed``: the slaves that a change has freed, and the place of each change.
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
    overflow_after: int = OVERFLOW_AFTER
    classes: tuple[TrafficClass, ...] = ()
    receive: str = "bundle"
    probe: ProbeSpec | None = None
    reflect: bool | tuple[Network, ...] | None = None
    mark: Mark | None = field(default=None, compare=False)
    changed: Changed = field(default=(), compare=False)
    freed: Changed = field(default=(), compare=False)

    def keeps_queue_of(self, slave: SlaveSpec) -> bool:
        """Say whether the slave's virtual queue decides when the slaves ``when-full`` are used."""
        return slave.use == "always" and any(other.use == "when-full" for other in self.slaves)

    def probe_of(self, slave: SlaveSpec) -> ProbeSpec | None:
        """Return how the far end of one of the bundle's slaves is asked; None: it is not."""
        return slave.probe.over(self.probe) if slave.probe else self.probe


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address and TCP port at which the metrics are served; ``mark``: its position."""

    address: Address
    port: int
    mark: Mark | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Return it as the file has it."""
        host = f"[{self.address}]" if self.address.version == 6 else f"{self.address}"
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All bundles by name. ``generation`` counts accepted loads.

    ``problems``: the changes of bundles that are without effect, and why. ``complete``: False if a
    file could not be used; that file may define bundles that are missing here. ``metrics`` None:
    nobody serves them.
    """

    bundles: Mapping[str, BundleSpec]
    generation: int = 0
    complete: bool = True
    problems: tuple[Problem, ...] = ()
    metrics: Endpoint | None = None

    @property
    def uplinks(self) -> frozenset[str]:
        """Return the names of the links that tunnels are to leave by."""
        slaves = (slave for spec in self.bundles.values() for slave in spec.slaves)
        return frozenset(slave.over for slave in slaves if slave.over)
