"""What is lost of datagrams over two links that lose some each."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, attempt
from bench.scenarios.shaped import shaped
from bench.site import FAST, prepare, receiver
from bench.traffic import SECOND, Datagrams, Loop

RATE = 2000
"""Datagrams a second."""

SETTLE_S = 3
AWAITED = SECOND // 2


@dataclass(frozen=True, slots=True)
class Case:
    """How each link loses 5 %, a queueing discipline, and how many datagrams are sent."""

    name: str
    link: str
    datagrams: int


CASES = (
    Case("at random", "netem loss 5% limit 10000", 48_000),
    Case("in bursts", "netem loss gemodel 1% 19% 100% 0% limit 10000", 120_000),
)
"""In bursts: of 1/0.19 packets in the mean, and 0.01 / (0.01 + 0.19) of the time (Gilbert 1960).

How often those of both links meet varies more: so there are more datagrams.
"""


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate and case: percent of the datagrams of which no copy came."""
    a = Host()
    prepare(a)
    with receiver("b") as b:
        for case in CASES:
            for candidate in candidates:
                once = partial(_lost, a, b, case, candidate, tools)
                yield attempt(case.name, candidate.name, once)


def _lost(a: Host, b: Host, case: Case, candidate: Candidate, tools: Path) -> list[float]:
    with (
        shaped(a, b, [FAST] * candidate.slaves, case.link) as site,
        candidate_over(site, candidate, tools),
        Loop() as loop,
    ):
        time.sleep(SETTLE_S)
        stream = Datagrams(loop, b)
        begun = time.monotonic_ns()
        for number in range(case.datagrams):
            loop.run_until(begun + number * SECOND // RATE)
            stream.send()
        loop.run_until(time.monotonic_ns() + AWAITED)
        return [round(100 * (1 - len(stream.delays) / case.datagrams), 4)]
