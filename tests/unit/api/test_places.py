"""Who may have how many requests in progress."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ipeql.api.places import EACH, TOTAL, Places

USERS = st.integers(0, 40)


@given(st.lists(USERS, max_size=600))
def test_nobody_has_all_and_root_has_always_one(users: list[int]) -> None:
    places, taken = Places(), Counter[int]()
    for uid in users:
        if places.take(uid):
            taken[uid] += 1
        else:
            assert uid != 0
            assert taken[uid] == EACH or taken.total() - taken[0] == TOTAL
    assert all(count <= EACH for uid, count in taken.items() if uid)
    assert taken.total() - taken[0] <= TOTAL
    for uid, count in taken.items():
        for _ in range(count):
            places.free(uid)
    assert places.take(1)
