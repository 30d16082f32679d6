"""The messages between daemon or prober and worker: one JSON object per SOCK_SEQPACKET message.

Requests are ``{"do": "observe" | "configure" | "adjust" | "statistics" | "descriptor" | "stop",
...}``; every request is answered in order by one object, ``{"error": TEXT}`` where it failed. The
answer to ``observe`` says which version of IPEQL the worker is of. The answer to ``descriptor``
carries the TUN descriptor (SCM_RIGHTS) and the worker's pid. The table travels both ways in the
form of ``ipeql/backends/table.py``, so that the daemon compares what it wants with what the worker
has.
"""

import json
from dataclasses import asdict
from typing import Any

from ipeql import __version__
from ipeql.state import BundleStatistics, SlaveStatistics

MAX_MESSAGE = 1 << 18

PROTOCOL = 2
"""Raise it when an older daemon or worker would misunderstand a message."""

GREETING: dict[str, Any] = {"protocol": PROTOCOL, "version": __version__}
"""The version in a worker's answer to ``observe``; a worker with another one is replaced."""


def encode(message: dict[str, Any]) -> bytes:
    """Return the bytes of one message."""
    return json.dumps(message, default=str).encode()


def decode(data: bytes) -> dict[str, Any]:
    """Return the object of one message; ValueError: it is not one."""
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message


def is_ours(answer: dict[str, Any]) -> bool:
    """Say whether the worker that answered ``observe`` is of our version."""
    return all(answer.get(key) == value for key, value in GREETING.items())


def statistics_to_json(statistics: BundleStatistics) -> dict[str, Any]:
    """Return the counters as JSON types."""
    return asdict(statistics)


def statistics_from_json(data: dict[str, Any]) -> BundleStatistics:
    """Return the counters that ``statistics_to_json`` wrote."""
    slaves = tuple(SlaveStatistics(**slave) for slave in data["slaves"])
    return BundleStatistics(slaves=slaves, dropped=data["dropped"])
