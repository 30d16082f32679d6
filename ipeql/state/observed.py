"""What is there: the kernel's links and routes, the dataplanes, and the verdicts on slaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipeql.state.dataplane import BundleTable, Capabilities, Receiver
from ipeql.state.link import Link, named
from ipeql.state.path import PathReport
from ipeql.state.uplink import Policy
from ipeql.state.values import Address, Network


@dataclass(frozen=True, slots=True)
class ObservedBundle:
    """A dataplane found running for a bundle. ``table`` None: it has not been configured.

    ``fault``: why its table cannot be known, e.g. an answer that cannot be understood.
    ``receiver``: what its receiving program knows; None: there is none, or it has to be made anew.
    ``binds_late``: where bandwidths are measured it binds packets late.
    """

    backend: str
    table: BundleTable | None = None
    fault: str = ""
    receiver: Receiver | None = None
    binds_late: bool = False


@dataclass(frozen=True, slots=True)
class ObservedRoute:
    """A route of the main table that carries our protocol number."""

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

    ``prepared``: (bundle, ifindex) of slaves whose earlier settings are kept for their release;
    ``loosened``: those of them whose reverse path filter was changed.
    ``verdicts``: by (bundle, ifindex); a slave without one is usable when up with carrier.
    ``paths``: what is known of the paths of slaves that have a probe, by (bundle, ifindex).
    ``policy``: how the packets of tunnels are kept on their uplinks.
    """

    links: Mapping[int, Link] = field(default_factory=dict)
    routes: frozenset[ObservedRoute] = frozenset()
    bundles: Mapping[str, ObservedBundle] = field(default_factory=dict)
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
    prepared: frozenset[tuple[str, int]] = frozenset()
    loosened: frozenset[tuple[str, int]] = frozenset()
    verdicts: Mapping[tuple[str, int], Verdict] = field(default_factory=dict)
    paths: Mapping[tuple[str, int], PathReport] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)

    def link(self, name: str) -> Link | None:
        """Return the link called ``name``, if there is one."""
        return named(self.links, name)

    def device(self, bundle: str) -> Link | None:
        """Return the device of ``bundle``, whatever its name is now."""
        return next((link for link in self.links.values() if link.owner == bundle), None)
