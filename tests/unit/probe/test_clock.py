"""Stamps of the kernel as times of CLOCK_MONOTONIC, also when somebody sets the time of day."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.probe import clock as tested
from ipeql.probe.clock import Clock

MS = 10**6
SECOND = 10**9
START = 1000 * SECOND


class Machine:
    """A machine's clocks: ``shift`` is what the time of day is ahead."""

    def __init__(self) -> None:
        self.now = START
        self.shift = 1_764_213_000 * SECOND

    def monotonic_ns(self) -> int:
        return self.now

    def time_ns(self) -> int:
        return self.now + self.shift


@contextmanager
def machine() -> Iterator[Machine]:
    with pytest.MonkeyPatch.context() as patch:
        found = Machine()
        patch.setattr(tested, "time", found)
        yield found


WAITS = st.integers(0, 500 * MS)
STEPS = st.integers(2 * MS, 10**6 * SECOND).flatmap(lambda step: st.sampled_from([step, -step]))


@given(st.integers(0, 30 * SECOND))
def test_what_waits_while_the_process_is_stopped_keeps_its_time(wait: int) -> None:
    with machine() as here:
        clock = Clock()
        stamp = here.time_ns()
        here.now += wait
        assert clock.arrived(stamp, clock.look()) == START


@given(STEPS, WAITS, st.integers(0, 10))
def test_what_arrived_before_the_clock_was_set_keeps_its_time(
    step: int, wait: int, looks: int
) -> None:
    with machine() as here:
        clock = Clock()
        stamp = here.time_ns()
        here.now += wait
        here.shift += step
        for _ in range(looks):
            clock.look()
        check(clock.arrived(stamp, clock.look()), here.now, wait, step)


@given(STEPS, WAITS)
def test_what_arrived_after_the_clock_was_set_keeps_its_time(step: int, wait: int) -> None:
    with machine() as here:
        clock = Clock()
        clock.look()
        here.shift += step
        clock.look()
        stamp = here.time_ns()
        here.now += wait
        check(clock.arrived(stamp, clock.look()), here.now, wait, step)


@given(STEPS, WAITS, WAITS)
def test_what_arrived_since_the_clocks_were_compared_keeps_its_time(
    step: int, wait: int, later: int
) -> None:
    with machine() as here:
        clock = Clock()
        here.now += wait
        assert clock.received(here.time_ns()) == here.now
        here.shift += step
        clock.look()
        here.now += later
        assert clock.received(here.time_ns()) == here.now


def check(found: int, now: int, wait: int, step: int) -> None:
    """Check a time: right, but where the wait was longer than the step it is within that."""
    if wait < abs(step):
        assert found == now - wait
    assert abs(found - (now - wait)) <= wait
    assert found <= now


def test_a_clock_that_is_slewed_is_followed() -> None:
    with machine() as here:
        clock = Clock()
        for _ in range(1000):
            here.now += 100 * MS
            here.shift += 50_000  # 500 parts in a million, as much as adjtimex(2) does
            stamp = here.time_ns()
            here.now += 5 * MS
            assert clock.arrived(stamp, clock.look()) == here.now - 5 * MS


def test_the_wire_does_not_notice_that_the_clock_was_set() -> None:
    with machine() as here:
        clock = Clock()
        before = clock.on_wire(clock.look())
        here.shift -= 3600 * SECOND
        here.now += MS
        assert clock.on_wire(clock.look()) == before + MS
