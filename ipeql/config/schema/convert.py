"""From the file's keys and spellings to the state's numbers and addresses."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

from ipeql.config.schema.model import Bundle, Match, Route, Settings, Slave
from ipeql.config.yaml.reader import Document, Path
from ipeql.errors import Mark
from ipeql.methods import METHODS, TIMES
from ipeql.state import BundleSpec, LinkMatch, Parameters, RouteSpec, SlaveSpec
from ipeql.units import parse_rate, parse_time

METHOD_KEYS = frozenset().union(*(method.parameters for method in METHODS.values())) - {
    "poll_interval"
}
"""The keys of a bundle that go to its method, in Python spelling; poll-interval is the bundle's."""


def bundle_spec(document: Document, path: Path, bundle: Bundle) -> BundleSpec:
    """Return the bundle that stands at ``path`` of ``document``."""
    return BundleSpec(
        name=str(path[-1]),
        method=bundle.method,
        slaves=tuple(
            slave_spec(slave, document.mark((*path, "slaves", i)))
            for i, slave in enumerate(bundle.slaves)
        ),
        parameters=parameters(bundle),
        backend=bundle.backend,
        mtu=bundle.mtu if isinstance(bundle.mtu, int) else None,
        stripe_unit=bundle.stripe_unit,
        addresses=tuple(ip_interface(address) for address in bundle.addresses),
        routes=tuple(_route(route) for route in bundle.routes),
        min_slaves=bundle.min_slaves,
        poll_interval=parse_time(bundle.poll_interval),
        mark=document.mark(path, key=True),
    )


def parameters(settings: Settings) -> Parameters:
    """Return those of the method's parameters that are given."""
    given = sorted(settings.model_fields_set & METHOD_KEYS)
    values = ((name, getattr(settings, name)) for name in given)
    return tuple((name, parse_time(value) if name in TIMES else value) for name, value in values)


def slave_spec(slave: Slave, mark: Mark | None = None) -> SlaveSpec:
    """Return the slave that stands at ``mark``."""
    rated = slave.bandwidth not in (None, "auto")
    return SlaveSpec(
        name=slave.name or "",
        match=match_spec(slave.match) if slave.match else None,
        bandwidth=parse_rate(slave.bandwidth) if slave.bandwidth and rated else None,
        bandwidth_auto=slave.bandwidth == "auto",
        lag=None if slave.lag is None else parse_time(slave.lag),
        overhead=slave.overhead,
        via=IPv4Address(slave.via) if slave.via else None,
        via6=IPv6Address(slave.via6) if slave.via6 else None,
        up=slave.up,
        mark=mark,
    )


def match_spec(match: Match) -> LinkMatch:
    """Return what a match means."""
    return LinkMatch(match.name or "", match.mac or "", match.driver or "")


def _route(route: Route) -> RouteSpec:
    return RouteSpec(
        ip_network(route.to), ip_address(route.via) if route.via else None, route.metric
    )
