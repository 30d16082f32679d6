"""bw_lag_val and bw_lag_eq over simulated ideal paths: arrival, order, the bounds on holding."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.methods import Arrival, Decision, SlaveParameters, create

MS = 10**6
SECOND = 10**9
MBIT = 10**6

ROUNDING = 500
"""ns: a transmission is rounded down by less than 2 ns, and there are at most 100."""

slaves = st.builds(
    SlaveParameters,
    bandwidth=st.integers(1, 100).map(lambda megabits: megabits * MBIT),
    lag=st.integers(0, 200).map(lambda milliseconds: milliseconds * MS),
    overhead=st.sampled_from([0, 14, 38]),
)
tables = st.lists(slaves, min_size=1, max_size=5)


class Path:
    """An ideal path: sends in turn at its bandwidth, delivers after its lag; times in ns."""

    def __init__(self, slave: SlaveParameters) -> None:
        self.slave, self.free = slave, Fraction(0)

    def transmission(self, length: int) -> Fraction:
        return Fraction((length + self.slave.overhead) * 8 * SECOND, self.slave.bandwidth)

    def arrival(self, release: int, length: int) -> Fraction:
        sent = max(self.free, Fraction(release)) + self.transmission(length)
        return sent + (self.slave.lag or 0)

    def send(self, release: int, length: int) -> Fraction:
        arrival = self.arrival(release, length)
        self.free = arrival - (self.slave.lag or 0)
        return arrival


def offered(lengths: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Return packets as (gap in ns since the one before, length in bytes)."""
    gaps = st.sampled_from([0, 0, 0, MS // 10, 5 * MS])
    return st.lists(st.tuples(gaps, lengths), min_size=1, max_size=100)


@given(table=tables, packets=offered(st.integers(40, 1500)))
def test_bw_lag_val_minimises_each_arrival(
    table: list[SlaveParameters], packets: list[tuple[int, int]]
) -> None:
    scheduler = create("bw_lag_val", table)
    paths = [Path(slave) for slave in table]
    now = 0
    for gap, length in packets:
        now += gap
        best = min(path.arrival(now, length) for path in paths)
        decision = scheduler.pick(Arrival(now, length))
        assert decision.slave is not None
        assert decision.release == now
        assert paths[decision.slave].send(now, length) <= best + ROUNDING


@given(table=tables, packets=offered(st.just(1500) | st.integers(40, 1500)), data=st.data())
def test_bw_lag_eq_delivers_in_order(
    table: list[SlaveParameters], packets: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Equal packets arrive in order; a smaller one at most by what it takes less time to send."""
    scheduler = create("bw_lag_eq", table)
    scheduler.set_usable(data.draw(st.integers(1, 2 ** len(table) - 1)))
    paths = [Path(slave) for slave in table]
    arrived: list[tuple[int, Fraction]] = []
    now = 0
    for gap, length in packets:
        now += gap
        decision = scheduler.pick(Arrival(now, length))
        if decision.slave is None:
            assert decision.reason == "queue_full"
            continue
        assert decision.release >= now
        path = paths[decision.slave]
        arrival = path.send(decision.release, length)
        for earlier_length, earlier in arrived:
            saved = path.transmission(earlier_length) - path.transmission(length)
            assert arrival >= earlier - max(saved, Fraction(0)) - ROUNDING
        arrived.append((length, arrival))


def test_bw_lag_eq_holds_the_faster_path_for_the_difference_in_lag() -> None:
    table = [SlaveParameters(bandwidth=8 * MBIT, lag=lag * MS, overhead=0) for lag in (5, 50)]
    scheduler = create("bw_lag_eq", table)
    releases = [scheduler.pick(Arrival(0, 1000))[:2] for _ in range(4)]
    assert releases == [(0, 45 * MS), (1, 0), (0, 46 * MS), (1, MS)]
    scheduler.set_usable(0b01)
    assert scheduler.pick(Arrival(SECOND, 1000))[:2] == (0, SECOND)


def test_bw_lag_eq_waits_for_a_slave_that_is_expected_and_gives_it_nothing() -> None:
    table = [SlaveParameters(bandwidth=8 * MBIT, lag=lag * MS, overhead=0) for lag in (5, 50)]
    scheduler = create("bw_lag_eq", table)
    scheduler.set_usable(0b01, expected=0b11)
    assert [scheduler.pick(Arrival(0, 1000))[:2] for _ in range(2)] == [(0, 45 * MS), (0, 46 * MS)]
    scheduler.set_usable(0b11)
    assert scheduler.pick(Arrival(0, 1000))[:2] == (1, 0)


@pytest.mark.parametrize("limit", [0, 3 * MS])
def test_bw_lag_eq_drops_what_would_wait_longer_than_queue_limit(limit: int) -> None:
    table = [SlaveParameters(bandwidth=8 * MBIT, lag=0, overhead=0)]
    scheduler = create("bw_lag_eq", table, queue_limit=limit)
    for k in range(limit // MS + 1):
        assert scheduler.pick(Arrival(0, 1000)) == Decision(0, k * MS, "")
    assert scheduler.pick(Arrival(0, 1000)) == Decision(None, 0, "queue_full")
    assert scheduler.pick(Arrival(MS - 1, 1000)) == Decision(None, MS - 1, "queue_full")
    assert scheduler.pick(Arrival(MS, 1000)) == Decision(0, limit + MS, "")


def test_bw_lag_eq_sends_a_acknowledgement_at_once() -> None:
    table = [SlaveParameters(bandwidth=8 * MBIT, lag=lag * MS, overhead=0) for lag in (50, 5)]
    scheduler = create("bw_lag_eq", table)
    acknowledgement = Arrival(0, 100, light=True)
    assert [scheduler.pick(Arrival(0, 1000))[:2] for _ in range(2)] == [(0, 0), (1, 45 * MS)]
    assert scheduler.pick(acknowledgement) == Decision(1, 0, "")
    assert [scheduler.pick(Arrival(0, 1000))[:2] for _ in range(2)] == [
        (0, MS),
        (1, 45 * MS + 11 * MS // 10),  # behind what the acknowledgement took of the line
    ]
    scheduler.set_usable(0b01)
    assert scheduler.pick(acknowledgement) == Decision(0, 0, "")


def test_bw_lag_eq_keeps_acknowledgements_within_queue_limit() -> None:
    """More of them than their path can carry take another; more than all can carry are dropped."""
    table = [SlaveParameters(bandwidth=8 * MBIT, lag=lag * MS, overhead=0) for lag in (5, 50)]
    scheduler = create("bw_lag_eq", table, queue_limit=MS)
    decisions = [scheduler.pick(Arrival(0, 1000, light=True)) for _ in range(5)]
    near, far, full = Decision(0, 0), Decision(1, 0), Decision(None, 0, "queue_full")
    assert decisions == [near, near, far, far, full]
    assert scheduler.pick(Arrival(MS, 1000, light=True)) == Decision(0, MS, "")


def test_bw_lag_eq_leaves_out_a_slave_beyond_max_hold_while_a_better_one_is_usable() -> None:
    table = [SlaveParameters(bandwidth=MBIT, lag=lag * MS) for lag in (5, 50, 700)]
    scheduler = create("bw_lag_eq", table)
    decisions = [scheduler.pick(Arrival(0, 100)) for _ in range(40)]
    assert {decision.slave for decision in decisions} == {0, 1}
    assert decisions[0].release == 45 * MS
    scheduler.set_usable(0b100)
    assert scheduler.pick(Arrival(SECOND, 100)) == Decision(2, SECOND, "")
    assert create("bw_lag_eq", table, max_hold=SECOND).pick(Arrival(0, 100)).release == 695 * MS
