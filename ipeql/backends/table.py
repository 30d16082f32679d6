"""The slave table as JSON, adjusted, and its method in Python, for several dataplanes."""

from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ipeql.methods import METHODS, MIN_BANDWIDTH, Rules, Scheduler, SlaveParameters, create
from ipeql.state import OVERFLOW_AFTER, BundleTable, SlaveRow
from ipeql.state.path import Adjusted, Adjustments, Backlog

_PARAMETERS = tuple(field.name for field in fields(SlaveParameters))


def to_json(table: BundleTable) -> dict[str, Any]:
    """Return the table as JSON types, except addresses, which ``str`` converts to text."""
    return asdict(table)


def from_json(data: dict[str, Any]) -> BundleTable:
    """Return the table that ``to_json`` wrote, of this version or an earlier one."""
    return BundleTable(
        method=data["method"],
        parameters=tuple((name, value) for name, value in data["parameters"]),
        stripe_unit=data["stripe_unit"],
        poll_interval=data["poll_interval"],
        receive=data.get("receive", "slave"),
        overflow_after=data.get("overflow_after", OVERFLOW_AFTER),
        light_dscps=data.get("light_dscps", 0),
        duplicate_dscps=data.get("duplicate_dscps", 0),
        slaves=tuple(_row(slave) for slave in data["slaves"]),
    )


def _row(data: dict[str, Any]) -> SlaveRow:
    via = IPv4Address(data["via"]) if data["via"] else None
    via6 = IPv6Address(data["via6"]) if data["via6"] else None
    return SlaveRow(**{**data, "via": via, "via6": via6})


def adjustments_to_json(adjustments: Adjustments) -> dict[str, Any]:
    """Return adjustments as JSON types."""
    return {str(ifindex): asdict(each) for ifindex, each in adjustments.items()}


def adjustments_from_json(data: dict[str, Any]) -> dict[int, Adjusted]:
    """Return the adjustments that ``adjustments_to_json`` wrote."""
    return {int(ifindex): _adjustment(each) for ifindex, each in data.items()}


def _adjustment(data: dict[str, Any]) -> Adjusted:
    backlog = data.get("backlog")
    return Adjusted(**{**data, "backlog": Backlog(*backlog) if backlog else None})


def kept(adjustments: Adjustments, ifindices: Iterable[int]) -> dict[int, Adjusted]:
    """Return the adjustments of these slaves; ValueError where a rate or a lag cannot be."""
    found = {ifindex: adjustments[ifindex] for ifindex in ifindices if ifindex in adjustments}
    for each in found.values():
        if each.bandwidth is not None and each.bandwidth < MIN_BANDWIDTH:
            raise ValueError(f"{each.bandwidth} bit/s; the least is {MIN_BANDWIDTH}")
        if each.lag is not None and each.lag < 0:
            raise ValueError(f"a lag of {each.lag} ns; the least is 0")
    return found


def adjusted(table: BundleTable, adjustments: Adjustments) -> BundleTable:
    """Return the table with its slaves adjusted."""
    rows = table.slaves
    slaves = tuple(
        row if each is None else _adjusted(row, each)
        for row, each in ((row, adjustments.get(row.ifindex)) for row in rows)
    )
    return replace(table, slaves=slaves)


def _adjusted(row: SlaveRow, by: Adjusted) -> SlaveRow:
    return replace(
        row,
        usable=row.usable and by.usable,
        bandwidth=row.bandwidth if by.bandwidth is None else by.bandwidth,
        lag=row.lag if by.lag is None else by.lag,
    )


def slave_parameters(row: SlaveRow) -> SlaveParameters:
    """Return what a method may know of a slave."""
    return SlaveParameters(*(getattr(row, name) for name in _PARAMETERS))


def scheduler(table: BundleTable) -> Scheduler:
    """Return the table's method over its slaves, all usable; ValueError or TypeError as create."""
    parameters = dict(table.parameters)
    if "poll_interval" in METHODS[table.method].parameters:
        parameters["poll_interval"] = table.poll_interval
    rules = Rules(table.stripe_unit, table.overflow_after)
    slaves = [slave_parameters(row) for row in table.slaves]
    return create(table.method, slaves, rules, **parameters)
