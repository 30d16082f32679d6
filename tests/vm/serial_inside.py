"""Run in the guest by tests/vm/test_serial.py."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from lab.network.eql import eql
from lab.network.ipeqld import Ipeqld
from lab.network.serial import Serial, SerialLab
from lab.network.traffic import SECOND, TcpFlow, goodput, measure_tcp

RATE = 38_400
PAYLOAD = RATE * 0.8
"""Bit/s of a line's bytes: ten bits a byte."""

SETTLE, HANG_UP, REDIAL, END = 5, 20, 30, 45
"""Seconds into the flow; TCP has SETTLE for its start and for every change."""

NEAR = 0.95
"""Of the ancestor's goodput: what a window of some 15 s can tell apart, TCP's start included."""

COUNT_DUPLICATES = ("net/ipv4/tcp_recovery", "0")
"""Have TCP tell losses by counting packets, not by time (RACK), over EQL and over ours.

RACK lets a packet be late by a quarter of the shortest round trip: the handshake's, over empty
lines. Full ones take 4 s, and a line that is one packet behind another is 0.2 s late for the rest
of the flow. So TCP sent up to one packet in five twice, by chance, and the goodput told of that.
"""

KEYSTROKES = 5
PAUSE_S = 2.0
PATIENCE_S = 600


def configuration(lines: Sequence[Serial], method: str, backend: str) -> str:
    slaves = "\n".join(
        f"      - {{name: line{number}, bandwidth: {line.rate * 8 // 10}bit}}"
        for number, line in enumerate(lines, 1)
    )
    return f"""\
version: 1
bundles:
  ipeql0:
    method: {method}
    backend: {backend}
    addresses: [10.9.0.1/24]
    slaves:
{slaves}
"""


@dataclass(frozen=True)
class Figures:
    """Goodput over four lines, bit/s: EQL's; ours before, during and after one is gone."""

    ancestor: float
    before: float
    without: float
    after: float


@pytest.fixture(scope="module")
def figures() -> Figures:
    lines = [Serial(RATE)] * 4
    changes = {HANG_UP * SECOND: False, REDIAL * SECOND: True}
    happened: list[int] = []
    with SerialLab(lines) as lab:
        lab.plain_receiver()
        lab.a.sysctl(*COUNT_DUPLICATES)
        with eql(lab.a, dict.fromkeys(lab.names, RATE), lines[0].mtu):
            ancestor = measure_tcp(lab, seconds=HANG_UP, warmup=SETTLE).goodput
        with Ipeqld(lab.a, configuration(lines, "round_robin", "bpf")):
            flow = TcpFlow(lab, seconds=END)
            for now, _ in flow.watch():
                for due in [when for when in changes if when <= now]:
                    (lab.create_link if changes.pop(due) else lab.delete_link)("line4")
                    happened.append(now)
            samples = flow.finish().samples
    gone, back = happened

    def between(start: int, end: int) -> float:
        settled = start + SETTLE * SECOND
        return goodput([sample for sample in samples if sample[0] <= end], settled)

    return Figures(ancestor, between(0, gone), between(gone, back), between(back, END * SECOND))


def test_four_lines_carry_what_eql_makes_of_them(figures: Figures) -> None:
    assert figures.before >= NEAR * figures.ancestor
    assert figures.before > 3 * PAYLOAD


def test_when_a_line_hangs_up_the_others_carry_on(figures: Figures) -> None:
    assert figures.without > 2 * PAYLOAD


def test_a_line_that_is_redialled_is_used_again(figures: Figures) -> None:
    assert figures.after > 3 * PAYLOAD


def test_a_lone_keystroke_takes_the_fastest_line() -> None:
    lines = [Serial(28_800, "ppp"), Serial(57_600, "ppp")]
    with SerialLab(lines) as lab:
        lab.plain_receiver()
        with (
            Ipeqld(lab.a, configuration(lines, "bw_poll", "tun")) as ipeqld,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as keyboard,
            lab.b.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as screen,
        ):
            screen.bind(("10.9.0.2", 9))
            screen.settimeout(PATIENCE_S)
            for _ in range(KEYSTROKES):
                keyboard.sendto(b"x", ("10.9.0.2", 9))
                screen.recv(1)  # the clock leaps while a line's process is read from the disk
                time.sleep(PAUSE_S)
            slow, fast = ipeqld.status()["bundles"][0]["slaves"]
    # Whatever else a host says meanwhile is alone too.
    assert slow["packets"] == 0
    assert fast["packets"] >= KEYSTROKES
