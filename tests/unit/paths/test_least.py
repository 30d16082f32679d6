"""The smallest of the last values, beside a list of all of them."""

from hypothesis import given
from hypothesis import strategies as st

from ipeql.paths.least import Least

PART, PARTS = 10, 3


@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(-50, 50), st.integers(-9, 9)), min_size=1)
)
def test_it_is_the_smallest_of_this_part_and_those_before_it(
    notes: list[tuple[int, int, int]],
) -> None:
    least, known, now = Least(PART, PARTS), list[tuple[int, int]](), 0
    for later, value, shift in notes:
        now += later
        known.append((now // PART, value))
        least.add(now, value)
        recent = [each for part, each in known if part > now // PART - PARTS]
        assert least.value == min(recent)
        least.shift(shift)
        known = [(part, each + shift) for part, each in known]


def test_nothing_is_known_of_nothing() -> None:
    least = Least(PART, PARTS)
    least.add(5, 7)
    least.clear()
    assert least.value is None
    least.shift(3)
    assert least.value is None
