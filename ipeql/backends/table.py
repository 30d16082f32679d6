"""The slave table as JSON, and the table's method in Python, for several dataplanes."""

from dataclasses import asdict, fields
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ipeql.methods import METHODS, Scheduler, SlaveParameters, create
from ipeql.state import BundleTable, SlaveRow

_PARAMETERS = tuple(field.name for field in fields(SlaveParameters))


def to_json(table: BundleTable) -> dict[str, Any]:
    """Return the table as JSON types, except addresses, which ``str`` converts to text."""
    return asdict(table)


def from_json(data: dict[str, Any]) -> BundleTable:
    """Return the table that ``to_json`` wrote."""
    return BundleTable(
        method=data["method"],
        parameters=tuple((name, value) for name, value in data["parameters"]),
        stripe_unit=data["stripe_unit"],
        poll_interval=data["poll_interval"],
        slaves=tuple(_row(slave) for slave in data["slaves"]),
    )


def _row(data: dict[str, Any]) -> SlaveRow:
    via = IPv4Address(data["via"]) if data["via"] else None
    via6 = IPv6Address(data["via6"]) if data["via6"] else None
    return SlaveRow(**{**data, "via": via, "via6": via6})


def slave_parameters(row: SlaveRow) -> SlaveParameters:
    """Return what a method may know of a slave."""
    return SlaveParameters(*(getattr(row, name) for name in _PARAMETERS))


def scheduler(table: BundleTable) -> Scheduler:
    """Return the table's method over its slaves, all usable; ValueError or TypeError as create."""
    parameters = dict(table.parameters)
    if "poll_interval" in METHODS[table.method].parameters:
        parameters["poll_interval"] = table.poll_interval
    return create(table.method, [slave_parameters(row) for row in table.slaves], **parameters)
