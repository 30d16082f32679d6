"""How long voice takes beside a TCP flow over links that lag each other, and a ping without one."""

import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles

from bench.bundle import EXPEDITED, candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, rows
from bench.scenarios.shaped import TAIL, shaped
from bench.site import RECEIVER, Site, prepare, receiver
from bench.traffic import SECOND, Datagrams, Loop, TcpFlows
from lab.demo.scenarios import MBIT, MS, capacity
from lab.demo.scenarios import Path as LinkPath

PATHS = (LinkPath(20 * MBIT, 5 * MS), LinkPath(20 * MBIT, 50 * MS))
SETTLE_S = 3
WARM_UP = 3 * SECOND
INTERVAL, PACKETS, BYTES = SECOND // 50, 1000, 172
"""RTP with 20 ms of G.711 each (RFC 3551)."""

PING = ("ping", "-c", "20", "-i", "0.2", RECEIVER)
PARTS = (50, 95)
PINGED, SHARE = "ping, idle", "TCP, share"
CASES = (PINGED, *(f"voice p{part}" for part in PARTS), "voice lost, %", SHARE)


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield rows for every candidate: ms, and the TCP flow's share of the payload capacity."""
    a = Host()
    prepare(a)
    with receiver("b") as b:
        yield from rows(CASES, candidates, partial(_rows, a, b, tools))


def _rows(a: Host, b: Host, tools: Path, candidate: Candidate) -> Iterator[Row]:
    with shaped(a, b, PATHS, TAIL) as site, candidate_over(site, candidate, tools):
        time.sleep(SETTLE_S)
        a.run(*PING)  # it has been read from the disk then, and the neighbours are known
        yield Row(PINGED, candidate.name, tuple(_milliseconds(a.run(*PING))))
        spoken = _speak(site)
    for case, value in zip(CASES[1:], spoken, strict=True):
        yield Row(case, candidate.name, (value,))


def _milliseconds(told: str) -> list[float]:
    return [float(found) for found in re.findall(r"time=([0-9.]+) ms", told)]


def _speak(site: Site) -> tuple[float, ...]:
    """Return what CASES has beside the ping."""
    assert site.b
    with Loop() as loop:
        flow = TcpFlows(loop, site.b, 1)
        voice = Datagrams(loop, site.b, BYTES, EXPEDITED)
        begun = time.monotonic_ns() + WARM_UP
        loop.run_until(begun)
        before = flow.received[0]
        for number in range(PACKETS):
            loop.run_until(begun + number * INTERVAL)
            voice.send()
        lasted = time.monotonic_ns() - begun
        rate = (flow.received[0] - before) * 8 * SECOND / lasted
        loop.run_until(time.monotonic_ns() + SECOND)
    delays = quantiles(voice.delays.values(), n=100)
    lost = 100 * (1 - len(voice.delays) / PACKETS)
    return (
        *(round(delays[part - 1] / MS, 2) for part in PARTS),
        round(lost, 2),
        round(rate / capacity(*PATHS), 4),
    )
