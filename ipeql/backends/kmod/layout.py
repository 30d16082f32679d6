"""Converts slave tables to the module's attributes and back, and its counters to statistics."""

from collections.abc import Mapping
from dataclasses import fields
from ipaddress import ip_address
from typing import Any

from ipeql.backends.kmod.family import (
    COUNTS,
    METHODS,
    RECEIVERS,
    SLAVE,
    STRIPE_UNITS,
    Attributes,
    values,
)
from ipeql.methods import USES
from ipeql.names import shown
from ipeql.state import BundleStatistics, BundleTable, SlaveRow, SlaveStatistics
from ipeql.state.path import Adjusted, Adjustments

_PARAMETERS = {
    "packets_per_slave": "IPEQL_A_BUNDLE_PACKETS_PER_SLAVE",
    "count": "IPEQL_A_BUNDLE_COUNT",
    "queue_limit": "IPEQL_A_BUNDLE_QUEUE_LIMIT",
    "max_hold": "IPEQL_A_BUNDLE_MAX_HOLD",
    "copies": "IPEQL_A_BUNDLE_COPIES",
}
_ROW = {
    field.name: f"IPEQL_A_SLAVE_{field.name.upper()}"
    for field in fields(SlaveRow)
    if field.name != "name"
}
_ADDRESSES = {"via", "via6"}
_DROPS = ("NO_SLAVE", "QUEUE_FULL", "MALFORMED", "NO_NEIGHBOUR")
_SLAVE_DROPS = ("QUEUE_FULL", "LINK_FULL", "NO_NEIGHBOUR", "NO_MEMORY")


def attributes(table: BundleTable) -> Attributes:
    """Return a table as attributes."""
    found: Attributes = [
        ("IPEQL_A_BUNDLE_METHOD", METHODS.index(table.method)),
        ("IPEQL_A_BUNDLE_STRIPE_UNIT", STRIPE_UNITS.index(table.stripe_unit)),
        ("IPEQL_A_BUNDLE_POLL_INTERVAL", table.poll_interval),
        ("IPEQL_A_BUNDLE_OVERFLOW_AFTER", table.overflow_after),
        ("IPEQL_A_BUNDLE_LIGHT_DSCPS", table.light_dscps),
        ("IPEQL_A_BUNDLE_DUPLICATE_DSCPS", table.duplicate_dscps),
        ("IPEQL_A_BUNDLE_RECEIVE", RECEIVERS.index(table.receive)),
    ]
    for name, value in table.parameters:
        number = COUNTS.index(str(value)) if name == "count" else int(value)
        found.append((_PARAMETERS[name], number))
    found += ((SLAVE, {"attrs": list(_slave(row))}) for row in table.slaves)
    return found


def _slave(row: SlaveRow) -> Attributes:
    given = {name: getattr(row, name) for name in _ROW}
    given |= {"bandwidth": row.bandwidth or None, "use": USES.index(row.use)}
    return [
        (_ROW[name], str(value) if name in _ADDRESSES else int(value))
        for name, value in given.items()
        if value is not None
    ]


def adjusted(adjustments: Adjustments) -> Attributes:
    """Return adjustments as attributes."""
    return [(SLAVE, {"attrs": _adjusted(ifindex, each)}) for ifindex, each in adjustments.items()]


def _adjusted(ifindex: int, by: Adjusted) -> Attributes:
    given = {"ifindex": ifindex, "usable": int(by.usable), "bandwidth": by.bandwidth, "lag": by.lag}
    return [(_ROW[name], value) for name, value in given.items() if value is not None]


def table(message: Any) -> BundleTable | None:
    """Return the table in a bundle's attributes; None: it has none yet."""
    found = values(message)
    if "IPEQL_A_BUNDLE_STRIPE_UNIT" not in found:
        return None
    parameters = {name: found[key] for name, key in _PARAMETERS.items() if key in found}
    if "count" in parameters:
        parameters["count"] = COUNTS[parameters["count"]]
    return BundleTable(
        method=METHODS[found["IPEQL_A_BUNDLE_METHOD"]],
        parameters=tuple(sorted(parameters.items())),
        stripe_unit=STRIPE_UNITS[found["IPEQL_A_BUNDLE_STRIPE_UNIT"]],
        poll_interval=found["IPEQL_A_BUNDLE_POLL_INTERVAL"],
        overflow_after=found["IPEQL_A_BUNDLE_OVERFLOW_AFTER"],
        light_dscps=found["IPEQL_A_BUNDLE_LIGHT_DSCPS"],
        duplicate_dscps=found["IPEQL_A_BUNDLE_DUPLICATE_DSCPS"],
        receive=RECEIVERS[found["IPEQL_A_BUNDLE_RECEIVE"]],
        slaves=tuple(_row(slave) for slave in _slaves(message)),
    )


def statistics(message: Any, rates: Mapping[int, int]) -> BundleStatistics:
    """Return the counters of a bundle; ``rates``: bit/s by ifindex."""
    return BundleStatistics(
        slaves=tuple(
            SlaveStatistics(
                ifindex=slave["IPEQL_A_SLAVE_IFINDEX"],
                name=shown(slave["IPEQL_A_SLAVE_IFNAME"].rstrip(b"\0")),
                picks=slave["IPEQL_A_SLAVE_PICKS"],
                packets=slave["IPEQL_A_SLAVE_PACKETS"],
                bytes=slave["IPEQL_A_SLAVE_BYTES"],
                queued_packets=slave["IPEQL_A_SLAVE_HELD_PACKETS"],
                queued_bytes=slave["IPEQL_A_SLAVE_HELD_BYTES"],
                rate=rates.get(slave["IPEQL_A_SLAVE_IFINDEX"], 0),
                dropped=_dropped(slave, "IPEQL_A_SLAVE_", _SLAVE_DROPS),
                received_packets=slave["IPEQL_A_SLAVE_RECEIVED_PACKETS"],
                received_bytes=slave["IPEQL_A_SLAVE_RECEIVED_BYTES"],
            )
            for slave in _slaves(message)
        ),
        dropped=_dropped(values(message), "IPEQL_A_BUNDLE_", _DROPS),
    )


def sent_bytes(message: Any) -> dict[int, int]:
    """Return what each slave has sent, by ifindex."""
    return {
        slave["IPEQL_A_SLAVE_IFINDEX"]: slave["IPEQL_A_SLAVE_BYTES"] for slave in _slaves(message)
    }


def _slaves(message: Any) -> list[Mapping[str, Any]]:
    return [values(nest) for name, nest in message["attrs"] if name == SLAVE]


def _row(slave: Mapping[str, Any]) -> SlaveRow:
    found = {name: slave[key] for name, key in _ROW.items() if slave.get(key) is not None}
    addresses = {name: ip_address(found[name]) for name in _ADDRESSES & found.keys()}
    meant = {
        "name": shown(slave["IPEQL_A_SLAVE_IFNAME"].rstrip(b"\0")),
        "usable": bool(found["usable"]),
        "use": USES[found["use"]],
    }
    return SlaveRow(**{**found, **addresses, **meant})


def _dropped(found: Mapping[str, Any], prefix: str, reasons: tuple[str, ...]) -> dict[str, int]:
    counts = {reason.lower(): found[prefix + reason] for reason in reasons}
    return {reason: count for reason, count in counts.items() if count}
