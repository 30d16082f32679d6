"""The law of one path over a small model of a link."""

from collections.abc import Callable
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipeql.paths.rate.law import PAUSED, START, Law, SentBytes
from ipeql.state import Learning, Measured
from lab.network.trace import TRACES
from tests.unit.paths.link_model import MBIT, MS, Link

SECOND = 1000
FULL = 200
"""What bw_lag_eq has placed while it has more than enough: ms."""
LATE = None
"""It has not placed them."""


def steady(value: float) -> Callable[[int], float]:
    return lambda _: value


def step(at: int, before: float, after: float) -> Callable[[int], float]:
    return lambda now: before if now < at else after


@pytest.mark.parametrize("placed", [0, FULL, LATE])
@pytest.mark.parametrize("echo", [False, True], ids=["stamp", "echo"])
@pytest.mark.parametrize(("rate", "delay"), [(20, 5), (5, 50), (20, 50), (50, 5)])
def test_a_constant_link_is_filled(rate: int, delay: int, echo: bool, placed: int | None) -> None:
    link = Link(steady(rate * MBIT), steady(delay), placed=placed, echo=echo).run(12 * SECOND)
    assert link.share(3 * SECOND) >= 0.93
    assert link.longest_queue(5 * SECOND) <= 55


@pytest.mark.parametrize("placed", [0, FULL, LATE])
def test_a_link_that_is_slower_than_the_first_guess(placed: int | None) -> None:
    link = Link(steady(2 * MBIT), steady(30), placed=placed, queue=100_000).run(12 * SECOND)
    assert link.share(5 * SECOND) >= 0.93
    assert link.longest_queue(5 * SECOND) <= 90


@pytest.mark.parametrize("placed", [0, FULL, LATE])
def test_a_rate_that_steps_is_followed(placed: int | None) -> None:
    rates = {10: 20 * MBIT, 25: 4 * MBIT, 40: 20 * MBIT}
    link = Link(lambda now: next(rates[end] for end in rates if now < end * SECOND), placed=placed)
    link.run(25 * SECOND)
    assert median(link.capacities[13 * SECOND : 14 * SECOND]) == pytest.approx(4 * MBIT, rel=0.15)
    assert link.share(20 * SECOND) >= 0.9
    link.run(15 * SECOND)
    assert link.share(30 * SECOND) >= 0.93


@pytest.mark.parametrize("more", [15, 100])
@pytest.mark.parametrize("placed", [0, FULL, LATE])
def test_a_base_delay_that_rises_for_good_is_no_queue(more: int, placed: int | None) -> None:
    link = Link(steady(20 * MBIT), step(10 * SECOND, 5, 5 + more), placed=placed)
    link.run(20 * SECOND)
    assert link.share(10 * SECOND, 13 * SECOND) >= 0.85
    assert link.share(13 * SECOND) >= 0.93
    assert link.longest_queue(15 * SECOND) <= 60


def test_without_another_slave_nothing_rests() -> None:
    """Then a base that has risen is learned when the earlier one is ten seconds old."""
    link = Link(steady(20 * MBIT), step(10 * SECOND, 5, 105), may_pause=False).run(30 * SECOND)
    assert PAUSED not in link.rates
    assert min(link.capacities[3 * SECOND :]) > 12 * MBIT
    assert link.share(25 * SECOND) >= 0.93


@settings(max_examples=25)
@given(limit=st.floats(0, 0.8), jitter=st.sampled_from([0, 3, 10]), seed=st.integers(0, 99))
def test_what_is_not_used_is_neither_lowered_nor_raised(
    limit: float, jitter: float, seed: int
) -> None:
    link = Link(steady(20 * MBIT), steady(20), jitter=jitter)
    link.random.seed(seed)
    link.run(4 * SECOND)
    link.limit = steady(limit * 20 * MBIT)
    link.run(200)
    before = link.capacities[-1]
    link.run(5 * SECOND)
    assert all(0.85 < each / before < 1.2 for each in link.capacities[5 * SECOND :])


def test_a_minute_of_idleness_changes_nothing() -> None:
    link = Link(steady(20 * MBIT), steady(20)).run(4 * SECOND)
    link.limit = steady(0)
    link.run(500)
    before = link.capacities[-1]
    link.run(60 * SECOND)
    assert link.capacities[-1] == before


def test_a_token_bucket() -> None:
    link = Link(steady(20 * MBIT), steady(20), burst=100_000, placed=FULL).run(20 * SECOND)
    assert link.share(3 * SECOND) >= 0.95
    assert link.longest_queue(10 * SECOND) <= 120


@pytest.mark.parametrize(
    "odd",
    [
        {"loss": 0.01},
        {"drift": 100},
        {"drift": -100},
        {"jitter": 10},
        {"offset": lambda now: 0 if now < 6000 else 10**10 if now < 9000 else -(10**10)},
    ],
    ids=["loss", "drift", "drift back", "jitter", "clock set"],
)
@pytest.mark.parametrize("placed", [0, FULL, LATE])
def test_odd_probes(odd: dict[str, object], placed: int | None) -> None:
    link = Link(steady(20 * MBIT), steady(20), placed=placed, **odd)  # type: ignore[arg-type]
    link.run(15 * SECOND)
    assert link.share(3 * SECOND) >= 0.93
    assert link.longest_queue(3 * SECOND) <= 80


def test_a_far_end_that_lies_is_bounded_by_what_was_sent() -> None:
    """It claims that all came at once, so that no queue is ever seen."""
    law = Law()
    sent, most = 0, 0
    for number in range(1000):
        now = number * 20 * MS
        sent += 20 * MBIT // 8 // 50  # 20 Mbit/s, whatever the law says
        law.asked(number, now, SentBytes(sent))
        law.answered(number, now + 10 * MS, number + 10**15)
        most = max(most, law.capacity)
    assert most <= 2 * 20 * MBIT


def test_after_a_stall_less_is_sent_than_before() -> None:
    link = Link(steady(20 * MBIT), steady(20)).run(5 * SECOND)
    before = link.law.capacity
    link.rate = lambda now: 20 * MBIT if now > 5300 else 0
    link.run(400)
    assert min(link.capacities[-100:]) < 0.75 * before
    link.run(5 * SECOND)
    assert link.share(7 * SECOND) >= 0.93


def test_bounds() -> None:
    bounds = Measured(3 * MBIT, 8 * MBIT)
    link = Link(step(4 * SECOND, 20 * MBIT, 1 * MBIT), queue=60_000, law=Law(bounds))
    link.run(8 * SECOND)
    assert set(link.capacities[:SECOND]) == {8 * MBIT}
    assert min(each for each in link.rates if each != PAUSED) >= 3 * MBIT
    link.law.bound(Measured(9 * MBIT, 9 * MBIT))
    assert link.law.capacity == 9 * MBIT


def test_nothing_is_known_before_there_is_traffic() -> None:
    law = Law()
    assert (law.state, law.rate, law.capacity) == (Learning.STARTUP, START, START)
    link = Link(steady(20 * MBIT), limit=steady(0), law=law).run(10 * SECOND)
    assert (link.law.state, link.law.rate) == (Learning.STARTUP, START)


def test_what_arrives_is_told_apart_from_what_is_believed() -> None:
    assert Law().delivered is None
    link = Link(steady(20 * MBIT), steady(20)).run(4 * SECOND)
    link.limit = steady(5 * MBIT)
    link.run(2 * SECOND)
    assert link.law.delivered is not None
    assert link.law.delivered == pytest.approx(5 * MBIT, rel=0.15)
    assert link.law.capacity > 17 * MBIT


def test_an_unknown_answer_says_nothing() -> None:
    law = Law()
    law.answered(7, 10**9, 10**9)
    assert (law.rate, law.queue) == (START, 0)


@pytest.mark.parametrize(("scale", "share"), [(1, 0.7), (4, 0.8)])
def test_a_recorded_link(scale: int, share: float) -> None:
    """Starlink: a packet at each of the recorded times, or at every fourth."""
    times = [int(line) for line in (TRACES / "starlink.up").read_text().split()][::scale]
    carried = [0] * (times[-1] + 1)
    for time in times:
        carried[time] += 1504 * 8000
    link = Link(lambda now: carried[now % len(carried)], steady(25), placed=FULL, queue=500_000)
    link.run(30 * SECOND)
    assert link.share(3 * SECOND) >= share


def test_a_dataplane_that_binds_late_is_told_of_the_queue_and_of_silence() -> None:
    link = Link(steady(20 * MBIT), steady(20), placed=LATE).run(5 * SECOND)
    law, now = link.law, 5 * SECOND * MS
    backlog = law.backlog(now)
    assert backlog and now - 80 * MS < backlog.asked < now
    assert backlog.delay == pytest.approx(15 * MS, abs=10 * MS)
    assert not law.is_stalled(now)
    overdue = law.overdue_at()
    assert overdue and now < overdue < now + 80 * MS
    later = law.backlog(overdue + 30 * MS)
    assert later and later.delay >= law.queue + 50 * MS
    assert not law.is_stalled(overdue)
    assert law.is_stalled(overdue + 41 * MS)


def test_a_dataplane_that_binds_late_is_told_nothing_where_nothing_is_known() -> None:
    law = Law(late=True)
    assert (law.backlog(0), law.overdue_at(), law.is_stalled(10**12)) == (None, None, False)


def test_probes_without_load_show_a_path_that_has_become_longer() -> None:
    link = Link(steady(20 * MBIT), step(6 * SECOND, 5, 45), may_pause=False).run(4 * SECOND)
    link.limit = steady(0)
    link.run(2300)
    assert link.law.queue < 5 * MS
