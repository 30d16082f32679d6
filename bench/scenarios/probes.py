"""What probing costs: the processor time of the prober, on a clock that counts instructions."""

import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, attempt
from bench.site import PORT, RECEIVER, pairs, prepare, receiver, send

ROUNDS = 5
SETTLE_S = 3
DATAGRAMS = 1000
"""In each round, one every millisecond: every slave of 32 is busy."""


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate: of the prober at the sending end."""
    a = Host()
    prepare(a)
    with receiver("b") as b:
        for candidate in candidates:
            once = partial(_cost, a, b, candidate, tools)
            yield attempt("under load", candidate.name, once)


def _cost(a: Host, b: Host, candidate: Candidate, tools: Path) -> list[float]:
    with (
        pairs(a, b, candidate.slaves) as site,
        candidate_over(site, candidate, tools),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        near.connect((RECEIVER, PORT))
        send(near, SETTLE_S * DATAGRAMS)
        return [_round(near, _prober()) for _ in range(ROUNDS)]


def _round(near: socket.socket, prober: Path) -> float:
    begun, before = time.monotonic_ns(), _processor_time(prober)
    send(near, DATAGRAMS)
    spent, passed = _processor_time(prober) - before, time.monotonic_ns() - begun
    return round(1000 * spent / passed, 2)


def _prober() -> Path:
    """Return the directory in /proc of the prober in this network namespace."""
    here = Path("/proc/self/ns/net").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        if (
            b"ipeql.prober" in (process / "cmdline").read_bytes()
            and (process / "ns/net").stat().st_ino == here
        ):
            return process
    raise RuntimeError("no prober runs")


def _processor_time(process: Path) -> int:
    """Return what the process has used, ns. Documentation/scheduler/sched-stats.rst."""
    return int((process / "schedstat").read_text().split()[0])
