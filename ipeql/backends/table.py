"""What several dataplanes need of a slave table: its JSON form and the length of packet trains."""

from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ipeql.state import BundleTable, SlaveRow

FULL_PACKET = 1500
MAX_SEGMENTS = 65535
"""GSO_MAX_SEGS of include/linux/netdevice.h: no limit but the train's size."""

TRAIN_NS = 10**6
"""Line time of the longest train on the slowest slave.

While a train occupies one slave the others overtake it, and the receiver takes for lost what is
late: two links of 20 Mbit/s with whole 64 KiB trains, 26 ms each, gave 0.95 of their sum, and 1.00
with trains of one packet. TCP itself sizes its trains to 1 ms (net/ipv4/tcp_output.c,
tcp_tso_autosize).
"""


def train_segments(table: BundleTable) -> int:
    """Return how many packets of 1500 bytes a train may have, at least 1, under ``TRAIN_NS``."""
    slowest = min((row.bandwidth for row in table.slaves if row.bandwidth), default=0)
    if not slowest:
        return MAX_SEGMENTS
    return max(1, min(MAX_SEGMENTS, slowest * TRAIN_NS // (8 * 10**9 * FULL_PACKET)))


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
