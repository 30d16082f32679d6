"""The changes that IPEQL makes, as data; ``ipeql.apply`` does them.

An action on a bundle's device names it by the bundle's name, since the device may not exist yet; an
action on a slave names it by ifindex. ``str(action)`` is one line for people; it begins with ``+``,
``-`` or ``~``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import ClassVar

from ipeql.plan.table import describe_change
from ipeql.state import (
    MAX_TRAIN,
    BundleTable,
    Interface,
    Receiver,
    RouteSpec,
    Rule,
    TableRoute,
)


def _plain(value: object) -> object:
    """Return ``value`` as JSON has it: a dataclass as object, an address as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value) if item.repr}
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change for one bundle.

    ``essential``: without it the bundle would not carry its traffic, or carry it wrongly. If an
    essential action is refused, the bundle is rolled back. Any other refusal is a problem of that
    one object, and the rest is applied.
    """

    essential: ClassVar[bool] = False
    bundle: str

    def describe(self) -> str:
        """Return one line for people."""
        return str(self)

    def to_json(self) -> dict[str, object]:
        """Return a JSON object: ``action`` names the class; rates bit/s, times ns, sizes bytes."""
        shown = {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.repr}
        return {"action": type(self).__name__, **shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBundle(Action):
    """Make the device and start its dataplane; ``revive``: our device is there, only start it."""

    essential: ClassVar[bool] = True
    backend: str
    revive: bool = False

    def __str__(self) -> str:
        return f"{'~ revive' if self.revive else '+ create'} {self.bundle} ({self.backend})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyBundle(Action):
    """Remove the device; its addresses and routes go with it.

    ``backend`` None: no dataplane knows it, only our mark on the device is left. ``restore``: the
    actions that would make the bundle again as it was.
    """

    essential: ClassVar[bool] = True
    backend: str | None
    restore: tuple[Action, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"- destroy {self.bundle}" + (f" ({self.backend})" if self.backend else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureBundle(Action):
    """Replace the dataplane's table; ``before`` None: it has none."""

    essential: ClassVar[bool] = True
    backend: str
    before: BundleTable | None
    after: BundleTable

    def __str__(self) -> str:
        sign = "~" if self.before else "+"
        return f"{sign} configure {self.bundle}: {describe_change(self.before, self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSlave(Action):
    """Enslave a link; ``up``: set it up first."""

    ifindex: int
    name: str
    up: bool = False

    def __str__(self) -> str:
        return f"+ enslave {self.name} to {self.bundle}{': set up' if self.up else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFilter(Action):
    """Set a slave's reverse path filter, and remember its earlier value.

    ``before``: as observed. ``after``: a value of ``rp_filter`` that lets in what arrives for the
    bundle's addresses (RFC 3704, 2.2 and 2.4).
    """

    ifindex: int
    name: str
    before: int
    after: int

    def __str__(self) -> str:
        change = f"{self.before} -> {self.after}"
        return f"~ slave {self.name} of {self.bundle}: rp_filter {change}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFilter(Action):
    """Give a slave its earlier reverse path filter: what it receives goes on from the bundle."""

    ifindex: int
    name: str

    def __str__(self) -> str:
        return f"~ slave {self.name} of {self.bundle}: rp_filter as before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive(Action):
    """Tell the receiving program what belongs to the bundle; ``after`` None: remove it."""

    backend: str
    before: Receiver | None
    after: Receiver | None

    def __str__(self) -> str:
        if self.after is None:
            return f"- receive on {self.bundle}"
        sign = "~" if self.before else "+"
        return f"{sign} receive on {self.bundle}: {', '.join(_received(self.before, self.after))}"


def _received(before: Receiver | None, after: Receiver) -> Iterator[str]:
    """Yield what is different; all of it where there was nothing."""
    slaves = ", ".join(slave.name for slave in after.slaves) or "no slave"
    routed = ", ".join(map(str, after.routed)) or "nowhere"
    if before is None or [slave.ifindex for slave in before.slaves] != [
        slave.ifindex for slave in after.slaves
    ]:
        yield f"through {slaves}"
    if before is None or before.routed != after.routed:
        yield f"from {routed}"
    if before is None:
        return
    if before.addresses != after.addresses:
        yield f"addresses {', '.join(map(str, after.addresses)) or 'none'}"
    if (before.device, before.mac, before.own) != (after.device, after.mac, after.own):
        yield "another device"
    known = {slave.ifindex: slave for slave in before.slaves}
    for slave in after.slaves:
        if slave.ifindex in known and slave != known[slave.ifindex]:
            yield f"slave {slave.name} has changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSlave(Action):
    """Restore the slave's reverse path filter and forget it; it stays up.

    It stays up because others may use it by then.
    """

    ifindex: int
    name: str

    def __str__(self) -> str:
        return f"- free {self.name} from {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameDevice(Action):
    """Give our device the bundle's name again; ``before``: the name that somebody gave it."""

    before: str

    def __str__(self) -> str:
        return f"~ rename {self.before} to {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMtu(Action):
    """Set the device's MTU in bytes; ``before`` None: it is being created."""

    before: int | None
    after: int

    def __str__(self) -> str:
        before = f"{self.before} -> " if self.before else ""
        return f"~ mtu {self.bundle}: {before}{self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTrainLimit(Action):
    """Set how many packets the kernel may join to a GSO train on the device."""

    before: int
    after: int

    def __str__(self) -> str:
        return f"~ train limit {self.bundle}: {_train(self.before)} -> {_train(self.after)}"


def _train(limit: int) -> str:
    return "none" if limit == MAX_TRAIN else "1 packet" if limit == 1 else f"{limit} packets"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp(Action):
    """Set the device up."""

    essential: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"~ up {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCarrier(Action):
    """Set the device's carrier, which decides whether its routes are used."""

    carrier: bool

    def __str__(self) -> str:
        return f"~ carrier {self.bundle}: {'on' if self.carrier else 'off, no slave is usable'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress(Action):
    """Give the device an address."""

    address: Interface

    def __str__(self) -> str:
        return f"+ address {self.address} on {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAddress(Action):
    """Take an address from the device."""

    address: Interface

    def __str__(self) -> str:
        return f"- address {self.address} on {self.bundle}"


def _describe_route(route: RouteSpec) -> str:
    via = f" via {route.via}" if route.via else ""
    return f"route {route.to}{via} metric {route.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute(Action):
    """Add a route through the device, under our protocol number; its metric is given."""

    route: RouteSpec

    def __str__(self) -> str:
        return f"+ {_describe_route(self.route)} on {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRoute(Action):
    """Put a route in the place of ours to the same destination with the same metric."""

    before: RouteSpec
    after: RouteSpec

    def __str__(self) -> str:
        return (
            f"~ {_describe_route(self.before)} on {self.bundle} -> via {self.after.via or 'link'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRoute(Action):
    """Remove one of our routes through the device; its metric is given."""

    route: RouteSpec

    def __str__(self) -> str:
        return f"- {_describe_route(self.route)} on {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMark(Action):
    """Set the firewall mark of a WireGuard link's own packets; 0: none."""

    ifindex: int
    name: str
    before: int
    after: int

    def __str__(self) -> str:
        change = f"{_mark(self.before)} -> {_mark(self.after)}"
        return f"~ slave {self.name} of {self.bundle}: mark {change}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTunnel(Action):
    """Bind a tunnel to its uplink, which is another link now; ``before``: an ifindex that is gone.

    ``uplink``: its name.
    """

    ifindex: int
    name: str
    uplink: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"~ slave {self.name} of {self.bundle}: bind to {self.uplink}, which is back"


def _mark(mark: int) -> str:
    return f"{mark:#x}" if mark else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRule(Action):
    """Let the packets of a tunnel look into the table of its uplink."""

    rule: Rule

    def __str__(self) -> str:
        return f"+ {_describe_rule(self.rule)} for {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRule(Action):
    """Remove a rule of ours, of which no bundle has need."""

    rule: Rule

    def __str__(self) -> str:
        return f"- {_describe_rule(self.rule)}"


def _describe_rule(rule: Rule) -> str:
    return f"IPv{rule.version} rule {rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTableRoute(Action):
    """Add a route to the table of an uplink, or put it in the place of ``before``.

    ``dev``: the name of the uplink.
    """

    before: TableRoute | None
    after: TableRoute
    dev: str

    def __str__(self) -> str:
        sign = "~" if self.before else "+"
        return f"{sign} {_describe_table_route(self.after, self.dev)} for {self.bundle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTableRoute(Action):
    """Remove a route of ours from a table of ours; ``dev``: the name of its link."""

    route: TableRoute
    dev: str

    def __str__(self) -> str:
        return f"- {_describe_table_route(self.route, self.dev)}"


def _describe_table_route(route: TableRoute, dev: str) -> str:
    to = route.to if route.to.prefixlen else f"IPv{route.to.version} default"
    where = f"table {route.table:#x}: "
    if not route.ifindex:
        return f"{where}{to} unreachable"
    via = f" via {route.via}" if route.via else ""
    src = f" src {route.src}" if route.src else ""
    return f"{where}{to}{via} dev {dev}{src}"
