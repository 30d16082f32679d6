"""Memory that a bundle takes in user space: the daemon's, and its dataplane's worker's."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.candidates import Candidate
from bench.report.results import Row, rows
from bench.running import bundle
from lab.network import netns
from lab.network.traffic import measure_tcp

CASES = ("ipeqld", "worker")


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate and process there is: MiB, its share of what is shared."""
    return rows(CASES, candidates, _measure)


def _measure(candidate: Candidate) -> Iterator[Row]:
    with bundle(candidate) as (lab, ipeqld):
        measure_tcp(lab, seconds=2)
        time.sleep(1)
        daemon = ipeqld.process.pid
        yield Row("ipeqld", candidate.name, (_mebibytes(daemon),))
        for pid in netns.pids(lab.a.netns):
            if pid != daemon:
                yield Row("worker", candidate.name, (_mebibytes(pid),))


def _mebibytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"the kernel does not say what memory process {pid} has")
