"""The shortest delays of a window, against all that is in it."""

from hypothesis import given
from hypothesis import strategies as st

from ipeql.paths.rate.window import LONGEST, MEANT_BYTES, SHORTEST, Passage, Window

MS = 10**6
STEPS = st.lists(
    st.tuples(st.integers(1, 80), st.integers(1, 200), st.integers(-1, 20_000)), min_size=1
)


@given(STEPS)
def test_the_shortest_delays_are_those_of_the_window(
    steps: list[tuple[int, int, int]],
) -> None:
    window, taken = Window(), list[Passage]()
    sent = size = 0
    for later, delay, more in steps:
        sent += later * MS
        size = size + more if more >= 0 else 0
        passage = Passage(sent, sent + delay * MS, sent + delay * MS, size)
        if taken and passage.bytes < taken[-1].bytes:
            taken = []
        if not window.add(passage):
            continue
        taken.append(passage)
        while len(taken) > 2 and is_enough(taken[1], passage):
            del taken[0]
        assert window.least_delay == min(each.delay for each in taken)
        latest = [each.delay for each in taken if each.arrived >= passage.arrived - 20 * MS]
        assert window.latest_delay == min(latest)


def is_enough(first: Passage, last: Passage) -> bool:
    """Say whether a window need not begin before ``first``."""
    time = last.arrived - first.arrived
    return time >= LONGEST or (time >= SHORTEST and last.bytes - first.bytes >= MEANT_BYTES)
