"""How metrics are spelt: OpenMetrics 1.0, and the older text format of Prometheus.

https://prometheus.io/docs/specs/om/open_metrics_spec/ and
https://prometheus.io/docs/instrumenting/exposition_formats/. The older one is what the textfile
collector of node_exporter and ``promtool check metrics`` read.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

UNITS = ("seconds", "bytes", "ratio", "packets")
"""The units that OpenMetrics is told of where a name ends with one."""


class Kind(enum.StrEnum):
    """What the samples of a family are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"
    STATESET = "stateset"


_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
"""What a sample's name ends with."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: ``samples`` are the text of the labels and the value.

    ``name`` is without the suffix of its kind. ``help`` has neither a backslash nor a quote.
    """

    name: str
    kind: Kind
    help: str
    samples: Sequence[tuple[str, float]]


def labels(**values: str) -> str:
    """Return labels as text. The values may be any text: it is escaped here."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


def exposition(families: Iterable[Family], content_type: str) -> bytes:
    """Return ``families`` in the format of ``content_type``, which is OPENMETRICS or TEXT."""
    openmetrics = content_type == OPENMETRICS
    lines: list[str] = []
    for family in families:
        sample = family.name + _SUFFIXES.get(family.kind, "")
        name, kind = (family.name, family.kind) if openmetrics else (sample, _older(family.kind))
        lines += (f"# HELP {name} {family.help}\n", f"# TYPE {name} {kind}\n")
        unit = name.rpartition("_")[2]
        if openmetrics and unit in UNITS:
            lines.append(f"# UNIT {name} {unit}\n")
        lines += (
            f"{sample}{{{labels}}} {value}\n" if labels else f"{sample} {value}\n"
            for labels, value in family.samples
        )
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode("utf-8", "replace")


def _older(kind: Kind) -> Kind:
    return Kind.GAUGE if kind in (Kind.INFO, Kind.STATESET) else kind


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
