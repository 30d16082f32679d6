"""What one TCP flow brings over lines with different lags, by its congestion control."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.bundle import bundle, candidate_over
from bench.candidates import Candidate
from bench.far_end import far_bundle
from bench.host import Host
from bench.report.results import Row, attempt
from bench.scenarios.goodput import FLOWS, MBIT, MS, WARM_UP_S, Flow
from bench.scenarios.shaped import LINE, shaped
from bench.site import SENDER, Site, prepare, receiver
from lab.demo.scenarios import Path as LinkPath
from lab.demo.scenarios import capacity

CONTROLS = ("CUBIC", "BBR")
STEADY = ("steady", 8, WARM_UP_S)
WHOLE = ("with its start", 12, 0)


@dataclass(frozen=True, slots=True)
class Case:
    """Lines, a flow over them, and whether both ends have a bundle or the sender alone."""

    name: str
    paths: tuple[LinkPath, ...]
    flow: Flow
    both_ends: bool


def _cases(what: tuple[str, int, int], both_ends: bool, *paths: tuple[int, int]) -> Iterator[Case]:
    name, seconds, since = what
    rates = "+".join(f"{rate}" for rate, _ in paths)
    lags = " and ".join(f"{delay}" for _, delay in paths)
    ends = "both ends, " * both_ends
    links = tuple(LinkPath(rate * MBIT, delay * MS) for rate, delay in paths)
    for control in CONTROLS:
        label = f"{rates} Mbit/s, {lags} ms, {ends}{name}, {control}"
        yield Case(label, links, Flow(seconds, since, control.lower()), both_ends)


CASES = (
    *_cases(STEADY, False, (20, 5), (20, 25)),
    *_cases(STEADY, False, (20, 5), (20, 50)),
    *_cases(STEADY, False, (80, 5), (20, 55)),
    *_cases(STEADY, False, (50, 5), (12, 105)),
    *_cases(STEADY, False, (100, 5), (10, 25)),
    *_cases(WHOLE, True, (50, 5), (12, 105)),
)


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every case and candidate: the flow's share of all links' payload capacity."""
    a = Host()
    prepare(a)
    a.run("modprobe", "tcp_bbr")
    with receiver("b") as b:
        for case in CASES:
            for candidate in candidates:
                if candidate.method or not case.both_ends:
                    measured = partial(_shares, a, b, case, candidate, tools)
                    yield attempt(case.name, candidate.name, measured)


def _shares(a: Host, b: Host, case: Case, candidate: Candidate, tools: Path) -> list[float]:
    with shaped(a, b, case.paths, LINE) as site, _over(site, case, candidate, tools):
        return [round(case.flow.goodput(site) / capacity(*case.paths), 4) for _ in range(FLOWS)]


@contextmanager
def _over(site: Site, case: Case, candidate: Candidate, tools: Path) -> Iterator[None]:
    if not case.both_ends:
        with candidate_over(site, candidate, tools):
            yield
        return
    with bundle(site, candidate, tools, SENDER), far_bundle(site, candidate, tools):
        yield
