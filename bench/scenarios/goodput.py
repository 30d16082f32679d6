"""What one TCP flow (CUBIC) brings over links with different rates and delays, by iperf3."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.bundle import candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, attempt
from bench.scenarios.shaped import BUCKET, LINE, shaped
from bench.site import RECEIVER, Site, prepare, receiver
from lab.demo.scenarios import Path as LinkPath
from lab.demo.scenarios import capacity

FLOWS = 3
"""Where chance has a part; elsewhere the instruction clock brings the same again to four digits."""
CHANCE = ("mptcp", "ecmp")
SECONDS = 8
WARM_UP_S = 2

MBIT, MS = 10**6, 10**6


@dataclass(frozen=True, slots=True)
class Case:
    """Links, what limits their rate, and the methods of IPEQL that are meant for them."""

    name: str
    rate: str
    paths: tuple[LinkPath, ...]
    methods: tuple[str, ...]

    def __contains__(self, candidate: Candidate) -> bool:
        """Say whether ``candidate`` is measured here."""
        return not candidate.method or candidate.method in self.methods


def _case(name: str, rate: str, methods: str, *paths: tuple[int, int]) -> Case:
    links = tuple(LinkPath(rate * MBIT, delay * MS) for rate, delay in paths)
    return Case(name, rate, links, (*methods.split(),))


_ALIKE = "round_robin bw_load bw_lag_val bw_lag_eq"
_UNLIKE = "bw_load bw_lag_val bw_lag_eq"
_LAGGING = "bw_lag_val bw_lag_eq"

CASES = (
    _case("20+20 Mbit/s", BUCKET, _ALIKE, (20, 0), (20, 0)),
    _case("20+5 Mbit/s", BUCKET, _UNLIKE, (20, 0), (5, 0)),
    _case("20+2 Mbit/s", BUCKET, _UNLIKE, (20, 0), (2, 0)),
    _case("10+10 Mbit/s, 5 and 50 ms", BUCKET, _LAGGING, (10, 5), (10, 50)),
    _case("lines, 20+5 Mbit/s", LINE, _UNLIKE, (20, 0), (5, 0)),
    _case("lines, 20+2 Mbit/s", LINE, _UNLIKE, (20, 0), (2, 0)),
    _case("lines, 10+10 Mbit/s, 5 and 50 ms", LINE, _LAGGING, (10, 5), (10, 50)),
)


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every case and candidate: the flow's share of all links' payload capacity."""
    a = Host()
    prepare(a)
    with receiver("b") as b:
        for case in CASES:
            for candidate in candidates:
                if candidate in case:
                    measured = partial(_shares, a, b, case, candidate, tools)
                    yield attempt(case.name, candidate.name, measured)


def _shares(a: Host, b: Host, case: Case, candidate: Candidate, tools: Path) -> list[float]:
    chance = candidate.kind in CHANCE or any(path.delay for path in case.paths)
    with shaped(a, b, case.paths, case.rate) as site, candidate_over(site, candidate, tools):
        return [
            round(Flow(mptcp=candidate.kind == "mptcp").goodput(site) / capacity(*case.paths), 4)
            for _ in range(FLOWS if chance else 1)
        ]


@dataclass(frozen=True, slots=True)
class Flow:
    """A TCP flow of ``seconds`` with a congestion control; it counts from ``since`` s on.

    ``number``: so many at once.
    """

    seconds: int = SECONDS
    since: float = WARM_UP_S
    congestion: str = "cubic"
    mptcp: bool = False
    number: int = 1

    def goodput(self, site: Site) -> float:
        """Return the bit/s of payload that all bring from a to b of ``site``."""
        return received(self.report(site), self.since)

    def report(self, site: Site) -> dict[str, Any]:
        """Return what the iperf3 server in b of ``site`` tells of them."""
        assert site.b
        wrapper = ("mptcpize", "run") if self.mptcp else ()
        server = site.b.start(*wrapper, "iperf3", "--server", "--one-off", "--json")
        try:
            _wait_listening(site.b)
            flow = ("--time", str(self.seconds), "--congestion", self.congestion)
            many = ("--parallel", str(self.number))
            site.a.run(*wrapper, "iperf3", "--client", RECEIVER, *flow, *many)
            told, _ = server.communicate(timeout=600)
        finally:
            server.kill()
            server.communicate()
        found: dict[str, Any] = json.loads(told)
        return found


def _wait_listening(host: Host) -> None:
    while "5201" not in host.run("ss", "--no-header", "--listening", "--tcp", "--numeric"):
        time.sleep(0.1)


def received(report: dict[str, Any], since: float) -> float:
    """Return the bit/s an iperf3 server read in its whole intervals from ``since`` s on."""
    sums = [one["sum"] for one in report["intervals"]]
    sums = [one for one in sums if one["start"] > since - 0.5 and one["seconds"] > 0.5]
    seconds = sum(one["seconds"] for one in sums)
    return sum(one["bytes"] for one in sums) * 8 / seconds if seconds else 0.0
