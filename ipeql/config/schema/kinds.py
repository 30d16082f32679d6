"""The kinds of values that keys have: how the file spells each, and what the state has of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ipeql.config.schema.addresses import (
    bundle_address,
    destination,
    endpoint,
    far_end,
    network,
    next_hop,
    split_endpoint,
)
from ipeql.config.schema.dscp import MOST, NUMBERS, name_of, number_of
from ipeql.config.schema.values import (
    VERSION,
    auto_or,
    bandwidth,
    boolean,
    boolean_or_list,
    driver,
    dscp,
    link_name,
    mac,
    one_of,
    path,
    pattern,
    slave_label,
    time,
    uplink,
    version,
    whole,
)
from ipeql.methods import METHODS
from ipeql.state import AUTO, DEVICE, Endpoint, Measured
from ipeql.state.path import LEAST_MEASURED, MOST_MEASURED
from ipeql.units import format_rate, format_time, parse_rate, parse_time

DEFAULT = "default"
"""As a destination: all addresses of one family, or of both."""

_MAC = r"^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$"
RATE_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]?[bB][iI][tT])$"
TIME_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*([uUmM]?[sS])$"


def same(value: Any) -> Any:
    """Return what the file and the state have alike."""
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value, as the annotation of a key.

    ``check`` takes what the reader found and returns the file's spelling, or raises a fault.
    ``schema`` is its JSON Schema, for editors. ``read`` makes the state's value of the spelling,
    and ``write`` a spelling of the state's value. An option of the command takes an ``option`` of
    Python, and ``metavar`` stands for it in the usage line.
    """

    check: Callable[[object], Any]
    schema: dict[str, Any]
    read: Callable[[Any], Any] = same
    write: Callable[[Any], Any] = same
    metavar: str = "TEXT"
    option: type = str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self.schema)


def kinds(model: type[BaseModel]) -> dict[str, Kind]:
    """Return the keys of a mapping that have single values, by their names in Python."""
    return {
        name: kind
        for name, field in model.model_fields.items()
        for kind in field.metadata
        if isinstance(kind, Kind)
    }


def choice(*options: str, what: str) -> Kind:
    """Return the kind of a word that is one of ``options``."""
    return Kind(one_of(options, what), {"type": "string", "enum": list(options)})


def number(low: int, high: int, what: str) -> Kind:
    """Return the kind of a whole number."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Kind(whole(low, high, what), schema, metavar="NUMBER", option=int)


def duration(low: int, high: int) -> Kind:
    """Return the kind of a time; ``low`` and ``high`` in ns."""
    schema = {"type": "string", "pattern": TIME_PATTERN}
    return Kind(time(low, high), schema, parse_time, format_time, "TIME")


def or_auto(kind: Kind) -> Kind:
    """Return the kind of what is either ``auto`` or of ``kind``."""

    def read(value: Any) -> Any:
        return AUTO if value == "auto" else kind.read(value)

    def write(value: Any) -> Any:
        return "auto" if value == AUTO else kind.write(value)

    schema = {"anyOf": [{"const": "auto"}, kind.schema]}
    return Kind(auto_or(kind.check), schema, read, write, f"{kind.metavar}|auto")


def _prefixes_read(value: Any) -> Any:
    return tuple(map(ip_network, value)) if isinstance(value, list) else value


def _prefixes_written(value: Any) -> Any:
    return value if isinstance(value, bool) else [str(prefix) for prefix in value]


def _destination_read(value: str) -> Any:
    return DEFAULT if value == DEFAULT else ip_network(value)


def _rate_written(rate: int) -> str:
    return format_rate(rate) if rate else "none"


def _bandwidth_read(value: Any) -> Any:
    if value == "device":
        return DEVICE
    if value == "auto":
        return Measured()
    if not isinstance(value, dict):
        return parse_rate(value)
    most = parse_rate(value["max"]) if "max" in value else MOST_MEASURED
    least = parse_rate(value["min"]) if "min" in value else min(LEAST_MEASURED, most)
    return Measured(least, most)


def _bandwidth_written(value: Any) -> Any:
    if value == DEVICE:
        return "device"
    if not isinstance(value, Measured):
        return _rate_written(value)
    bounds = {
        key: format_rate(bound)
        for key, bound, usual in (
            ("min", value.least, min(LEAST_MEASURED, value.most)),
            ("max", value.most, MOST_MEASURED),
        )
        if bound != usual
    }
    return {"auto": True} | bounds if bounds else "auto"


def _in_any_case(words: Iterable[str]) -> str:
    """Return the pattern of JSON Schema for ``words`` in upper, lower or mixed case."""
    letters = ("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in each) for each in words)
    return f"^({'|'.join(letters)})$"


_TEXT = {"type": "string", "minLength": 1}
_NAME = {"type": "string", "pattern": r"^[^\s/:%*?\[]{1,15}$"}

LINK_NAME = Kind(link_name, _NAME)
UPLINK = Kind(uplink, _NAME, metavar="LINK")
_RATE = {"type": "string", "pattern": RATE_PATTERN}
BANDWIDTH = Kind(
    bandwidth,
    {
        "anyOf": [
            {"enum": ["auto", "device"]},
            _RATE,
            {
                "type": "object",
                "properties": {"auto": {"const": True}, "min": _RATE, "max": _RATE},
                "required": ["auto"],
                "additionalProperties": False,
            },
        ]
    },
    _bandwidth_read,
    _bandwidth_written,
    "RATE|auto|device",
)
PATTERN = Kind(pattern, _TEXT)
MAC = Kind(mac, {"type": "string", "pattern": _MAC})
DRIVER = Kind(driver, _TEXT)
ADDRESS = Kind(bundle_address, _TEXT, ip_interface, str)
DESTINATION = Kind(destination, _TEXT, _destination_read, str)
GATEWAY = Kind(next_hop(4, 6), _TEXT, ip_address, str)
FAR_END = Kind(far_end, _TEXT, ip_address, str, "ADDRESS")
NEXT_HOP = Kind(next_hop(4), {"type": "string", "format": "ipv4"}, ip_address, str, "ADDRESS")
NEXT_HOP6 = Kind(next_hop(6), {"type": "string", "format": "ipv6"}, ip_address, str, "ADDRESS")
LISTEN = Kind(
    endpoint,
    {"type": "string", "pattern": r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}$"},
    lambda text: Endpoint(*split_endpoint(text)),
    str,
)
SCHEMA_VERSION = Kind(version, {"const": VERSION})
SWITCH = Kind(boolean, {"type": "boolean"}, metavar="true|false", option=bool)
LABEL = Kind(slave_label, _TEXT)
PATH = Kind(path, {"type": "string", "pattern": "^/"})
SWITCH_OR_NETWORKS = Kind(
    boolean_or_list(network, "networks"),
    {"anyOf": [{"type": "boolean"}, {"type": "array", "items": _TEXT, "minItems": 1}]},
    _prefixes_read,
    _prefixes_written,
)
DSCP = Kind(
    dscp,
    {
        "anyOf": [
            {"enum": list(NUMBERS)},
            {"type": "string", "pattern": _in_any_case(NUMBERS)},
            {"type": "integer", "minimum": 0, "maximum": MOST},
        ]
    },
    number_of,
    name_of,
)
METHOD = choice(*METHODS, what="method")
