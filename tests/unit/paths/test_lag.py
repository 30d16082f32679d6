"""Lags in virtual time: of known delays, of a recorded one, and with clocks that are set."""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from ipeql.paths.path import Parameters
from tests.unit.paths.virtual import FAR_CLOCK, MS, SECOND, Trip, World, cut, steady

STARLINK = Path(__file__).parents[3] / "lab" / "traces" / "starlink.owd.csv"


def watched(world: World) -> list[tuple[int, dict[int, int | None]]]:
    """Collect the lags that are told: (ms, ns by ifindex)."""
    told: list[tuple[int, dict[int, int | None]]] = []
    world.tick = lambda at: told.append(
        (at // MS, {slave: each.lag for slave, each in world.adjustments.items()})
    )
    return told


def lags(world: World) -> dict[int, int | None]:
    return {slave: each.lag for slave, each in world.adjustments.items()}


@pytest.mark.parametrize("back", [1, 30, 200])
def test_only_the_way_there_counts(back: int) -> None:
    world = World({1: steady(5, 20), 2: steady(40, back), 3: steady(25, 5)})
    world.run(2000)
    assert lags(world) == {1: 0, 2: 35 * MS, 3: 20 * MS}
    reports = world.paths.reports(world.now)
    assert [report.lag for report in reports.values()] == [0, 35 * MS, 20 * MS]
    assert not any(report.halved for report in reports.values())


def test_without_the_far_clock_it_is_half_the_difference_of_the_round_trips() -> None:
    world = World({1: steady(5, 15), 2: steady(40, 20)}, one_way=False)
    world.run(2000)
    assert lags(world) == {1: 0, 2: 20 * MS}
    assert all(report.halved for report in world.paths.reports(world.now).values())


def test_a_configured_lag_stays_and_the_measured_ones_fit_to_it() -> None:
    world = World({1: steady(5), 2: steady(40), 3: steady(10)}, {1: Parameters(lag=7 * MS)})
    world.run(2000)
    assert lags(world) == {1: None, 2: 42 * MS, 3: 12 * MS}


def test_far_ends_are_not_compared() -> None:
    world = World(
        {1: steady(5), 2: steady(40), 3: steady(60)},
        {2: Parameters(far="b"), 3: Parameters(far="b")},
    )
    world.run(2000)
    assert lags(world) == {1: 0, 2: 0, 3: 20 * MS}


def test_a_queue_is_no_lag() -> None:
    def queue(at: int) -> Trip:
        return 10 * MS + at % (400 * MS) // 4, 10 * MS  # up to 100 ms, empty 2.5 times a second

    world = World({1: queue, 2: steady(10)})
    told = watched(world)
    world.run(10_000)
    worst = max(abs(at[1] or 0) for when, at in told if when > 1000)
    assert worst < 10 * MS


@pytest.mark.parametrize("step", [-25, -11, 12, 25, 60])
def test_another_way_is_followed_within_a_second(step: int) -> None:
    def moving(at: int) -> Trip:
        return (70 * MS if at < 5 * SECOND else (70 + step) * MS), 20 * MS

    world = World({1: moving, 2: steady(30)})
    told = watched(world)
    world.run(8000)
    assert all(at[1] == 40 * MS for when, at in told if 1000 < when < 5000)
    assert all(at[1] == (40 + step) * MS for when, at in told if when > 6000)


def test_after_a_silence_the_base_is_new() -> None:
    def moving(at: int) -> Trip:
        return (40 * MS if at < 5 * SECOND else 46 * MS), 20 * MS

    world = World({1: cut(moving, 4700, 5300), 2: steady(30)})
    told = watched(world)
    world.run(8000)
    assert all(at[1] == 16 * MS for when, at in told if when > 5500)


def test_small_moves_are_not_told() -> None:
    def wavering(at: int) -> Trip:
        return 30 * MS + at // SECOND % 2 * MS, 20 * MS

    world = World({1: wavering, 2: steady(20)})
    told = watched(world)
    world.run(20_000)
    assert len({at[1] for when, at in told if when > 500}) == 1


def step_at(second: int, by: int) -> Callable[[int], int]:
    return lambda at: FAR_CLOCK + (by if at >= second * SECOND else 0)


@pytest.mark.parametrize("by", [-3600 * SECOND, -50 * MS, 50 * MS, 3600 * SECOND])
def test_a_clock_that_is_set_is_no_lag(by: int) -> None:
    """Whatever is on its way then: the paths differ by more than the time between two probes."""
    world = World({1: steady(5), 2: steady(90), 3: steady(40)}, far_clock=step_at(5, by))
    told = watched(world)
    world.run(12_000)
    for when, at in told:
        if when > 1000:
            assert at[2] == pytest.approx(85 * MS, abs=2 * MS), when
            assert at[3] == pytest.approx(35 * MS, abs=2 * MS), when


def test_a_clock_that_runs_fast_is_no_lag() -> None:
    world = World({1: steady(5), 2: steady(40)}, far_clock=lambda at: FAR_CLOCK + at // 10_000)
    told = watched(world)
    world.run(20_000)
    assert all(abs((at[2] or 0) - 35 * MS) <= 2 * MS for when, at in told if when > 1000)


def test_absurd_times_of_the_far_end_are_bounded_by_the_round_trip() -> None:
    def absurd(at: int) -> int:
        return FAR_CLOCK * (at // MS % 7)

    world = World({1: steady(5), 2: steady(40)}, far_clock=absurd)
    told = watched(world)
    world.run(5000)
    assert all(0 <= (at[1] or 0) <= 11 * MS and 0 <= (at[2] or 0) <= 81 * MS for _, at in told)


def test_a_recorded_starlink_path() -> None:
    """The error against the least delay within half a second: median 1 ms, 95 % 2 ms.

    Against each single value, which has the jitter of the satellite's frames: median 3 ms.
    """
    with STARLINK.open() as file:
        delays = [int(row["owd_ms"]) for row in csv.DictReader(file)]

    def recorded(at: int) -> Trip:
        return delays[at // (10 * MS)] * MS, 20 * MS

    world = World({1: recorded, 2: steady(30)})
    told = watched(world)
    world.run(len(delays) * 10 - 1000)
    errors = []
    for when, at in told:
        if when > 1000 and at[1] is not None and at[2] is not None:
            least = min(delays[max(0, when // 10 - 50) : when // 10 + 50])
            errors.append(abs(at[1] - at[2] - (least - 30) * MS))
    assert median(errors) <= 2 * MS
    assert sorted(errors)[len(errors) * 95 // 100] <= 3 * MS
