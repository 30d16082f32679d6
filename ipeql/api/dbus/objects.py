"""The objects on the bus and their properties, from the status document; what changed; pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ipeql import __version__
from ipeql.api.dbus.names import (
    BUNDLE,
    MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
    ROOT,
    SLAVE,
    bundle_path,
    slave_path,
)
from ipeql.units import format_time

Properties = Mapping[str, Any]

Objects = Mapping[str, tuple[str, Properties]]
"""By path: the interface of an object and its properties, in the order of their creation."""


class Signal(NamedTuple):
    """A signal to send, its body in plain values."""

    path: str
    interface: str
    member: str
    body: list[Any]


def objects(status: Mapping[str, Any]) -> Objects:
    """Return all objects, from the document of ``ipeql.documents.status``."""
    found: dict[str, tuple[str, Properties]] = {ROOT: (MANAGER, _manager(status))}
    for bundle in status.get("bundles", ()):
        found[bundle_path(bundle["name"])] = (BUNDLE, _bundle(bundle))
        for slave in bundle["slaves"]:
            path = slave_path(bundle["name"], slave["name"] or slave["label"])
            found[path] = (SLAVE, _slave(bundle["name"], slave))
    return found


def _manager(status: Mapping[str, Any]) -> Properties:
    return {
        "Version": __version__,
        "Generation": status.get("generation", 0),
        "Problems": _problems(status),
    }


def _bundle(bundle: Mapping[str, Any]) -> Properties:
    name = bundle["name"]
    return {
        "Name": name,
        "State": bundle["state"],
        "Reason": bundle["reason"],
        "Method": bundle["method"],
        "Parameters": dict(map(_parameter, bundle["parameters"].items())),
        "Backend": bundle["backend"] or "",
        "StripeUnit": bundle["stripe_unit"],
        "Classes": [[each["dscp"], each["method"]] for each in bundle["classes"]],
        "Mtu": bundle["mtu_bytes"] or 0,
        "Addresses": bundle["addresses"],
        "MinSlaves": bundle["min_slaves"],
        "UsableSlaves": bundle["usable_slaves"],
        "Slaves": [slave_path(name, slave["name"] or slave["label"]) for slave in bundle["slaves"]],
        "ConfigFile": bundle["file"],
        "Transient": bundle["transient"],
        "Freed": bundle["freed"],
        "Problems": _problems(bundle),
    }


def _slave(bundle: str, slave: Mapping[str, Any]) -> Properties:
    return {
        "Name": slave["name"] or slave["label"],
        "Bundle": bundle_path(bundle),
        "State": slave["state"],
        "Reason": slave["reason"],
        "Ifindex": slave["ifindex"],
        "Use": slave["use"],
        "Bandwidth": slave["bandwidth_bps"],
        "Lag": -1 if slave["lag_ns"] is None else slave["lag_ns"],
        "Transient": slave["transient"],
        **_path(slave.get("path") or {}),
    }


def _path(path: Mapping[str, Any]) -> Properties:
    """Return the properties of a slave's path; without a probe nothing is known of it."""
    round_trip, loss = path.get("round_trip_ns"), path.get("loss")
    return {
        "PathTo": path.get("to", ""),
        "Path": path.get("standing", ""),
        "PathReason": path.get("reason", ""),
        "PathBy": path.get("rung", ""),
        "RoundTrip": -1 if round_trip is None else round_trip,
        "Loss": -1.0 if loss is None else loss,
        "Suspensions": path.get("suspensions", 0),
    }


_MEASURED = frozenset({"RoundTrip", "Loss", "Suspensions"})
"""Properties that change all the time and are not signalled."""


def _problems(shown: Mapping[str, Any]) -> list[str]:
    return [f"{problem['message']} [{problem['code']}]" for problem in shown.get("problems", ())]


def _parameter(item: tuple[str, Any]) -> tuple[str, Any]:
    """Return a parameter as its file would have it."""
    name, value = item
    key = name.removesuffix("_ns").replace("_", "-")
    return key, format_time(value) if name.endswith("_ns") else value


def signals_between(old: Objects, new: Objects) -> Iterator[Signal]:
    """Yield the signals that tell the difference; none where there is none.

    InterfacesAdded of an object, with all its properties, comes before its other signals.
    """
    for path, (interface, properties) in new.items():
        if path not in old:
            yield Signal(ROOT, OBJECT_MANAGER, "InterfacesAdded", [path, {interface: properties}])
            if interface == BUNDLE:
                yield Signal(ROOT, MANAGER, "BundleAdded", [properties["Name"], path])
            continue
        before = old[path][1]
        changed = {
            key: value
            for key, value in properties.items()
            if before[key] != value and key not in _MEASURED
        }
        if changed:
            yield Signal(path, PROPERTIES, "PropertiesChanged", [interface, changed, []])
        if "State" in changed:
            words = [before["State"], properties["State"], properties["Reason"]]
            kind = interface.rpartition(".")[2]
            yield Signal(path, interface, f"{kind}StateChanged", words)
    for path in reversed([path for path in old if path not in new]):
        interface, properties = old[path]
        yield Signal(ROOT, OBJECT_MANAGER, "InterfacesRemoved", [path, [interface]])
        if interface == BUNDLE:
            yield Signal(ROOT, MANAGER, "BundleRemoved", [properties["Name"], path])


def children(paths: Iterable[str], path: str) -> list[str]:
    """Return the next elements of the paths below ``path``, in order."""
    below = (each.removeprefix(f"{path}/") for each in paths if each.startswith(f"{path}/"))
    return list(dict.fromkeys(rest.partition("/")[0] for rest in below))
