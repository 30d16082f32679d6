"""From pydantic's errors to sentences about the file."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ipeql.config.schema.model import (
    Bundle,
    Change,
    Class,
    File,
    Match,
    Metrics,
    Probe,
    Route,
    Settings,
    Slave,
)
from ipeql.config.yaml.reader import KeyPath
from ipeql.config.yaml.wording import nearest, shorten, shown
from ipeql.errors import Code
from ipeql.methods import METHODS
from ipeql.state import CLASS_METHODS

_SYNONYMS = {
    "members": "slaves", "ports": "slaves", "interfaces": "slaves", "links": "slaves",
    "mode": "method", "type": "method", "policy": "method", "driver": "backend",
    "interface": "name", "device": "name", "dev": "name", "ifname": "name",
    "rate": "bandwidth", "speed": "bandwidth", "bps": "bandwidth",
    "delay": "lag", "latency": "lag", "rtt": "lag",
    "uplink": "over", "underlay": "over", "parent": "over",
    "gateway": "via", "nexthop": "via", "next-hop": "via", "gateway6": "via6",
    "destination": "to", "dst": "to", "network": "to", "priority": "metric",
    "ip": "addresses", "address": "addresses", "min-links": "min-slaves",
    "macaddress": "mac", "enabled": "up", "tos": "dscp", "qos": "classes",
}  # fmt: skip
"""What other tools (bonding, teamd, netplan, ip) call our keys."""

_EXAMPLES = {
    "bundles": "the bundles by name, or bundles: {} for none",
    "slaves": "- {name: eth1, bandwidth: 100Mbit}",
    "match": '{name: "wwan*"}',
    "probe": "{to: 10.9.0.2}",
    "metrics": '{listen: "[::1]:9817"}',
    "routes": "- {to: 192.168.40.0/24, via: 10.9.0.2}",
    "classes": "- {dscp: [ef, cs5], method: duplicate}",
    "dscp": "[ef, cs5]",
    "addresses": "[10.9.0.1/24]",
    "changes": "- {bundle: ipeql0, free: eth1}",
    "set": "{method: bw_load}",
    "enslave": "{name: eth1, bandwidth: 100Mbit}",
    "set-slave": "{name: eth1, bandwidth: 100Mbit}",
}


_CODES = frozenset(code.value for code in Code)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A problem and the path of the value or, with ``key``, the key that is to change."""

    path: KeyPath
    code: Code
    message: str
    advice: str
    key: bool = False


def explain(errors: list[ErrorDetails]) -> list[Explanation]:
    """Return what ``errors`` mean for the person who wrote the file.

    A key is not called missing where another one is probably meant to be it.
    """
    unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
    present = {(*path[:-1], _meant(path)) for path in unknown}
    return [
        _explain(error)
        for error in errors
        if error["type"] != "missing" or not present & {error["loc"], (*error["loc"][:-1], "<<")}
    ]


def _explain(error: ErrorDetails) -> Explanation:
    path = error["loc"]
    context: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return Explanation(path, Code.UNKNOWN_KEY, *_unknown_key(path), key=True)
        case "missing":
            return Explanation(path, Code.MISSING_KEY, *_missing_key(path))
        case "model_type" | "dict_type" | "list_type":
            return Explanation(path, Code.WRONG_TYPE, *_wrong_shape(path, error))
        case "too_short" if path[-1] == "dscp":
            advice = f"write {_EXAMPLES['dscp']}, or remove the class"
            return Explanation(path, Code.BAD_VALUE, "a class without a DSCP", advice)
        case "too_short":
            advice = f"write {_EXAMPLES['slaves']}"
            return Explanation(path, Code.MISSING_KEY, "a bundle without slaves", advice)
        case "too_long" if path[-1] == "classes":
            most = context["max_length"]
            message = f"class {most + 1} of {context['actual_length']}; a bundle has at most {most}"
            advice = "put the DSCPs that have the same method into one class"
            return Explanation((*path, most), Code.BAD_VALUE, message, advice)
        case "too_long":
            most = context["max_length"]
            message = f"slave {most + 1} of {context['actual_length']}; a bundle has at most {most}"
            return Explanation((*path, most), Code.BAD_VALUE, message, "make a second bundle")
        case code if code not in _CODES:  # a type of pydantic's own
            found = shown(error["input"])
            message = f"expected something else, found {found}"
            return Explanation(path, Code.WRONG_TYPE, message, "see ipeql.yaml(5)")
        case code:
            key = path[-1] == "[key]"
            place = path[:-1] if key else path
            return Explanation(place, Code(code), context["message"], context["advice"], key=key)


def _model(path: KeyPath) -> type[BaseModel]:
    """Return the model of the mapping at ``path``."""
    match path:
        case ():
            return File
        case ("bundles", _):
            return Bundle
        case ("metrics",):
            return Metrics
        case (*_, "match"):
            return Match
        case (*_, "probe"):
            return Probe
        case (*_, "routes", _):
            return Route
        case (*_, "classes", _):
            return Class
        case ("changes", _):
            return Change
        case (*_, "set"):
            return Settings
        case _:
            return Slave


def _keys(table: type[BaseModel]) -> list[str]:
    return [str(field.alias) for field in table.model_fields.values()]


_HOMES: dict[type[BaseModel], str] = {
    File: "at the top of the file",
    Bundle: "to a bundle",
    Slave: "to a slave",
    Route: "to a route",
    Match: "under match",
    Probe: "under probe",
    Class: "to a class",
    Metrics: "under metrics",
}


def _meant(path: KeyPath) -> str:
    """Return the key that the one at the end of ``path`` was probably meant to be."""
    key = str(path[-1])
    if key == "<<":
        return key
    known = _keys(_model(path[:-1]))
    synonym = _SYNONYMS.get(key.lower().replace("_", "-"), "")
    return synonym if synonym in known else nearest(key, known)


def _unknown_key(path: KeyPath) -> tuple[str, str]:
    key = str(path[-1])
    known = _keys(_model(path[:-1]))
    meant = _meant(path)
    homes = [home for table, home in _HOMES.items() if key in _keys(table)]
    if meant == "<<":
        advice = "write the keys themselves: nothing is merged in this file"
    elif ":" in key:
        advice = "put a space after the colon"
    elif homes:
        advice = f"{key} belongs {' or '.join(homes)}"
    elif meant:
        advice = f"did you mean {meant}?"
    else:
        advice = f"the keys here are {', '.join(known)}"
    return f"unknown key `{shorten(key)}`", advice


def _missing_key(path: KeyPath) -> tuple[str, str]:
    key = str(path[-1])
    to = "with a network, such as 192.168.40.0/24"
    if "probe" in path:
        to = "with the address of the bundle at the other end, such as 10.9.0.2"
    methods = CLASS_METHODS if "classes" in path else METHODS
    advice = {
        "version": "write version: 1 at the top",
        "method": f"add method: with one of {', '.join(methods)}",
        "slaves": f"add slaves: with entries such as {_EXAMPLES['slaves']}",
        "bundle": "add bundle: with the name of the bundle to change",
        "to": f"add to: {to}",
        "listen": 'add listen: with an address and a port, such as "[::1]:9817"',
        "dscp": f"add dscp: with a list such as {_EXAMPLES['dscp']}",
    }
    return f"`{key}` is missing", advice[key]


def _wrong_shape(path: KeyPath, error: ErrorDetails) -> tuple[str, str]:
    found = error["input"]
    what = "a list" if error["type"] == "list_type" else "keys with values"
    example = _EXAMPLES.get(str(path[-1])) if path else "version: 1"
    if path[-2:-1] in (("slaves",), ("routes",), ("changes",), ("classes",)):
        example = _EXAMPLES[str(path[-2])]
    if isinstance(found, str) and ":" in found and not path:
        example = "a space after each colon"
    return f"expected {what}, found {shown(found)}", f"write {example or 'KEY: VALUE'}"
