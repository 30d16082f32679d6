"""When probes are sent: as often as there is something to lose, and spread over the slaves."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.paths.cadence import PROBE_BITS, TURN, Pace, Schedule, Traffic, interval
from ipeql.paths.path import Parameters
from tests.unit.paths.virtual import MS, SECOND, World, steady


def gaps(world: World, slave: int, start: int, end: int) -> list[int]:
    """Return the times (ms) between the probes of a slave from ``start`` to ``end`` s."""
    sent = [at for at, each in world.sent if each == slave and start <= at / SECOND < end]
    return [(later - earlier) // MS for earlier, later in pairwise(sent)]


def test_20_ms_with_traffic_200_ms_without_and_a_second_after_a_minute() -> None:
    world = World({1: steady(5), 2: steady(5)})
    world.run(10_000)
    world.busy = False
    world.run(100_000)
    world.busy = True
    world.run(10_000)
    for start, end, between in ((1, 10, 20), (13, 65, 200), (75, 109, 1000), (112, 120, 20)):
        seen = gaps(world, 1, start, end)
        assert sum(seen) / len(seen) == pytest.approx(between, rel=0.1)
        assert between * 0.7 <= min(seen) and max(seen) <= between * 1.3


def test_a_quiet_slave_beside_the_one_that_carries_all_is_probed_every_50_ms() -> None:
    metered = Parameters(interval=200 * MS)
    world = World({1: steady(5), 2: steady(5), 3: steady(5)}, {3: metered}, quiet=frozenset({2, 3}))
    world.run(10_000)
    for slave, between in ((1, 20), (2, 50), (3, 200)):
        seen = gaps(world, slave, 1, 10)
        assert sum(seen) / len(seen) == pytest.approx(between, rel=0.1)


def test_not_all_slaves_in_one_instant() -> None:
    world = World({slave: steady(5) for slave in range(1, 9)})
    world.run(10_000)
    instants = Counter(at for at, _ in world.sent)
    assert max(instants.values()) < 8
    assert sum(count > 4 for count in instants.values()) < len(instants) / 50
    assert len(instants) <= 10_000 * MS / TURN + 1, "few wake-ups"


@pytest.mark.parametrize(
    ("pace", "shortest", "rate", "between"),
    [
        (Pace.BUSY, None, 0, 20 * MS),
        (Pace.BUSY, 200 * MS, 0, 200 * MS),
        (Pace.IDLE, 200 * MS, 0, SECOND),
        (Pace.BUSY, None, 100_000_000, 20 * MS),
        (Pace.BUSY, None, 1_000_000, 112 * MS),
        (Pace.BUSY, None, 28_800, 3_888_888_888),
    ],
)
def test_probes_take_a_hundredth_of_the_rate(
    pace: Pace, shortest: int | None, rate: int, between: int
) -> None:
    assert interval(pace, shortest, rate) == between
    if rate:
        assert PROBE_BITS * SECOND / between <= rate / 100 * 1.000001


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300), st.booleans()), max_size=100))
def test_the_next_probe_is_always_to_come(calls: list[tuple[int, int, bool]]) -> None:
    schedule, now = Schedule(1), SECOND
    for slave, later, sent in calls:
        now += later * MS
        if sent:
            assert schedule.sent(slave, now) >= 0
        assert now < schedule.next(slave, now, 20 * MS) <= now + 25 * MS + TURN // 2


def test_what_is_not_sent_is_overdue_until_it_is() -> None:
    schedule = Schedule(1)
    due = schedule.next(1, SECOND, 20 * MS)
    assert schedule.overdue(1, due) == 0
    schedule.next(1, due + 50 * MS, 20 * MS)
    assert schedule.overdue(1, due + 50 * MS) == 50 * MS
    assert schedule.sent(1, due + 60 * MS) == 60 * MS
    assert schedule.overdue(1, due + 60 * MS) == 0


@pytest.mark.parametrize(("a_second", "pace"), [(0, Pace.QUIET), (4, Pace.QUIET), (20, Pace.BUSY)])
def test_probes_are_no_traffic(a_second: int, pace: Pace) -> None:
    traffic = Traffic()
    for tick in range(100):
        now = SECOND + tick * SECOND // 4
        traffic.own += 25
        traffic.carried(now, traffic.own + tick * a_second // 4)
        traffic.pace(now)
    assert traffic.pace(now) is pace


def test_a_metered_slave_keeps_its_interval_while_others_are_silent() -> None:
    world = World({1: steady(5), 2: lambda _: None}, {1: Parameters(interval=200 * MS)})
    world.run(20_000)
    assert min(gaps(world, 1, 1, 20)) >= 149
