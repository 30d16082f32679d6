"""RFC 4737's metrics on sequences like its own examples, and against its definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.network.reordering import extents, first_copies


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([1, 2, 3, 4, 5], []),
        ([1, 2, 3, 5, 6, 7, 8, 4, 9, 10], [4]),
        ([1, 2, 3, 4, 7, 5, 6, 8, 9, 10], [1, 2]),
        ([1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11], [4, 5, 6]),
        ([1, 2, 5, 6], []),
        ([2, 1], [1]),
        ([], []),
    ],
    ids=["in order", "one late", "two late", "three late", "lost", "first two swapped", "nothing"],
)
def test_extents(arrivals: list[int], expected: list[int]) -> None:
    assert extents(arrivals) == expected


def test_a_late_second_copy_is_not_reordering() -> None:
    assert first_copies([1, 2, 3, 1, 4]) == [1, 2, 3, 4]
    assert extents([1, 2, 3, 1, 4]) == []


@given(st.lists(st.integers(0, 50), unique=True))
def test_extents_are_what_the_rfc_defines(arrivals: list[int]) -> None:
    """Section 4.2.1: i - j for the first j < i with s[j] > s[i]."""
    expected = []
    for i, number in enumerate(arrivals):
        overtook = [j for j in range(i) if arrivals[j] > number]
        if overtook:
            expected.append(i - overtook[0])
    assert extents(arrivals) == expected


@given(st.lists(st.integers(0, 50), unique=True))
def test_as_many_are_reordered_as_the_rfc_counts(arrivals: list[int]) -> None:
    """Section 3.3: reordered if below NextExp; otherwise NextExp becomes the number after it."""
    next_expected = reordered = 0
    for number in arrivals:
        if number >= next_expected:
            next_expected = number + 1
        else:
            reordered += 1
    assert len(extents(arrivals)) == reordered
