"""What the demo computes from the samples of a flow."""

import pytest

from lab.demo.figure import Failover, Figure, between, over_time, rate

S = 10**9
MS = 10**6


def figure(goodput: float, bar: float | None) -> Figure:
    return Figure("equal links", "10Mbit 5ms", "round_robin", goodput, capacity=100, bar=bar)


def test_a_bar_holds_when_it_is_reached() -> None:
    assert figure(96, bar=0.96).holds
    assert not figure(95, bar=0.96).holds
    assert figure(1, bar=None).holds


def test_rate_is_in_bits_a_second() -> None:
    assert rate([(S, 1000), (3 * S, 2000)]) == 4000
    assert rate([(S, 1000)]) == 0
    assert rate([]) == 0


def test_a_failover_counts_its_pause_from_the_cut() -> None:
    samples = ((0, 0), (S, 0), (2 * S, 5), (3 * S, 5), (4 * S, 9))
    assert Failover("cut", (), samples, cut=2 * S, returned=4 * S).pause == 2 * S


def test_between_takes_both_ends() -> None:
    assert between([(1, 0), (2, 0), (3, 0)], 2, 3) == [(2, 0), (3, 0)]


def test_over_time_is_the_mean_of_the_window_before() -> None:
    samples = [(n * S // 10, n * 12_500) for n in range(11)]
    times, rates = over_time(samples, S // 2)
    assert times == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates == pytest.approx([1.0] * 6)


def test_over_time_of_a_flow_shorter_than_the_window_is_empty() -> None:
    assert over_time([(0, 0), (S, 5)], 2 * S) == ([], [])
    assert over_time([], S) == ([], [])


def test_over_time_has_no_rate_for_two_samples_of_one_moment() -> None:
    assert over_time([(S, 0), (S, 1000), (2 * S, 1000)], S) == ([2.0], [0.0])
