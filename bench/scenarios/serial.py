"""What one TCP flow (CUBIC) brings over serial lines: SLIP and PPP on paced pseudo-terminals."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from bench.bundle import load_module
from bench.candidates import Candidate
from bench.configuration import configuration
from bench.host import Host
from bench.report.lines import CASES, Case
from bench.report.results import Row, attempt
from lab.network.eql import eql
from lab.network.ipeqld import Ipeqld
from lab.network.serial import SerialLab
from lab.network.traffic import measure_tcp

SECONDS, WARMUP = 60.0, 15.0
"""A flow's, and what of its begin is left out."""

LAG = "5ms"
"""Of every line, where a method asks: a pseudo-terminal's wire has none to speak of."""


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every case and candidate: kbit/s of payload, a flow after the other."""
    load_module(Host(), tools)
    for case in CASES:
        for candidate in candidates:
            if candidate in case:
                yield attempt(case.name, candidate.name, partial(_goodputs, case, candidate))


def _goodputs(case: Case, candidate: Candidate) -> list[float]:
    with SerialLab(case.lines) as lab:
        lab.plain_receiver()
        with _striping(lab, case, candidate):
            flows = [measure_tcp(lab, seconds=SECONDS, warmup=WARMUP) for _ in range(case.flows)]
    return [round(flow.goodput / 1000, 1) for flow in flows]


def _striping(lab: SerialLab, case: Case, candidate: Candidate) -> AbstractContextManager[object]:
    """Return a context in which what is sent to 10.9.0.2 goes over the lab's lines."""
    if candidate.kind == "eql":
        rates = {name: line.rate for name, line in zip(lab.names, case.lines, strict=True)}
        return eql(lab.a, rates, case.mtu)
    return Ipeqld(lab.a, _configuration(case, candidate))


def _configuration(case: Case, candidate: Candidate) -> str:
    """Return IPEQL's: of a line's bits only eight in ten are a byte's."""
    slaves = (
        f"name: line{number}, bandwidth: {line.rate * 8 // 10}bit, lag: {LAG}"
        for number, line in enumerate(case.lines, 1)
    )
    return configuration(candidate, "10.9.0.1", slaves)
