"""What many TCP flows (CUBIC) bring that each stay on one link, and in what order they arrive."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, rows
from bench.scenarios.shaped import TAIL, shaped
from bench.site import Site, prepare, receiver
from bench.traffic import SECOND, Loop, Order, TcpFlows
from lab.demo.scenarios import MBIT, MS, capacity
from lab.demo.scenarios import Path as LinkPath

DELAY = 5 * MS
RATES = ((20, 20), (20, 5))
NUMBERS = (1, 4, 16, 64, 256)
TRIES = 3
"""Where a flow's ports, and so its link, are chance; of IPEQL one, since its methods are none."""

SETTLE_S = 3
WARM_UP, COUNTED = 2 * SECOND, 3 * SECOND

JUDGED = 64
"""Of so many flows it is told how even they are, and what they bring after one alone."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of some flows: bit/s of payload of each, and packets reordered."""

    rates: tuple[float, ...]
    reordered: int

    @property
    def evenness(self) -> float:
        """Return Jain's index (RFC 5166, 2.3): 1 where all flows bring as much as each other."""
        squares = sum(rate * rate for rate in self.rates)
        return sum(self.rates) ** 2 / (len(self.rates) * squares) if squares else 0.0


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield rows for every candidate and pair of links.

    The flows' share of the payload capacity, how even they are, and how many of all their packets
    were reordered. Each number of flows is over links and a bundle that have carried nothing.
    """
    a = Host()
    prepare(a)
    with receiver("b") as b:
        for rates in RATES:
            paths = tuple(LinkPath(rate * MBIT, DELAY) for rate in rates)
            name = _name(paths)
            cases = [
                *(_case(name, number) for number in NUMBERS),
                _later(name),
                _even(name),
                _order(name),
            ]
            yield from rows(cases, candidates, partial(_rows, a, b, paths, tools))


def _name(paths: Sequence[LinkPath]) -> str:
    return "+".join(f"{path.rate // MBIT}" for path in paths) + " Mbit/s"


def _case(links: str, number: int) -> str:
    return f"{links}, {number} flow{'s' * (number > 1)}"


def _later(links: str) -> str:
    return f"{_case(links, JUDGED)} after one"


def _even(links: str) -> str:
    return f"{_case(links, JUDGED)}, evenness"


def _order(links: str) -> str:
    return f"{links}, reordered"


def _rows(
    a: Host, b: Host, paths: Sequence[LinkPath], tools: Path, candidate: Candidate
) -> Iterator[Row]:
    name = _name(paths)
    tries = 1 if candidate.method else TRIES
    reordered: list[float] = []
    for number in NUMBERS:
        with shaped(a, b, paths, TAIL) as site, candidate_over(site, candidate, tools):
            time.sleep(SETTLE_S)
            brought = {_case(name, number): [_bring(site, number) for _ in range(tries)]}
            if number == 1:
                brought[_later(name)] = [_bring(site, JUDGED)]
        for case, ones in brought.items():
            shares = (sum(one.rates) / capacity(*paths) for one in ones)
            yield Row(case, candidate.name, tuple(round(share, 4) for share in shares))
            reordered += [one.reordered for one in ones]
            if number == JUDGED:
                even = tuple(round(one.evenness, 4) for one in ones)
                yield Row(_even(name), candidate.name, even)
    yield Row(_order(name), candidate.name, tuple(reordered))


def _bring(site: Site, number: int) -> Brought:
    assert site.b
    with Loop() as loop:
        order = Order(loop, site)
        flows = TcpFlows(loop, site.b, number)
        begun = time.monotonic_ns()
        loop.run_until(begun + WARM_UP)
        before = tuple(flows.received)
        loop.run_until(begun + WARM_UP + COUNTED)
        gained = (now - then for now, then in zip(flows.received, before, strict=True))
        return Brought(tuple(each * 8 * SECOND / COUNTED for each in gained), order.reordered)
