"""Serial lines: those that are measured, EQL's own table of 1995, and ours beside it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.candidates import Candidate
from bench.report.page import NOTHING, markdown
from bench.report.results import Row, Run, latest
from lab.network.serial import Serial

HEADERS = 52
"""IPv4 20, TCP 20, its timestamps 12."""

FRAMING = {"slip": 2, "ppp": 6}
"""Bytes a packet: two ENDs (RFC 1055); two flags, protocol, FCS with RFC 1662's compression."""

SHARED = ("kmod/bw_load",)
"""What is measured over all lines; some have more."""
ALIKE = (*SHARED, "bpf/bw_load", "kmod/bw_lag", "tun/bw_lag_eq")
UNLIKE = (*SHARED, "bpf/bw_load", "bpf/bw_lag_val", "kmod/bw_lag_eq", "tun/bw_lag_eq")


@dataclass(frozen=True, slots=True)
class Case:
    """Lines, IPEQL's candidates over them, and what EQL made of them in 1995, kbit/s.

    Source: the table in Documentation/networking/eql.rst, section 6.
    """

    lines: tuple[Serial, ...]
    ours: tuple[str, ...] = SHARED
    eql_1995: float | None = None
    flows: int = 3

    @property
    def name(self) -> str:
        """Return e.g. ``4 x 38.4 SLIP, MTU 900``."""
        rates = [f"{line.rate / 1000:g}" for line in self.lines]
        told = f"{len(rates)} x {rates[0]}" if len(set(rates)) == 1 else " + ".join(rates)
        return f"{told} {self.lines[0].kind.upper()}, MTU {self.mtu}"

    @property
    def mtu(self) -> int:
        """Return every line's."""
        return self.lines[0].mtu

    @property
    def nominal(self) -> float:
        """Return the lines' kbit/s together, as modems are called."""
        return sum(line.rate for line in self.lines) / 1000

    @property
    def ceiling(self) -> float:
        """Return the kbit/s that TCP can have: ten bits carry a byte, and packets have headers."""
        line = self.lines[0]
        return self.nominal * 0.8 * (self.mtu - HEADERS) / (self.mtu + FRAMING[line.kind])

    def __contains__(self, candidate: Candidate) -> bool:
        """Say whether ``candidate`` is measured here."""
        return candidate.kind == "eql" or candidate.name in self.ours


def _alike(
    count: int,
    kbit: float,
    kind: Literal["slip", "ppp"] = "slip",
    mtu: int = 900,
    *,
    ours: tuple[str, ...] = SHARED,
    eql_1995: float | None = None,
    flows: int = 3,
) -> Case:
    line = Serial(round(kbit * 1000), kind, mtu)
    return Case((line,) * count, ours, eql_1995, flows)


CASES = (
    _alike(1, 9.6, eql_1995=9.48),
    _alike(2, 9.6, mtu=600, eql_1995=16.4),
    _alike(4, 9.6, eql_1995=30.5),
    _alike(2, 38.4, eql_1995=66.2),
    _alike(4, 38.4, ours=ALIKE, eql_1995=114.8, flows=5),
    _alike(1, 57.6, eql_1995=52.98),
    _alike(2, 57.6, eql_1995=99.4),
    _alike(3, 57.6, mtu=600, eql_1995=138.4),
    _alike(3, 115.2, mtu=400, eql_1995=159.8),
    _alike(2, 28.8, "ppp"),
    _alike(4, 57.6, "ppp"),
    _alike(2, 115.2, "ppp"),
    Case((Serial(115_200), Serial(28_800)), UNLIKE),
)
"""EQL's nine, of 1995; PPP; and two lines of different speed."""

COLUMNS = {
    "eql": "EQL",
    "kmod/bw_load": "`bw_load`, kmod",
    "bpf/bw_load": "`bw_load`, bpf",
    "kmod/bw_lag_eq": "`bw_lag_eq`, kmod",
    "tun/bw_lag_eq": "`bw_lag_eq`, tun",
}
"""Of the table, by candidate."""


def beside_1995(runs: Iterable[Run]) -> str:
    """Return the table as Markdown: kbit/s, and the share of the lines' nominal rate."""
    rows = latest(runs, "serial")
    head = ["lines, kbit/s", "TCP can have", "EQL, 1995", *COLUMNS.values()]
    body = [
        [
            case.name,
            _told(case.ceiling, case),
            _told(case.eql_1995, case),
            *(_told(_value(rows.get((case.name, name))), case) for name in COLUMNS),
        ]
        for case in CASES
    ]
    return markdown([head, *body])


def _value(row: Row | None) -> float | None:
    return row.value if row and row.values else None


def _told(kbit: float | None, case: Case) -> str:
    return f"{kbit:.1f} ({kbit / case.nominal:.0%})" if kbit else NOTHING
