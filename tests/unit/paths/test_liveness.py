"""When a path is suspended, down, and back: in virtual time, with links that are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipeql.paths.path import Answer, Parameters
from ipeql.paths.paths import Paths
from ipeql.state.path import Rung, Standing
from tests.unit.paths.virtual import MS, SECOND, Link, World, cut, steady

UP, UNKNOWN, SUSPENDED, DOWN = Standing.UP, Standing.UNKNOWN, Standing.SUSPENDED, Standing.DOWN


def dead(_: int) -> None:
    return None


def one_in(n: int, link: Link) -> Link:
    return lambda at: None if at // (20 * MS) % n == 0 else link(at)


@pytest.mark.parametrize(("here", "there"), [(5, 5), (5, 40), (40, 5)])
@pytest.mark.parametrize("quiet", [frozenset(), frozenset({2})])
@pytest.mark.parametrize("start", range(5000, 5200, 13))
def test_a_silent_path_is_out_within_100_ms_and_its_round_trip(
    here: int, there: int, quiet: frozenset[int], start: int
) -> None:
    world = World({1: cut(steady(here), start, 9000), 2: steady(there)}, quiet=quiet)
    world.run(12_000)
    assert world.first(1, SUSPENDED) <= start + 100 + 2 * here
    assert start + 1000 <= world.first(1, DOWN) <= start + 1100 + 2 * here
    assert world.first(1, UP, since=9000) <= 9000 + 100 + 2 * here
    assert {change.ifindex for _, change in world.changes if change.after is SUSPENDED} == {1}
    assert world.standings() == {1: UP, 2: UP}


def test_the_first_answer_ends_a_suspension_and_the_rate_doubles() -> None:
    rates = []
    world = World({1: cut(steady(20), 5000, 5300), 2: steady(20)}, {1: Parameters(rate=10_000_000)})
    world.tick = lambda at: rates.append((at // MS, world.adjustments[1].bandwidth))
    world.run(7000)
    back = world.first(1, UP, since=5000)
    assert 5340 <= back <= 5340 + 26
    assert world.count(DOWN) == 0
    halved = [at for at, rate in rates if rate is not None]
    assert {rate for _, rate in rates} == {None, 5_000_000}
    assert back <= halved[0] and back + 40 <= next(at for at, rate in rates if at > halved[-1])
    assert halved[-1] <= back + 40
    assert world.paths.reports(0)[1].suspensions == 1


def test_lost_probes_suspend_nobody() -> None:
    world = World({1: one_in(3, steady(10)), 2: steady(10)})
    world.run(20_000)
    assert world.count(SUSPENDED) == 0
    loss = world.paths.reports(world.now)[1].loss
    assert loss == pytest.approx(1 / 3, abs=0.1)


def test_a_path_that_is_often_silent_gets_more_time() -> None:
    def bursts(at: int) -> tuple[int, int]:
        return 10 * MS, 10 * MS + (100 * MS - at % (100 * MS))  # answers come every 100 ms

    world = World({1: bursts, 2: steady(10)})
    world.run(30_000)
    assert [at for at, change in world.changes if change.after is SUSPENDED and at > 3000] == []


def test_where_nobody_answers_any_more_the_one_heard_last_is_kept() -> None:
    world = World({1: cut(steady(5), 5000, 9000), 2: cut(steady(5), 5300, 9000)})
    world.run(8900)
    assert world.standings() == {1: DOWN, 2: UNKNOWN}
    assert world.in_use[-1][1] == {2}
    world.run(1000)
    assert world.standings() == {1: UP, 2: UP}


def stopped(delay: int, start: int, end: int, *, keeps: bool) -> Link:
    """A path whose far end does nothing from ``start`` to ``end``; ``keeps``: it answers then."""

    def trip(at: int) -> tuple[int, int] | None:
        arrived = at + delay * MS
        if not start * MS <= arrived < end * MS:
            return delay * MS, delay * MS
        return (delay * MS, delay * MS + end * MS - arrived) if keeps else None

    return trip


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("delays", [(5, 5, 5), (5, 40, 5), (2, 250, 40)])
@pytest.mark.parametrize("start", [5000, 5007, 5013])
def test_a_far_end_that_stops_for_a_while_takes_no_path_down(
    keeps: bool, delays: tuple[int, ...], start: int
) -> None:
    links = {
        slave: stopped(delay, start, 9000, keeps=keeps) for slave, delay in enumerate(delays, 1)
    }
    world = World(links)
    world.run(8900)
    assert set(world.standings().values()) == {UNKNOWN}
    assert world.in_use[-1][1] == set(links)
    world.run(1100 + 2 * max(delays))
    assert world.count(DOWN) == 0
    assert set(world.standings().values()) == {UP}


@pytest.mark.parametrize("start", [5000, 5007, 5013])
def test_a_path_that_dies_while_the_far_end_is_stopped_goes_down_when_that_is_back(
    start: int,
) -> None:
    world = World({1: cut(steady(5), start, 20_000), 2: stopped(40, start, 9000, keeps=False)})
    world.run(12_000)
    assert 9000 <= world.first(1, DOWN) <= 9500
    assert world.standings() == {1: DOWN, 2: UP}


def test_sequences_that_begin_anew_are_neither_silence_nor_loss() -> None:
    world = World({1: steady(30), 2: steady(30)})
    for _ in range(20):
        world.run(500)
        world.begin_anew(1)
    world.run(500)
    assert world.count(SUSPENDED) == world.count(DOWN) == 0
    assert world.paths.reports(world.now)[1].loss == 0


def test_the_only_path_is_never_out_of_use() -> None:
    world = World({1: cut(steady(5), 5000, 9000)})
    world.run(10_000)
    assert world.count(SUSPENDED) == world.count(DOWN) == 0
    assert [used for _, used in world.in_use] == [{1}]


def test_the_only_probed_path_goes_down_beside_one_that_is_used_without_probes() -> None:
    world = World({1: cut(steady(5), 5000, 9000), 2: dead}, {2: Parameters(probed=False)})
    world.run(8000)
    assert world.standings() == {1: DOWN, 2: UNKNOWN}
    assert world.count(SUSPENDED) == 0
    world.run(4000)
    assert world.standings() == {1: UP, 2: UNKNOWN}


def test_a_path_that_is_dead_from_the_start_goes_down_after_a_second() -> None:
    world = World({1: dead, 2: steady(10)})
    world.run(5000)
    assert 300 <= world.first(1, SUSPENDED) <= 800
    assert 1000 <= world.first(1, DOWN) <= 1300
    assert world.standings() == {1: DOWN, 2: UP}


def test_a_far_end_that_never_answers_says_nothing_of_the_paths() -> None:
    world = World({1: dead, 2: dead, 3: steady(5)}, {3: Parameters(far="another")})
    world.run(20_000)
    assert world.standings() == {1: UNKNOWN, 2: UNKNOWN, 3: UP}
    assert world.in_use[-1][1] == {1, 2, 3}


def test_what_was_not_sent_is_no_silence() -> None:
    world = World({1: steady(5), 2: steady(5)}, stalls=[(5000, 5900), (7000, 9500)])
    world.run(12_000)
    assert world.count(SUSPENDED) == world.count(DOWN) == 0


def test_a_slave_that_cannot_send_keeps_its_standing() -> None:
    paths = Paths(1)
    paths.keep({1: Parameters(), 2: Parameters()})
    sequence, now, due = 0, SECOND, {1: SECOND, 2: SECOND}
    while now < 20 * SECOND:
        for slave, time in list(due.items()):
            if time > now:
                continue
            if slave == 2 or now < 5 * SECOND:
                sequence += 1
                paths.sent(slave, sequence, now)
                paths.answered(slave, Answer(sequence, now, now + MS, Rung.STAMP))
            due[slave] = paths.next_probe(slave, now)
            assert due[slave] > now
        paths.judge(now + 2 * MS)
        assert paths.reports(now + 2 * MS)[1].standing in (UNKNOWN, UP)
        now += 5 * MS
    assert paths.reports(now)[1].standing is UP


def test_a_repeated_death_is_held_off_longer_each_time() -> None:
    def flapping(at: int) -> tuple[int, int] | None:
        return None if at // MS % 10_000 >= 8000 else (5 * MS, 5 * MS)

    world = World({1: flapping, 2: steady(5)})
    world.run(60_000)
    backs = [
        at % 10_000
        for at, change in world.changes
        if (change.ifindex, change.before, change.after) == (1, DOWN, UP)
    ]
    assert backs[0] < 120
    assert [round(back, -2) for back in backs] == [100, 200, 400, 800, 1600]


def test_three_answers_bring_a_dead_path_back_and_two_do_not() -> None:
    def two_answers(at: int) -> tuple[int, int] | None:
        ms = at // MS
        return (5 * MS, 5 * MS) if ms < 3000 or 6000 <= ms < 6036 or ms >= 8000 else None

    world = World({1: two_answers, 2: steady(5)})
    world.run(10_000)
    assert world.first(1, UP, since=3000) > 8000


def test_an_idle_bundle_notices_a_death_too() -> None:
    world = World({1: cut(steady(5), 100_000, 200_000), 2: steady(5)}, busy=False)
    world.run(110_000)
    assert world.first(1, SUSPENDED) <= 100_000 + 1250 + 100
    assert world.first(1, DOWN) <= 100_000 + 1250 + 1100


def test_a_slow_cadence_takes_three_intervals() -> None:
    metered = Parameters(interval=200 * MS)
    world = World({1: cut(steady(5), 5000, 9000), 2: steady(5)}, {1: metered})
    world.run(7000)
    assert 5600 <= world.first(1, SUSPENDED) <= 5000 + 250 + 10 + 650


def test_a_slave_over_which_the_far_end_asks_no_more_is_down_until_it_does() -> None:
    world = World(
        {1: dead, 2: dead},
        dict.fromkeys((1, 2), Parameters(probed=False)),
        asks={1: lambda at: not 5 * SECOND <= at < 10 * SECOND, 2: lambda _: True},
    )
    world.run(9000)
    assert 6000 <= world.first(1, DOWN) <= 6300
    assert "asks nothing" in world.paths.reports(0)[1].why
    assert world.standings() == {1: DOWN, 2: UNKNOWN}
    world.run(2000)
    assert world.standings() == {1: UNKNOWN, 2: UNKNOWN}


def test_a_far_end_that_asks_nothing_at_all_says_nothing() -> None:
    world = World(
        {1: dead, 2: dead},
        dict.fromkeys((1, 2), Parameters(probed=False)),
        asks={1: lambda at: at < 5 * SECOND, 2: lambda at: at < 5 * SECOND},
    )
    world.run(20_000)
    assert world.standings() == {1: UNKNOWN, 2: UNKNOWN}


def test_a_path_that_answers_is_not_down_because_the_far_end_does_not_ask() -> None:
    world = World(
        {1: steady(5), 2: steady(5)},
        asks={1: lambda at: at < 5 * SECOND, 2: lambda _: True},
    )
    world.run(20_000)
    assert world.count(DOWN) == 0


CUTS = st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 4000)), max_size=3)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 80), CUTS), min_size=1, max_size=4))
def test_never_all_are_out_of_use_and_those_that_answer_never_are(
    links: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    """The first is checked by the world after each judgement."""
    made: dict[int, Link] = {}
    for slave, (delay, cuts) in enumerate(links, 1):
        made[slave] = steady(delay)
        for start, length in cuts:
            made[slave] = cut(made[slave], start, start + length)
    world = World(made)
    world.run(10_000)
    whole = {slave for slave, (_, cuts) in enumerate(links, 1) if not cuts}
    for _, change in world.changes:
        assert change.ifindex not in whole or change.after is UP


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "next", "sent", "answered", "asked", "carried", "judge"]),
        st.integers(1, 3),
        st.integers(-50, 3000),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(CALLS)
def test_any_order_of_calls_is_taken(calls: list[tuple[str, int, int]]) -> None:
    paths, now, sequence = Paths(2), SECOND, 0
    paths.keep({1: Parameters(), 2: Parameters(rate=28_800)})
    kept = {1, 2}
    for call, slave, number in calls:
        now += max(0, number) * MS
        if call == "keep":
            kept = {slave, number % 4}
            paths.keep(dict.fromkeys(kept, Parameters(lag=number % 2 or None)))
        elif call == "next" and slave in kept:
            assert paths.next_probe(slave, now) > now
        elif call == "sent":
            sequence += 1
            paths.sent(slave, sequence, now)
        elif call == "answered":
            far = None if number % 2 else number * 10**15
            answer = Answer(sequence - number % 3, now - number * MS, now, Rung.ICMP, far, far)
            paths.answered(slave, answer)
        elif call == "asked":
            paths.asked(slave, now)
        elif call == "carried":
            paths.carried(slave, now, number * 100)
        elif call == "judge":
            judgement = paths.judge(now)
            assert paths.due(now) > now
            assert any(each.usable for each in judgement.adjustments.values())
            assert paths.reports(now).keys() == kept
