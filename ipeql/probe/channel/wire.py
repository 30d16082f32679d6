"""What daemon and prober tell each other: JSON objects, one a line.

The daemon sends ``{"tasks": [...]}`` when they have changed, and ``{"ping": number, "bundle":
name}``, and ``{"report": true}`` to be told of the paths now. The prober sends
``{"paths": {bundle: {ifindex: report}}, "problems": [...]}``, all of them each time, and
``{"pong": number, "slaves": [...]}``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from ipeql.errors import Problem
from ipeql.state import Learning, PathReport, Rung, Standing

MAX_LINE = 64 << 20
"""Bytes of the longest line: the tasks of some thousand bundles."""

_REPORT = tuple(field.name for field in fields(PathReport))
_values = attrgetter(*_REPORT)

Reports = Mapping[tuple[str, int], PathReport]
"""By bundle and ifindex."""


def line(message: Mapping[str, Any]) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message, default=str, separators=(",", ":")).encode() + b"\n"


def reported(reports: Reports, problems: Iterable[Problem]) -> bytes:
    """Return the line that tells of all paths."""
    paths: dict[str, dict[int, Any]] = {}
    for (bundle, ifindex), report in reports.items():
        paths.setdefault(bundle, {})[ifindex] = dict(zip(_REPORT, _values(report), strict=True))
    return line({"paths": paths, "problems": [each.to_json() for each in problems]})


def reports(message: Mapping[str, Any]) -> dict[tuple[str, int], PathReport]:
    """Return the reports in a message of the prober. KeyError, ValueError, TypeError: unclear."""
    return {
        (bundle, int(ifindex)): PathReport(
            **{
                **report,
                "standing": Standing(report["standing"]),
                "rung": Rung(report["rung"]),
                "learning": report["learning"] and Learning(report["learning"]),
            }
        )
        for bundle, slaves in message["paths"].items()
        for ifindex, report in slaves.items()
    }


def problems(message: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return the problems in a message of the prober; raises as ``reports``."""
    return tuple(map(Problem.from_json, message["problems"]))
