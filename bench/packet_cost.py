"""What a packet costs: UDP datagrams of 64 bytes, sent by sendmmsg(2), 64 a call (``sender.c``)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import PLAIN, Candidate
from bench.host import Host
from bench.results import Row
from bench.site import RECEIVER, Site, dead_ends, pairs, prepare, receiver
from ipeql.errors import IpeqlError

TX_ONLY = "tx only"
DELIVERED = "delivered"
CASES = {
    TX_ONLY: "the slaves are dummy devices",
    DELIVERED: "over veth pairs to another namespace, up to a UDP socket that nobody reads",
}
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
        with dead_ends(a, 1) as site:
            _cost(site, PLAIN, tools)  # the first packets of all find the kernel cold
        for candidate in candidates:
            for case in CASES:
                try:
                    with _site(case, a, b, candidate.slaves) as site:
                        values = _cost(site, candidate, tools)
                    yield Row(case, candidate.name, values)
                except (OSError, RuntimeError, LookupError, IpeqlError) as error:
                    yield Row(case, candidate.name, problem=str(error))


def _site(case: str, a: Host, b: Host, links: int) -> AbstractContextManager[Site]:
    return dead_ends(a, links) if case == TX_ONLY else pairs(a, b, links)


def _cost(site: Site, candidate: Candidate, tools: Path) -> tuple[float, ...]:
    with candidate_over(site, candidate, tools):
        time.sleep(SETTLE_S)
        told = site.a.run(str(tools / "sender"), RECEIVER, WARM_UP, PACKETS, ROUNDS)
    return tuple(float(value) for value in told.split())
