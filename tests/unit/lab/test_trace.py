"""Recordings of links, and what a shaper that plays one does to frames."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.network import trace
from lab.network.shaper import ETHERNET, Shape, Shaper
from lab.network.trace import MS, OPPORTUNITY, TRACES, Trace

FRAME = OPPORTUNITY + ETHERNET
BEGIN = 7 * MS + 1


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Two opportunities at 2 ms, one at 5 and at 10 ms."""
    path = tmp_path / "link.up"
    path.write_text("2\n2\n5\n10\n")
    return str(path)


def arrivals(shaper: Shaper, times: list[int], size: int = FRAME) -> list[float | None]:
    """Return when frames that come at ``times`` ms arrive, ms since the recording began."""
    found = [shaper.arrival(BEGIN + time * MS, size) for time in times]
    return [None if one is None else (one - BEGIN) / MS for one in found]


def test_a_frame_takes_an_opportunity_and_the_recording_begins_again(file: str) -> None:
    shaper = Shaper(Shape(trace=file, begin=BEGIN, queue=1000 * MS), "a1")
    assert arrivals(shaper, [1] * 7) == [2, 2, 5, 10, 12, 12, 15]


def test_what_is_not_used_is_lost(file: str) -> None:
    shaper = Shaper(Shape(trace=file, begin=BEGIN), "a1")
    assert arrivals(shaper, [3, 4, 11]) == [5, 10, 12]


def test_small_frames_share_an_opportunity_and_large_ones_take_several(file: str) -> None:
    shaper = Shaper(Shape(trace=file, begin=BEGIN, queue=1000 * MS), "a1")
    assert arrivals(shaper, [1] * 3, ETHERNET + 500) == [2, 2, 2]
    assert arrivals(shaper, [1], ETHERNET + 2 * OPPORTUNITY) == [5]


def test_the_queue_is_in_time_of_the_mean_rate(file: str) -> None:
    """Four opportunities in 10 ms: 15 ms hold 9000 bytes, and one more frame fits."""
    shaper = Shaper(Shape(trace=file, begin=BEGIN, queue=15 * MS), "a1")
    assert arrivals(shaper, [1] * 8)[5:] == [12, None, None]
    assert arrivals(shaper, [2, 2, 2]) == [15, 20, None]
    assert shaper.statistics()["dropped"] == 3


def test_the_recording_may_be_changed_under_way(file: str) -> None:
    shaper = Shaper(Shape(trace=file, begin=BEGIN), "a1")
    arrivals(shaper, [0])
    later = BEGIN + 1_000_000 * MS
    shaper.shape = Shape(trace=file, begin=later)
    assert shaper.arrival(later + 1, FRAME) == later + 2 * MS


@given(
    st.lists(st.integers(0, 50), min_size=1).map(sorted).filter(lambda times: times[-1] > 0),
    st.integers(-200 * MS, 200 * MS),
    st.integers(-200 * MS, 200 * MS),
)
def test_the_first_opportunity_is_the_first(times: list[int], now: int, begin: int) -> None:
    recorded = Trace(tuple(times))
    number = recorded.first(now, begin)
    assert recorded.time(number, begin) >= now > recorded.time(number - 1, begin)


def test_delays_are_added_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "link.owd.csv"
    path.write_text("t_ms,owd_ms\n0,12\n10,40\n20,8\n")
    shape = Shape(delays=str(path), delay=MS, begin=BEGIN, overtaking=True)
    assert arrivals(Shaper(shape, "a1"), [0, 9, 10, 20, 30]) == [13, 22, 51, 29, 43]


@pytest.mark.parametrize("text", ["", "0\n", "3\n2\n", "one\n"])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "link.up").write_text(text)
    with pytest.raises(ValueError, match=r"invalid literal|no mahimahi trace"):
        trace.trace(str(path))


@pytest.mark.parametrize("text", ["head\n0,1\n", "head\n0,1\n10,1\n30,1\n"])
def test_a_file_that_is_no_delays_is_refused(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "link.owd.csv").write_text(text)
    with pytest.raises(ValueError, match="no delays"):
        trace.delays(str(path))


def test_the_recordings_here_are_whole() -> None:
    assert trace.trace(str(TRACES / "starlink.up")).rate == pytest.approx(13.4e6, rel=0.01)
    assert len(trace.delays(str(TRACES / "starlink.owd.csv")).values) == 3000
