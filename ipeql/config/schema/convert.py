"""Between the file's keys and spellings and the state's numbers and addresses."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any

from pydantic import BaseModel

from ipeql.config.schema.kinds import ADDRESS, DEFAULT, DSCP, kinds
from ipeql.config.schema.model import Bundle, Class, Match, Probe, Settings, Slave, SlaveProbe
from ipeql.config.yaml.reader import KeyPath, YamlFile
from ipeql.errors import Mark
from ipeql.state import (
    DEFAULTS,
    BundleSpec,
    LinkMatch,
    Parameters,
    ProbeKeys,
    ProbeSpec,
    RouteSpec,
    SlaveSpec,
    TrafficClass,
)

METHOD_KEYS = frozenset(kinds(Settings)) - {field.name for field in fields(BundleSpec)}
"""The keys of a bundle that go to its method, in Python spelling; poll-interval is the bundle's."""


def read(given: BaseModel, names: Collection[str] | None = None) -> dict[str, Any]:
    """Return the state's values of the keys of a mapping, or of those of them in ``names``.

    Keys that have neither one single value nor a probe nor classes are left out, and so is what is
    not given and has no default.
    """
    found = kinds(type(given))
    spelt = {name: getattr(given, name) for name in found if names is None or name in names}
    values = {name: found[name].read(value) for name, value in spelt.items() if value is not None}
    probe = getattr(given, "probe", None)
    if probe and (names is None or "probe" in names):
        values["probe"] = _probe(probe)
    if isinstance(given, Settings) and (names is None or "classes" in names):
        values["classes"] = tuple(map(_class, given.classes))
    return values


def _class(given: Class) -> TrafficClass:
    return TrafficClass(tuple(map(DSCP.read, given.dscp)), given.method)


def class_written(given: TrafficClass) -> dict[str, Any]:
    """Return a class as the file spells it."""
    return {"dscp": [DSCP.write(dscp) for dscp in given.dscps], "method": given.method}


def _probe(probe: SlaveProbe) -> ProbeSpec | ProbeKeys:
    if isinstance(probe, Probe):
        return ProbeSpec(**read(probe))
    return ProbeKeys(**read(probe, probe.model_fields_set))


def write(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` of the state as the file spells them and their keys, in the table's order.

    What is None or empty text is left out.
    """
    found = kinds(model)
    written = {
        name.replace("_", "-"): found[name].write(values[name])
        for name in found
        if values.get(name) not in (None, "")
    }
    probe = values.get("probe")
    return written | {"probe": write(Probe, probe)} if probe else written


def bundle_spec(file: YamlFile, path: KeyPath, bundle: Bundle) -> BundleSpec:
    """Return the bundle that stands at ``path`` of ``file``."""
    return BundleSpec(
        name=str(path[-1]),
        slaves=tuple(
            slave_spec(slave, file.mark((*path, "slaves", i)))
            for i, slave in enumerate(bundle.slaves)
        ),
        parameters=parameters(bundle),
        addresses=tuple(ADDRESS.read(address) for address in bundle.addresses),
        routes=tuple(_routes(bundle)),
        mark=file.mark(path, key=True),
        **read(bundle, Bundle.model_fields.keys() - METHOD_KEYS),
    )


def _routes(bundle: Bundle) -> Iterator[RouteSpec]:
    """Yield the routes; ``default`` is one of each family that it is meant for."""
    addresses = [ADDRESS.read(address) for address in bundle.addresses]
    versions = {address.version for address in addresses} or DEFAULTS.keys()
    for number, route in enumerate(bundle.routes):
        values = read(route)
        networks = [values.pop("to")]
        if networks == [DEFAULT]:
            via = values.get("via")
            meant = {via.version} if via else versions
            networks = [DEFAULTS[version] for version in sorted(meant)]
        for to in networks:
            yield RouteSpec(to=to, number=number, **values)


def parameters(settings: Settings) -> Parameters:
    """Return those of the method's parameters that are given."""
    return tuple(sorted(read(settings, settings.model_fields_set & METHOD_KEYS).items()))


def slave_spec(slave: Slave, mark: Mark | None = None) -> SlaveSpec:
    """Return the slave that stands at ``mark``."""
    match = match_spec(slave.match) if slave.match else None
    return SlaveSpec(match=match, mark=mark, **read(slave))


def match_spec(match: Match) -> LinkMatch:
    """Return what a match means."""
    return LinkMatch(**read(match))
