"""What a reload under 1000 datagrams a second costs: how many are lost, how long it takes."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.candidates import Candidate
from bench.report.results import Row, rows
from bench.running import bundle, configuration
from lab.network.traffic import UdpStream

CASES = {
    "method changed": Candidate("", "bw_load"),
    "slave freed": Candidate("", "round_robin", 1),
    "the same again": Candidate("", "round_robin"),
}
"""What is reloaded, beside round_robin over two slaves; that comes back after each."""
WHAT = ("lost", "ms")
ROUNDS = 5


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield two rows for every candidate and case: datagrams lost, and ms until it is done."""
    return rows([f"{case}, {what}" for case in CASES for what in WHAT], candidates, _measure)


def _measure(candidate: Candidate) -> Iterator[Row]:
    with bundle(candidate) as (lab, ipeqld):
        usual = configuration(candidate, lab.names)
        for case, change in CASES.items():
            other = Candidate(candidate.kind, change.method, change.slaves)
            lost, took = [], []
            for _ in range(ROUNDS):
                stream = UdpStream(lab)
                time.sleep(0.5)
                started = time.monotonic()
                ipeqld.reload(configuration(other, lab.names))
                took.append(round((time.monotonic() - started) * 1e3, 1))
                ipeqld.reload(usual)
                time.sleep(0.5)
                lost.append(stream.finish().lost)
            yield Row(f"{case}, lost", candidate.name, tuple(lost))
            yield Row(f"{case}, ms", candidate.name, tuple(took))
