"""The model of an emulated link: rate, drop-tail queue, delay, loss, jitter, silence."""

from hypothesis import given
from hypothesis import strategies as st

from lab.network.shaper import Shape, Shaper

MS = 10**6
FRAME = 1514
TX = FRAME * 8 * 10**9 // 20_000_000


def burst(shape: Shape, count: int, now: int = 0) -> list[int | None]:
    shaper = Shaper(shape, seed="a1")
    return [shaper.arrival(now, FRAME) for _ in range(count)]


def test_a_frame_on_an_idle_link_takes_its_transmission_time_and_the_delay() -> None:
    assert burst(Shape(rate=20_000_000, delay=5 * MS), 1, now=7) == [7 + TX + 5 * MS]


def test_without_a_rate_there_is_only_the_delay() -> None:
    assert burst(Shape(delay=5 * MS), 3) == [5 * MS] * 3


def test_the_queue_holds_its_time_and_the_frame_on_the_line() -> None:
    arrivals = burst(Shape(rate=20_000_000, queue=100 * MS), 500)
    held = 100 * MS // TX + 1
    assert arrivals == [TX * n for n in range(1, held + 1)] + [None] * (500 - held)


def test_a_full_queue_accepts_again_as_it_drains() -> None:
    shaper = Shaper(Shape(rate=20_000_000, queue=2 * TX), seed="a1")
    assert [shaper.arrival(0, FRAME) for _ in range(4)] == [TX, 2 * TX, 3 * TX, None]
    assert shaper.arrival(TX, FRAME) == 4 * TX
    assert shaper.statistics() == {"forwarded": 4, "dropped": 1, "lost": 0}


@given(lateness=st.lists(st.integers(0, 20 * MS), min_size=50, max_size=50))
def test_the_rate_does_not_depend_on_how_late_the_caller_is(lateness: list[int]) -> None:
    """While there is a backlog, a caller held up now and then makes no gap on the line."""
    shaper = Shaper(Shape(rate=20_000_000, queue=1000 * MS), seed="a1")
    for _ in range(50):
        shaper.arrival(0, FRAME)
    arrivals = [shaper.arrival(late, FRAME) for late in sorted(lateness)]
    assert arrivals == [TX * n for n in range(51, 101)]


def test_loss_is_random_at_its_ratio_and_the_same_in_every_run() -> None:
    def pattern(seed: str) -> list[bool]:
        shaper = Shaper(Shape(loss=0.1), seed)
        return [shaper.arrival(0, FRAME) is None for _ in range(10_000)]

    assert 900 < sum(pattern("a1")) < 1100
    assert pattern("a1") == pattern("a1") != pattern("b1")


def test_a_lost_frame_has_used_the_line() -> None:
    shaper = Shaper(Shape(rate=20_000_000, loss=1), seed="a1")
    assert shaper.arrival(0, FRAME) is None
    shaper.shape = Shape(rate=20_000_000)
    assert shaper.arrival(0, FRAME) == 2 * TX


def test_a_silent_link_takes_and_gives_nothing() -> None:
    shaper = Shaper(Shape(rate=20_000_000, silent=True), seed="a1")
    assert shaper.arrival(0, FRAME) is None
    shaper.shape = Shape(rate=20_000_000)
    assert shaper.arrival(0, FRAME) == TX


def test_jitter_keeps_the_order_unless_frames_may_overtake() -> None:
    def arrivals(overtaking: bool) -> list[int]:
        shaper = Shaper(Shape(delay=MS, jitter=10 * MS, overtaking=overtaking), seed="a1")
        found = [shaper.arrival(now * MS, FRAME) for now in range(1000)]
        return [one for one in found if one is not None]

    for overtaking in (False, True):
        found = arrivals(overtaking)
        assert (found == sorted(found)) is not overtaking
        late = [arrival - (number + 1) * MS for number, arrival in enumerate(found)]
        assert min(late) >= 0
        assert 9 * MS < max(late) < 10 * MS


shapes = st.builds(
    Shape,
    rate=st.none() | st.integers(1_000, 10**9),
    delay=st.integers(0, 500 * MS),
    queue=st.integers(0, 500 * MS),
    jitter=st.integers(0, 50 * MS),
)


@given(st.lists(st.tuples(shapes, st.integers(0, MS), st.integers(60, 1514))))
def test_frames_never_overtake_each_other(frames: list[tuple[Shape, int, int]]) -> None:
    """Not even when the delay becomes shorter under way."""
    shaper = Shaper(Shape(), seed="a1")
    now = earlier = 0
    for shape, pause, size in frames:
        now += pause
        shaper.shape = shape
        arrival = shaper.arrival(now, size)
        if arrival is not None:
            assert arrival >= max(earlier, now + shape.delay)
            earlier = arrival
