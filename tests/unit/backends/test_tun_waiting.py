"""What waits in the TUN worker for a slave, and what a slave's line has been given."""

import pytest

from ipeql.backends.tun.worker import line as lines
from ipeql.backends.tun.worker.line import Line
from ipeql.backends.tun.worker.packet import Packet
from ipeql.backends.tun.worker.waiting import LEAST_BYTES, Waiting

MS = 10**6
SECOND = 10**9
MBIT = 10**6


def packet(size: int = 1000, mark: int = 0) -> Packet:
    return Packet(b"", bytes(size), b"", marks=(mark, 0))


def fill(waiting: Waiting) -> int:
    """Return how many bytes have room."""
    count = 0
    while waiting.put(packet()):
        count += 1000
    waiting.clear()
    return count


def test_the_order_stays_and_nothing_is_lost() -> None:
    waiting = Waiting()
    for mark in range(3):
        assert waiting.put(packet(mark=mark))
    first = waiting.take()
    waiting.put_back(first)
    assert len(waiting) == 3
    assert [each.marks[0] for each in waiting.clear()] == [0, 1, 2]
    assert len(waiting) == 0


def test_the_bound_is_a_time_of_the_largest_rate_of_two_seconds_and_a_half() -> None:
    waiting = Waiting()
    assert fill(waiting) == LEAST_BYTES
    waiting.bound(SECOND, 20 * MBIT, 100 * MS)
    assert fill(waiting) == 250_000
    waiting.bound(SECOND * 3, 2 * MBIT, 100 * MS)
    assert fill(waiting) == 250_000
    waiting.bound(SECOND * 4, 2 * MBIT, 100 * MS)
    assert fill(waiting) == LEAST_BYTES


def test_a_probe_has_met_what_was_sent_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10, 20, 30, 40, 50, 2000))
    monkeypatch.setattr(lines, "monotonic_ns", lambda: next(times))
    line = Line()
    for _ in range(5):
        line.note(100)
    line.held = 7
    assert line.since(0) == 507
    assert line.since(25) == 307
    assert line.since(30) == 207
    assert line.since(30) == 207
    assert line.since(1000) == 7
    line.note(50)
    assert line.since(1000) == 57
