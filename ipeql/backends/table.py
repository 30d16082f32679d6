"""The JSON form of a slave table, in which several dataplanes keep it."""

from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ipeql.state import BundleTable, SlaveRow


def to_json(table: BundleTable) -> dict[str, Any]:
    """Return the table as JSON types, but for addresses, which ``str`` makes text."""
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
