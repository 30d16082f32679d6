"""What a packet costs: UDP datagrams of 64 bytes, sent by sendmmsg(2), 64 a call (``sender.c``)."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import PLAIN, Candidate
from bench.host import Host
from bench.report.results import Row, attempt
from bench.site import RECEIVER, Site, dead_ends, pairs, prepare, receiver

TX_ONLY = "tx only"
"""The slaves are dummy devices."""
DELIVERED = "delivered"
"""Over veth pairs to another namespace, up to a UDP socket that nobody reads."""
WARM_UP, PACKETS, ROUNDS = "3000", "8000", "5"
SETTLE_S = 3
"""New links keep the kernel busy for a while; the instruction clock skips the wait."""


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate and case: ns a datagram, instructions by the guest's clock.

    ``tools`` has the compiled sender, and takes what a dataplane needs while it runs.
    """
    a = Host()
    prepare(a)
    with receiver("b") as b:
        _cost(dead_ends(a, 1), PLAIN, tools)  # the first packets of all find the kernel cold
        for candidate in candidates:
            for case, site in (
                (TX_ONLY, dead_ends(a, candidate.slaves)),
                (DELIVERED, pairs(a, b, candidate.slaves)),
            ):
                yield attempt(case, candidate.name, partial(_cost, site, candidate, tools))


def _cost(site: AbstractContextManager[Site], candidate: Candidate, tools: Path) -> Iterable[float]:
    with site as built, candidate_over(built, candidate, tools):
        time.sleep(SETTLE_S)
        told = built.a.run(str(tools / "sender"), RECEIVER, WARM_UP, PACKETS, ROUNDS)
    return map(float, told.split())
