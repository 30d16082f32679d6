"""One TCP flow and no shaping: a bundle against a plain link, in turn."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.candidates import Candidate
from bench.report.results import Row, rows
from bench.running import bundle, plain_address
from lab.network.traffic import measure_tcp

CASE = "one TCP flow"
ROUNDS = 7
SECONDS = 3.0


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate: Gbit/s of payload."""
    return rows([CASE], candidates, _measure)


def _measure(candidate: Candidate) -> Iterator[Row]:
    own, plain = [], []
    with bundle(candidate) as (lab, _):
        for _ in range(ROUNDS):
            plain.append(measure_tcp(lab, plain_address(lab), seconds=SECONDS).goodput / 1e9)
            own.append(measure_tcp(lab, seconds=SECONDS).goodput / 1e9)
    yield Row(CASE, candidate.name, tuple(own), tuple(plain))
