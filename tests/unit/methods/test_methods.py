"""What the striping methods promise: shares by bandwidth, and the right slave when idle."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.methods import Arrival, Scheduler, SlaveParameters, create

MS = 10**6
SECOND = 10**9
MBIT = 10**6

rates = st.integers(1, 20).map(lambda megabits: megabits * MBIT)
lags = st.integers(0, 200).map(lambda milliseconds: milliseconds * MS)
slaves = st.builds(SlaveParameters, bandwidth=rates, lag=lags)
tables = st.lists(slaves, min_size=1, max_size=5)


def bytes_per_slave(
    scheduler: Scheduler, count: int, usable: int, packets: int = 3000
) -> list[int]:
    """Offer ``packets`` back to back and count what each of ``count`` slaves gets."""
    scheduler.set_usable(usable)
    shares = [0] * count
    for k in range(packets):
        length = (1486, 1486, 586)[k % 3]
        decision = scheduler.pick(Arrival(0, length))
        if decision.slave is not None:
            shares[decision.slave] += length + 14
    return shares


@pytest.mark.parametrize("name", ["bw_load", "bw_poll", "bw_lag", "bw_lag_val", "bw_lag_eq"])
@given(bandwidths=st.lists(rates, min_size=2, max_size=5), data=st.data())
def test_shares_are_the_bandwidths_of_the_usable_slaves(
    name: str, bandwidths: list[int], data: st.DataObject
) -> None:
    table = [SlaveParameters(bandwidth=rate, lag=10 * MS) for rate in bandwidths]
    usable = data.draw(st.integers(1, 2 ** len(table) - 1))
    parameters = {"queue_limit": 10**15} if name == "bw_lag_eq" else {}
    shares = bytes_per_slave(create(name, table, **parameters), len(table), usable)
    total = sum(rate for i, rate in enumerate(bandwidths) if usable >> i & 1)
    for i, rate in enumerate(bandwidths):
        wanted = rate / total * sum(shares) if usable >> i & 1 else 0
        assert abs(shares[i] - wanted) <= 0.001 * sum(shares) + 3 * 1500


def test_bw_poll_keeps_the_shares_under_load_across_polls() -> None:
    table = [SlaveParameters(bandwidth=rate * MBIT) for rate in (20, 5)]
    scheduler = create("bw_poll", table, poll_interval=100 * MS)
    shares = [0, 0]
    for k in range(20_000):
        if k % 200 == 199:
            scheduler.tick(k * 480_000)
        chosen = scheduler.pick(Arrival(k * 480_000, 1500)).slave
        assert chosen is not None
        shares[chosen] += 1
    assert shares[1] / shares[0] == pytest.approx(5 / 20, rel=0.01)


@pytest.mark.parametrize("dead", range(3))
def test_round_robin_gives_a_dead_slaves_turns_to_all_the_others(dead: int) -> None:
    scheduler = create("round_robin", [SlaveParameters()] * 3)
    scheduler.set_usable(0b111 & ~(1 << dead))
    chosen = [scheduler.pick(Arrival(0, 1500)).slave for _ in range(100)]
    assert sorted(chosen.count(i) for i in range(3)) == [0, 50, 50]
    assert all(a != b for a, b in pairwise(chosen))


def test_round_robin_stays_packets_per_slave_packets() -> None:
    scheduler = create("round_robin", [SlaveParameters()] * 3, packets_per_slave=2)
    assert [scheduler.pick(Arrival(0, 40)).slave for _ in range(8)] == [0, 0, 1, 1, 2, 2, 0, 0]


@pytest.mark.parametrize(("count", "share"), [("packets", 100 / 1600), ("bytes", 0.5)])
def test_bw_load_counts_bytes_or_packets(count: str, share: float) -> None:
    scheduler = create("bw_load", [SlaveParameters(bandwidth=MBIT)] * 2, count=count)
    carried = [0, 0]
    for k in range(1000):
        length = 1500 if k % 2 else 100
        carried[scheduler.pick(Arrival(0, length)).slave or 0] += length
    assert carried[0] / sum(carried) == pytest.approx(share, abs=0.01)


def test_bw_load_interleaves_instead_of_sending_bursts() -> None:
    table = [SlaveParameters(bandwidth=rate * MBIT) for rate in (3, 1)]
    scheduler = create("bw_load", table)
    assert [scheduler.pick(Arrival(0, 1500)).slave for _ in range(8)] == [0, 0, 1, 0, 0, 0, 1, 0]


@given(table=tables, lengths=st.lists(st.integers(40, 1500), max_size=50), data=st.data())
def test_bw_poll_takes_the_fastest_slave_after_a_pause(
    table: list[SlaveParameters], lengths: list[int], data: st.DataObject
) -> None:
    scheduler = create("bw_poll", table, count=data.draw(st.sampled_from(["bytes", "packets"])))
    for length in lengths:
        scheduler.pick(Arrival(0, length))
    scheduler.tick(SECOND)
    chosen = scheduler.pick(Arrival(SECOND, 41)).slave
    assert chosen == max(range(len(table)), key=lambda i: (table[i].bandwidth, -i))


@given(table=tables, lengths=st.lists(st.integers(40, 1500), max_size=50), data=st.data())
def test_bw_lag_takes_the_lowest_lag_when_idle(
    table: list[SlaveParameters], lengths: list[int], data: st.DataObject
) -> None:
    usable = data.draw(st.integers(1, 2 ** len(table) - 1))
    scheduler = create("bw_lag", table)
    scheduler.set_usable(usable)
    for length in lengths:
        scheduler.pick(Arrival(0, length))
    chosen = scheduler.pick(Arrival(10 * SECOND, 1500)).slave
    up = [i for i in range(len(table)) if usable >> i & 1]
    assert chosen == min(up, key=lambda i: (table[i].lag, i))


@pytest.mark.parametrize(("name", "queued"), [("bw_lag", None), ("auto_bw", (0, 0, 0))])
def test_lag_order_is_the_listed_one_unless_every_slave_gives_a_lag(
    name: str, queued: Sequence[int] | None
) -> None:
    def first(*given: int | None) -> int | None:
        table = [SlaveParameters(bandwidth=MBIT, lag=lag) for lag in given]
        return create(name, table).pick(Arrival(0, 1500, queued=queued)).slave

    assert first(9, 5, 7) == 1
    assert first(9, None, 7) == 0


def test_auto_bw_joins_the_shortest_queue() -> None:
    scheduler = create("auto_bw", [SlaveParameters()] * 3)
    assert scheduler.pick(Arrival(0, 1500, queued=[4, 2, 3])).slave == 1
    scheduler.set_usable(0b101)
    assert scheduler.pick(Arrival(0, 1500, queued=[4, 2, 3])).slave == 2
    with pytest.raises(TypeError, match="queued"):
        scheduler.pick(Arrival(0, 1500))
