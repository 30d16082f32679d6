"""Twenty TCP flows (CUBIC) at once over two links that nothing limits but the processor."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, attempt
from bench.scenarios.goodput import MBIT, Flow
from bench.scenarios.shaped import shaped
from bench.site import FAST, prepare, receiver
from lab.demo.scenarios import Path as LinkPath

NUMBER = 20
LAG_NS = 20 * 10**6
FLOWS = Flow(number=NUMBER)


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate: each of the flows."""
    a = Host()
    prepare(a)
    with receiver("b") as b:
        for candidate in candidates:
            yield attempt("each flow", candidate.name, partial(_rates, a, b, candidate, tools))


def _rates(a: Host, b: Host, candidate: Candidate, tools: Path) -> list[float]:
    paths = (FAST, LinkPath(FAST.rate, LAG_NS))
    with shaped(a, b, paths, rate="") as site, candidate_over(site, candidate, tools):
        streams = FLOWS.report(site)["end"]["streams"]
    return sorted(round(each["receiver"]["bits_per_second"] / MBIT, 2) for each in streams)
