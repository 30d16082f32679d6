"""The rates of slaves: over the last second, for every caller and at any time."""

from hypothesis import given
from hypothesis import strategies as st

from ipeql.backends.rates import Rates, Sample, rates

SECOND = 10**9
SENT = st.dictionaries(st.integers(1, 8), st.integers(0, 2**63), max_size=4)


def test_there_is_none_before_the_second_sample() -> None:
    assert rates(None, Sample(SECOND, {11: 125})) == {}
    measured = Rates()
    measured.update({"ipeql0": Sample(SECOND, {11: 125})})
    assert measured.of("ipeql0") == {}


def test_a_rate_is_over_the_time_between_two_samples() -> None:
    before = Sample(5 * SECOND, {11: 1000, 12: 0})
    assert rates(before, Sample(6 * SECOND, {11: 1125, 12: 250})) == {11: 1000, 12: 2000}
    assert rates(before, Sample(7 * SECOND, {11: 1125, 12: 250})) == {11: 500, 12: 1000}


def test_a_slave_that_is_new_or_was_enslaved_anew_has_counted_from_0() -> None:
    before = Sample(SECOND, {11: 1000, 13: 5})
    assert rates(before, Sample(2 * SECOND, {11: 125, 12: 250})) == {11: 1000, 12: 2000}


@given(st.integers(0, 2**63), SENT, st.integers(0, 2**40), SENT)
def test_a_rate_is_never_negative(
    start: int, before: dict[int, int], elapsed: int, sent: dict[int, int]
) -> None:
    found = rates(Sample(start, before), Sample(start + elapsed, sent))
    assert found.keys() == (sent.keys() if elapsed else set())
    assert all(rate >= 0 for rate in found.values())


def test_asking_does_not_change_what_the_next_one_is_told() -> None:
    measured = Rates()
    measured.update({"ipeql0": Sample(0, {11: 0}), "ipeql1": Sample(0, {21: 0})})
    measured.update({"ipeql0": Sample(SECOND, {11: 125}), "ipeql1": Sample(SECOND, {21: 250})})
    assert [measured.of("ipeql0") for _ in range(3)] == [{11: 1000}] * 3
    assert measured.of("ipeql1") == {21: 2000}


def test_what_cannot_be_sampled_has_none_and_begins_anew() -> None:
    measured = Rates()
    measured.update({"ipeql0": Sample(0, {11: 0})})
    measured.update({"ipeql0": Sample(SECOND, {11: 125})})
    measured.update({})
    assert measured.of("ipeql0") == {}
    measured.update({"ipeql0": Sample(9 * SECOND, {11: 500})})
    assert measured.of("ipeql0") == {}
