"""Datagrams of 64 bytes a second that arrive, from one sender and from two at the same time."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, Popen

from bench.candidates import Candidate
from bench.report.results import Row, rows
from bench.running import bundle, plain_address
from bench.site import PORT, RECEIVER
from lab.network import netns
from lab.network.hosts import Lab

CASES = {"1 sender": 1, "2 senders": 2}
ROUNDS = 5
PACKETS = 200_000
SLAVES = (2, 4, 8, 32)


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate and number of senders: thousands of datagrams a second."""

    def of(candidate: Candidate) -> Iterator[Row]:
        with bundle(candidate) as (lab, _), netns.inside(lab.b.netns, _unread_socket):
            for case, senders in CASES.items():
                plain, own = [], []
                for _ in range(ROUNDS):
                    plain.append(_rate(lab, plain_address(lab), senders, tools))
                    own.append(_rate(lab, RECEIVER, senders, tools))
                yield Row(case, candidate.name, tuple(own), tuple(plain))

    return rows(list(CASES), candidates, of)


def _unread_socket() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("", PORT))
    return found


def _rate(lab: Lab, address: str, senders: int, tools: Path) -> float:
    before = _arrived(lab)
    command = (str(tools / "sender"), address, "0", str(PACKETS), "1")
    started = [lab.a.popen(*command, stdout=PIPE) for _ in range(senders)]
    longest = max(float(_said(process)) for process in started) * PACKETS
    return (_arrived(lab) - before) / longest * 1e6


def _said(process: Popen[str]) -> str:
    assert process.stdout
    return process.stdout.read()


def _arrived(lab: Lab) -> int:
    """Return how many datagrams came to b, whether its socket had room for them or not."""
    lines = lab.b.run("cat", "/proc/net/snmp").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp: "))
    counters = dict(zip(names, values, strict=True))
    return int(counters["InDatagrams"]) + int(counters["InErrors"])
