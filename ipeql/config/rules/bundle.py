"""The rules across the keys of one bundle."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from ipeql.config.schema.dscp import name_of
from ipeql.config.yaml.reader import KeyPath
from ipeql.config.yaml.wording import shorten
from ipeql.errors import Code
from ipeql.methods import METHODS
from ipeql.state import (
    AUTO,
    Address,
    BundleSpec,
    Interface,
    Measured,
    Network,
    SlaveSpec,
)

IPV6_MIN_MTU = 1280
"""RFC 8200, 5."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem and the path, within the bundle, of the value that is to change.

    ``follows``: the paths of values of whose mistakes it may be a consequence.
    """

    path: KeyPath
    code: Code
    message: str
    advice: str
    follows: tuple[KeyPath, ...] = ()


def check(spec: BundleSpec) -> Iterator[Fault]:
    """Yield the mistakes of the bundle as a whole."""
    yield from _method(spec)
    yield from _uses(spec)
    yield from _classes(spec)
    yield from _slaves(spec)
    yield from _mtu(spec)
    yield from _addresses(spec)
    yield from _routes(spec)
    yield from _probes(spec)


def _method(spec: BundleSpec) -> Iterator[Fault]:
    method = METHODS[spec.method]
    for name, _ in spec.parameters:
        if name not in method.parameters:
            key = name.replace("_", "-")
            users = [other.name for other in METHODS.values() if name in other.parameters]
            message = f"the method {spec.method} has no parameter `{key}`"
            advice = f"remove it; it belongs to {' and '.join(users)}"
            yield Fault((key,), Code.UNKNOWN_KEY, message, advice)
    for i, slave in enumerate(spec.slaves):
        given = {
            "bandwidth": slave.bandwidth is not None or (slave.probe or spec.probe) is not None,
            "lag": slave.lag is not None or (slave.probe or spec.probe) is not None,
        }
        lacking = [need for need in sorted(method.needs) if not given[need]]
        if lacking:
            message = f"{spec.method} needs the {' and '.join(lacking)} of every slave"
            examples = {"bandwidth": "bandwidth: 100Mbit", "lag": "lag: 20ms"}
            wanted = " and ".join(examples[need] for need in lacking)
            advice = f"add for example {wanted}"
            advice += f", or a probe to measure the {' and the '.join(lacking)}"
            follows = _probe_paths(i)
            yield Fault(("slaves", i), Code.METHOD_NEEDS, message, advice, follows)


def _uses(spec: BundleSpec) -> Iterator[Fault]:
    """Check that what decides when the slaves ``when-full`` are used can be known."""
    if "bandwidth" in METHODS[spec.method].needs:
        return
    for i, slave in enumerate(spec.slaves):
        measurable = (slave.probe or spec.probe) is not None
        if slave.bandwidth is None and not measurable and spec.keeps_queue_of(slave):
            full = next(other for other in spec.slaves if other.use == "when-full")
            message = f"{shorten(full.label)} is used when the others are full, "
            message += "which needs the bandwidth of this slave"
            advice = "add for example bandwidth: 100Mbit, or a probe to measure the bandwidth"
            path, follows = ("slaves", i), (("slaves", i, "use"), *_probe_paths(i))
            yield Fault(path, Code.USE_NEEDS, message, advice, follows)


def _classes(spec: BundleSpec) -> Iterator[Fault]:
    """Check that no DSCP is named again: it would never come to a later class."""
    owners: dict[int, int] = {}
    for i, each in enumerate(spec.classes):
        for j, dscp in enumerate(each.dscps):
            owner = owners.setdefault(dscp, i)
            if owner != i or dscp in each.dscps[:j]:
                message = f"DSCP {name_of(dscp)} is named twice"
                if owner != i:
                    message = f"DSCP {name_of(dscp)} belongs to class {owner + 1} already"
                path = ("classes", i, "dscp", j)
                yield Fault(path, Code.BAD_VALUE, message, "keep it in one place")


def _slaves(spec: BundleSpec) -> Iterator[Fault]:
    exact = all(slave.match is None for slave in spec.slaves)
    if exact and 0 < len(spec.slaves) < spec.min_slaves:
        message = f"min-slaves is {spec.min_slaves}, but the bundle has {len(spec.slaves)}"
        advice = f"write a number from 1 to {len(spec.slaves)}"
        yield Fault(("min-slaves",), Code.BAD_VALUE, message, advice)

    for i, slave in enumerate(spec.slaves):
        if slave.over and slave.over in (spec.name, slave.name):
            what = "the bundle" if slave.over == spec.name else "the slave"
            message = f"{slave.label} cannot go over {slave.over}, which is {what} itself"
            advice = "name the link that carries the tunnel, such as over: eth0"
            yield Fault(("slaves", i, "over"), Code.BAD_VALUE, message, advice)


def _mtu(spec: BundleSpec) -> Iterator[Fault]:
    ipv6 = any(item.version == 6 for item in (*spec.addresses, *(r.to for r in spec.routes)))
    if ipv6 and spec.mtu != AUTO and spec.mtu < IPV6_MIN_MTU:
        message = f"IPv6 needs an MTU of {IPV6_MIN_MTU} or more, this is {spec.mtu}"
        advice = f"write mtu: {IPV6_MIN_MTU} or more, or remove the IPv6 addresses and routes"
        yield Fault(("mtu",), Code.BAD_VALUE, message, advice)


def _addresses(spec: BundleSpec) -> Iterator[Fault]:
    seen: set[Interface] = set()
    for i, address in enumerate(spec.addresses):
        if address in seen:
            message = f"{address} is given twice"
            yield Fault(("addresses", i), Code.BAD_VALUE, message, "keep one of them")
        seen.add(address)


def _routes(spec: BundleSpec) -> Iterator[Fault]:
    own = {address.ip for address in spec.addresses}
    reached = {address.network for address in spec.addresses}
    reached |= {route.to for route in spec.routes if route.via is None}
    lengths = {(network.version, network.prefixlen) for network in reached}
    seen: set[tuple[Network, int | None]] = set()
    for route in spec.routes:
        i = route.number
        if (route.to, route.metric) in seen:
            message = f"a second route to {route.to} with the same metric"
            advice = "remove it, or give it another metric"
            yield Fault(("routes", i, "to"), Code.BAD_VALUE, message, advice)
        seen.add((route.to, route.metric))
        if route.via is not None:
            within = {
                ip_network((route.via, length), strict=False)
                for version, length in lengths
                if version == route.via.version
            }
            wrong = _gateway(route.via, route.to, own, not reached.isdisjoint(within))
            if wrong:
                path, follows = ("routes", i, "via"), (("addresses",),)
                yield Fault(path, Code.BAD_VALUE, *wrong, follows=follows)


def _gateway(via: Address, to: Network, own: set[Address], reached: bool) -> tuple[str, str] | None:
    """Say what is wrong with a gateway: the kernel takes one ``reached`` without another."""
    if via.version != to.version:
        return f"{via} is not of the family of {to}", f"write an IPv{to.version} address"
    if via in own:
        return f"{via} is the bundle's own address", "write the address at the other end"
    if reached or (via.version == 6 and via.is_link_local):
        return None
    advice = "write a gateway in the network of one of its addresses, or add that address"
    return f"{via} is in no network of the bundle", advice


def _probes(spec: BundleSpec) -> Iterator[Fault]:
    if spec.probe:
        yield from _far_end(spec, spec.probe.to, ("probe",))
    for i, slave in enumerate(spec.slaves):
        path: KeyPath = ("slaves", i, "probe")
        if slave.probe and slave.probe.to:
            yield from _far_end(spec, slave.probe.to, path)
        elif slave.probe and not spec.probe:
            message = "`to` is missing, and the bundle has no probe that says it"
            advice = "add to: with the address of the bundle at the other end, such as 10.9.0.2"
            yield Fault((*path, "to"), Code.MISSING_KEY, message, advice, _probe_paths(i))
        elif not spec.probe:
            yield from _unmeasurable(slave, i)


def _unmeasurable(slave: SlaveSpec, number: int) -> Iterator[Fault]:
    """Check that a slave without a probe has nothing measured."""
    advice = "add probe: {to: ADDRESS} to the bundle, with the far bundle's address"
    speed = f"{advice}, or write bandwidth: device for the speed that the driver reports"
    for key, is_measured, remedy in (
        ("bandwidth", isinstance(slave.bandwidth, Measured), speed),
        ("lag", slave.lag == AUTO, advice),
    ):
        if is_measured:
            message = f"the {key} cannot be measured without a probe"
            path = ("slaves", number, key)
            yield Fault(path, Code.BAD_VALUE, message, remedy, _probe_paths(number))


def _probe_paths(slave: int) -> tuple[KeyPath, ...]:
    return ("probe",), ("slaves", slave, "probe")


def _far_end(spec: BundleSpec, to: Address, path: KeyPath) -> Iterator[Fault]:
    """Check the address that is asked: it is asked from an address of the bundle."""
    family = f"IPv{to.version}"
    if to in {address.ip for address in spec.addresses}:
        message = f"{to} is the bundle's own address"
        advice = "write the address of the bundle at the other end"
    elif all(address.version != to.version for address in spec.addresses):
        message = f"{to} is asked from an {family} address of the bundle, which has none"
        advice = f"add an {family} address to addresses, or write an address of another family"
    else:
        return
    yield Fault((*path, "to"), Code.BAD_VALUE, message, advice, (path, ("addresses",)))
