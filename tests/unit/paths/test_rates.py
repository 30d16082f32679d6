"""Measured bandwidths of a bundle: which law has what, and what the dataplane is told when."""

from ipeql.paths.path import Answer, Parameters
from ipeql.paths.paths import Paths, rate_differs
from ipeql.paths.rate.law import START, SentBytes
from ipeql.paths.told import TOLD_EVERY, Told
from ipeql.state import Learning, Measured, Rung

MBIT, MS = 10**6, 10**6
SECOND = 10**9


def test_small_changes_and_quick_ones_are_not_told() -> None:
    rates = Told(rate_differs)
    rates.update(SECOND, {1: 10 * MBIT, 2: 5 * MBIT})
    assert rates.values == {1: 10 * MBIT, 2: 5 * MBIT}
    later = SECOND + TOLD_EVERY
    assert rates.update(later - 1, {1: 20 * MBIT, 2: 5 * MBIT}) == later
    assert rates.values[1] == 10 * MBIT
    assert not rates.is_due(1, 20 * MBIT, later - 1)
    assert rates.is_due(1, 20 * MBIT, later)
    assert not rates.is_due(2, 5 * MBIT + 100_000, later)
    rates.update(later, {1: 20 * MBIT, 2: 5 * MBIT + 100_000})
    assert rates.values == {1: 20 * MBIT, 2: 5 * MBIT}
    rates.update(later + SECOND, {1: 20 * MBIT})
    assert rates.values == {1: 20 * MBIT}


def paths(*measured: Measured | None) -> Paths:
    known = Paths(1)
    known.keep(
        {
            ifindex: Parameters(far="10.9.0.2", rate=START, measured=bounds)
            for ifindex, bounds in enumerate(measured, start=1)
        }
    )
    return known


def load(known: Paths, slave: int, rate: int, *, begin: int = SECOND, times: int = 200) -> int:
    """Send at a rate over a path of 20 Mbit/s with 10 ms each way; return the time after it."""
    sent, queue, now = 0, 0.0, begin
    for number in range(times):
        now = begin + number * 20 * MS
        sent += rate // 400
        queue = max(0.0, queue + 20 * (rate / (20 * MBIT) - 1))
        arrived = now + int((10 + queue) * MS)
        known.sent(slave, number, now, SentBytes(sent))
        known.answered(slave, Answer(number, now, arrived + 10 * MS, Rung.STAMP, arrived, arrived))
        known.judge(arrived + 10 * MS)
    return now + SECOND


def test_only_what_is_measured_is_told() -> None:
    known = paths(Measured(), None)
    now = load(known, 1, 21 * MBIT)
    found = known.judge(now).adjustments
    assert 0 < (found[1].bandwidth or 0) < 22 * MBIT
    assert found[2].bandwidth is None
    reports = known.reports(now)
    assert reports[1].learning is not Learning.STARTUP
    assert abs((reports[1].bandwidth or 0) - 20 * MBIT) < MBIT
    assert (reports[2].bandwidth, reports[2].queue, reports[2].learning) == (None, None, None)


def test_what_is_known_stays_while_it_is_measured() -> None:
    known = paths(Measured(), None)
    now = load(known, 1, 21 * MBIT)
    before = known.reports(now)[1].bandwidth
    bounded = Parameters(far="10.9.0.2", rate=START, measured=Measured(most=50 * MBIT))
    other = Parameters(far="10.9.0.2", rate=20 * MBIT)
    known.keep({1: bounded, 2: other})
    assert known.reports(now)[1].bandwidth == before
    known.keep({1: other, 2: other})
    assert known.judge(now + SECOND).adjustments[1].bandwidth is None
    known.keep({1: bounded, 2: other})
    assert known.reports(now)[1].bandwidth == START


def test_a_slave_rests_only_beside_another() -> None:
    alone, beside = paths(Measured()), paths(Measured(), None)
    for known, rests in ((alone, False), (beside, True)):
        known.judge(SECOND)
        seen, number, sent = set(), 0, 0
        for number in range(600):  # a queue of 40 ms that never goes
            now = SECOND + number * 20 * MS
            sent += 50_000
            late = 40 * MS if number > 100 else 0
            known.sent(1, number, now, SentBytes(sent))
            arrived = now + 10 * MS + late
            known.answered(1, Answer(number, now, arrived, Rung.STAMP, arrived, arrived))
            known.judge(arrived)
            seen.add(known.reports(arrived)[1].learning)
        assert (Learning.PAUSE in seen) is rests
    known.end_pauses()
    assert known.reports(now)[1].learning is not Learning.PAUSE


def test_a_queue_that_is_known_is_no_lag() -> None:
    known = paths(Measured(), Measured())
    end = load(known, 2, 2 * MBIT)
    end = load(known, 1, 2 * MBIT, begin=end)
    end = load(known, 1, 24 * MBIT, begin=end)
    known.judge(end)
    assert (known.reports(end)[1].queue or 0) > 100 * MS
    assert (known.reports(end)[1].lag or 0) < 15 * MS


def test_a_dataplane_that_binds_late_is_told_of_queues_and_not_given_what_stalls() -> None:
    known = Paths(1)
    late = Parameters(far="10.9.0.2", rate=START, measured=Measured(), late=True)
    known.keep({1: late, 2: late})
    begin = load(known, 2, 21 * MBIT, begin=load(known, 1, 21 * MBIT))
    for number in range(200, 300):
        now = begin + (number - 200) * 20 * MS
        for slave in (1, 2):
            known.sent(slave, number, now, SentBytes(21 * MBIT // 2 + number * 40_000))
            known.carried(slave, now, number * 40)
        for slave in (1, 2):
            if slave == 2 or number < 290:
                there, back = now + 25 * MS, now + 35 * MS
                known.answered(slave, Answer(number, now, back, Rung.STAMP, there, there))
        found = known.judge(now + 40 * MS).adjustments
        if number == 289:
            assert all(each.late and each.usable and each.backlog for each in found.values())
            assert found[1].backlog and found[1].backlog.asked == now
        if number == 295:
            assert (found[1].usable, found[2].usable) == (False, True)
            assert found[1].lost_since == begin + 89 * 20 * MS
    first, second = (known.reports(now)[slave].suspensions for slave in (1, 2))
    assert (first, second) == (1, 0)


def test_a_path_that_is_known_to_have_become_longer_lags_at_once() -> None:
    known = paths(Measured(), Measured())
    begin = load(known, 2, 21 * MBIT, begin=load(known, 1, 21 * MBIT))
    seen = 0
    for number in range(200, 260):
        now = begin + (number - 200) * 20 * MS
        for slave in (1, 2):
            known.sent(slave, number, now, SentBytes(21 * MBIT // 2 + number * 140))
            there = now + (110 if slave == 1 and number > 220 else 10) * MS
            known.answered(slave, Answer(number, now, there + 10 * MS, Rung.STAMP, there, there))
        known.judge(now + 120 * MS)
        if (known.reports(now)[1].lag or 0) > 90 * MS:
            seen = seen or number
    assert 220 < seen < 235
