"""What a path that dies silently and comes back costs, on the running kernel."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.candidates import Candidate
from bench.configuration import configuration
from bench.report.results import Row, rows
from bench.running import plain_address, subflows
from lab.demo.scenarios import MBIT, MS, SECOND
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.outage import Silence, stall_of_tcp, stream_through
from lab.network.shaper import Shape

ROUNDS = 20
RATE = 20 * MBIT
DELAYS = {"20,5+20,5": (5 * MS, 5 * MS), "20,5+20,40": (5 * MS, 40 * MS)}
"""One-way, ns."""

SETTLE_S = 2
"""The paths are known then."""

KNOWN = 0.995
"""Of a link's rate, what is given as its bandwidth."""

NEVER = 10 * SECOND
"""Stands for a path that was not used again."""


STALL = "stall"
WHAT = ("out", "back", "lost", STALL)


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield rows for every candidate and pair of links."""
    return rows([f"{pair}, {what}" for pair in DELAYS for what in WHAT], candidates, _measure)


def _measure(candidate: Candidate) -> Iterator[Row]:
    for pair, delays in DELAYS.items():
        with ExitStack() as stack:
            lab = stack.enter_context(Lab([Shape(RATE, delay) for delay in delays]))
            silence = Silence(lab.names[0])
            if candidate.kind == "mptcp":
                subflows(lab, lab.names[0])
                yield _row(
                    candidate,
                    pair,
                    STALL,
                    [
                        stall_of_tcp(lab, silence, plain_address(lab), multipath=True) / MS
                        for _ in range(ROUNDS)
                    ],
                )
                continue
            tries = [_once(candidate, lab, delays) for _ in range(ROUNDS)]
            for what, values in zip(WHAT, zip(*tries, strict=True), strict=True):
                yield _row(candidate, pair, what, values)


def _once(candidate: Candidate, lab: Lab, delays: Sequence[int]) -> tuple[float, ...]:
    """Measure with daemons of its own: a path that dies again within a minute is held off."""
    silence = Silence(lab.names[0])
    with ExitStack() as stack:
        for host, own, far in ((lab.b, 2, 1), (lab.a, 1, 2)):
            text = _configuration(candidate, lab, delays, own, far)
            stack.enter_context(Ipeqld(host, text))
        time.sleep(SETTLE_S)
        stream = stream_through(lab, silence)
        back = NEVER if stream.back is None else stream.back
        return stream.out / MS, back / MS, stream.lost, stall_of_tcp(lab, silence) / MS


def _row(candidate: Candidate, pair: str, what: str, values: Sequence[float]) -> Row:
    return Row(f"{pair}, {what}", candidate.name, tuple(round(value, 1) for value in values))


def _configuration(
    candidate: Candidate, lab: Lab, delays: Sequence[int], own: int, far: int
) -> str:
    slaves = (
        f"name: {link}, bandwidth: {RATE * KNOWN:.0f}bit, lag: {delay // MS}ms"
        for link, delay in zip(lab.names, delays, strict=True)
    )
    return configuration(candidate, f"10.9.0.{own}", slaves, f"10.9.0.{far}")
