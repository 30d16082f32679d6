"""The law over a link that queues each flow by itself: probes do not wait as the data do."""

from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipeql.paths.rate.law import Law, SentBytes
from ipeql.paths.rate.unseen import Count
from ipeql.state import Learning, Measured
from tests.unit.paths.link_model import MBIT, MS, Link

SECOND = 1000
QUEUE_MS = 300


def fair(rate: int, delay: int = 20, **others: object) -> Link:
    queue = rate * MBIT // 8 * QUEUE_MS // 1000
    return Link(
        lambda _: rate * MBIT,
        lambda _: delay,
        queue=queue,
        fair=True,
        counts=True,
        **others,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("placed", [0, 200, None])
@pytest.mark.parametrize(("rate", "delay"), [(20, 5), (5, 50), (20, 50), (50, 5), (2, 30)])
def test_a_queue_that_no_probe_meets_is_kept_short(
    rate: int, delay: int, placed: int | None
) -> None:
    link = fair(rate, delay, placed=placed).run(12 * SECOND)
    assert link.share(3 * SECOND) >= 0.93
    assert median(link.capacities[5 * SECOND :]) == pytest.approx(rate * MBIT, rel=0.15)
    assert median(link.queues[5 * SECOND :]) <= 60


def test_without_counts_it_would_be_full() -> None:
    link = fair(20, placed=None)
    link.counts = False
    link.run(8 * SECOND)
    assert median(link.queues[4 * SECOND :]) >= 0.9 * QUEUE_MS


@pytest.mark.parametrize("placed", [0, 200, None])
@pytest.mark.parametrize(("part", "share"), [(0.01, 0.85), (0.05, 0.6)])
def test_what_is_lost_on_the_way_stands_in_no_queue(
    part: float, share: float, placed: int | None
) -> None:
    link = fair(20, placed=placed, loss=part, lost=part).run(20 * SECOND)
    assert link.share(3 * SECOND) >= share
    link = Link(lambda _: 20 * MBIT, placed=placed, counts=True, loss=part, lost=part)
    assert link.run(20 * SECOND).share(3 * SECOND) >= 0.98


def test_a_rate_that_falls_and_rises_is_followed() -> None:
    """What overflows meanwhile is lost, and stands in no queue."""
    rates = {10: 20 * MBIT, 30: 4 * MBIT, 40: 20 * MBIT}
    link = fair(20, placed=None)
    link.rate = lambda now: next(rates[end] for end in rates if now < end * SECOND)
    link.run(40 * SECOND)
    assert median(link.capacities[15 * SECOND : 30 * SECOND]) == pytest.approx(4 * MBIT, rel=0.2)
    assert median(link.queues[26 * SECOND : 30 * SECOND]) <= 60
    assert link.share(34 * SECOND) >= 0.93


def test_a_link_that_makes_probes_wait_again_needs_no_counts() -> None:
    link = fair(20, placed=None).run(5 * SECOND)
    link.fair = False
    link._given = link._sent
    link.run(5 * SECOND)
    link.counts, link._count = False, None
    link.run(5 * SECOND)
    assert link.share(6 * SECOND) >= 0.93
    assert link.longest_queue(12 * SECOND) <= 60


def test_a_far_end_that_counts_anew_is_believed_again() -> None:
    link = fair(20, placed=None).run(6 * SECOND)
    link.forgotten = int(link._served)
    link.run(12 * SECOND)
    assert link.share(7 * SECOND) >= 0.9
    assert median(link.queues[12 * SECOND :]) <= 60


@settings(max_examples=50)
@given(
    counts=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1),
    late=st.booleans(),
)
def test_a_far_end_may_count_what_it_likes(counts: list[tuple[int, int]], late: bool) -> None:
    law = Law(Measured(most=100 * MBIT), late=late)
    sent = 0
    for number in range(300):
        now = (1 + number * 20) * MS
        sent += 20 * MBIT // 8 // 50
        law.asked(number, now, SentBytes(sent, sent))
        said = Count(*counts[number % len(counts)])
        law.answered(number, now + 10 * MS, now + 5 * MS, said, may_pause=True)
        assert 0 < law.capacity <= 100 * MBIT
        assert law.state in Learning
        law.backlog(now)
