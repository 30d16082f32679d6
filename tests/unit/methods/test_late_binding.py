"""bw_lag_eq where bandwidths are measured: packets are bound late, by what the real queues are."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.methods import Arrival, SlaveParameters
from ipeql.methods.bw_lag_eq import AHEAD_NS, MARGIN_NS, SOON_NS, BwLagEq

MS = 10**6
MBIT = 10**6
PACKET = 1500
EVERY = 20 * MS
"""Between two measurements."""
AGE = 20 * MS
"""Of a measurement when it comes."""


class Line:
    """A path with its real rate and queue."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.busy = 0.0
        self.sent: list[tuple[int, float]] = []
        self.carried = 0

    def take(self, now: int) -> None:
        """Take a packet."""
        self.busy = max(self.busy, now) + (PACKET + 14) * 8e9 / self.rate
        self.sent.append((now, self.busy))
        self.carried += 1

    def empty_at(self, now: int, believed: float) -> int:
        """Return what a probe of ``AGE`` ago says, and what was sent since."""
        asked = now - AGE
        met = max((end for at, end in self.sent if at <= asked), default=0)
        since = sum(at > asked for at, _ in self.sent)
        return int(max(met, asked) + since * (PACKET + 14) * 8e9 / believed)


def run(
    scheduler: BwLagEq, lines: Sequence[Line], believed: Sequence[int], seconds: float
) -> list[float]:
    """Have more than enough packets; return the real queues (ns) that packets met."""
    now, end, met = 0, int(seconds * 10**9), []
    measured = 0
    while now < end:
        if now >= measured:
            empty = [line.empty_at(now, each) for line, each in zip(lines, believed, strict=True)]
            scheduler.bind_late(empty)
            measured += EVERY
        slave, release, reason, _ = scheduler.pick(Arrival(now, PACKET))
        if slave is None:
            assert reason == "later" and release > now
            now = min(release, measured)
            continue
        met.append(max(0.0, lines[slave].busy - release))
        lines[slave].take(release)
    return met


@given(
    rates=st.lists(st.integers(2, 50), min_size=1, max_size=4),
    wrong=st.lists(st.floats(0.7, 1.3), min_size=4, max_size=4),
)
def test_no_real_queue_is_long_and_no_line_idle_though_rates_are_believed_wrong(
    rates: list[int], wrong: list[float]
) -> None:
    believed = [int(rate * MBIT * by) for rate, by in zip(rates, wrong, strict=False)]
    scheduler = BwLagEq([SlaveParameters(each, 0) for each in believed])
    lines = [Line(rate * MBIT) for rate in rates]
    met = run(scheduler, lines, believed, 2)
    longest = max((PACKET + 14) * 8e9 / rate for rate in (*believed, *(r * MBIT for r in rates)))
    assert max(met) <= AHEAD_NS * 1.4 + 2 * EVERY * 0.5 + MARGIN_NS + 2 * longest
    carried = sum(line.carried for line in lines) * (PACKET + 14) * 8 / 2
    assert carried >= 0.9 * sum(rates) * MBIT


def test_a_packet_waits_until_a_slave_can_take_it_soon() -> None:
    scheduler = BwLagEq([SlaveParameters(12 * MBIT, 0), SlaveParameters(12 * MBIT, 0)])
    scheduler.bind_late([100 * MS, 60 * MS])
    tx = (PACKET + 14) * 8 * 1000 // 12
    found = scheduler.pick(Arrival(0, PACKET))
    assert (found.slave, found.reason) == (None, "later")
    soon = tx + MARGIN_NS
    assert found.release == pytest.approx(60 * MS - AHEAD_NS - soon + MARGIN_NS // 2, abs=100)
    assert scheduler.pick(Arrival(60 * MS - AHEAD_NS - soon - 1000, PACKET)).slave is None
    found = scheduler.pick(Arrival(60 * MS - AHEAD_NS - soon + 1000, PACKET))
    assert found.slave == 1
    assert found.release == pytest.approx(60 * MS - AHEAD_NS, abs=100)


def test_what_is_not_known_of_a_queue_is_the_virtual_one() -> None:
    scheduler = BwLagEq([SlaveParameters(12 * MBIT, 0)])
    scheduler.bind_late([None])
    tx = (PACKET + 14) * 8 * 1000 // 12
    placed = 0
    while (found := scheduler.pick(Arrival(0, PACKET))).slave == 0:
        placed += 1
    assert found.reason == "later"
    assert placed == 1 + (tx + MARGIN_NS) // tx


def test_no_more_than_one_and_a_half_times_the_bandwidth() -> None:
    scheduler = BwLagEq([SlaveParameters(12 * MBIT, 0)])
    scheduler.bind_late([0])
    tx = (PACKET + 14) * 8 * 1000 // 12
    releases = [scheduler.pick(Arrival(0, PACKET)).release for _ in range(4)]
    assert [later - earlier for earlier, later in pairwise(releases)] == (
        pytest.approx([tx * 2 // 3] * 3, abs=2)
    )


def test_a_slow_slave_lets_nothing_be_bound_long_before() -> None:
    scheduler = BwLagEq([SlaveParameters(20_000, 0), SlaveParameters(20 * MBIT, 0)])
    scheduler.bind_late([10**9, 100 * MS])
    assert scheduler.pick(Arrival(50 * MS, PACKET)).reason == "later"
    found = scheduler.pick(Arrival(100 * MS - AHEAD_NS - SOON_NS + 1000, PACKET))
    assert found.slave == 1


def test_a_held_packet_is_on_the_line_when_it_is_sent() -> None:
    """Over the shorter path it is held for 40 ms: the queue has to be short then, not now."""
    scheduler = BwLagEq([SlaveParameters(12 * MBIT, 0), SlaveParameters(12 * MBIT, 40 * MS)])
    scheduler.set_usable(0b11)
    scheduler.bind_late([45 * MS, 200 * MS])
    found = scheduler.pick(Arrival(0, PACKET))
    assert (found.slave, found.release) == (0, 40 * MS)


def test_every_packet_is_placed_at_once_again() -> None:
    scheduler = BwLagEq([SlaveParameters(12 * MBIT, 0)])
    scheduler.bind_late([90 * MS])
    scheduler.bind_late(None)
    assert scheduler.pick(Arrival(0, PACKET)).slave == 0
