"""Carrier's verdicts as they are merged: the rules, then the invariants over any history."""

from hypothesis import given
from hypothesis import strategies as st

from ipeql.health import Carrier, Health, Seen
from ipeql.health.carrier import ADMIN_DOWN, HELD_OFF, HOLD_OFF, NO_CARRIER
from ipeql.state import Link, Verdict

USABLE, HELD, LOST, DOWN = "", HELD_OFF, NO_CARRIER.reason, ADMIN_DOWN.reason
MS = 10**6


class Judge:
    """Judges again and again, with what was remembered."""

    def __init__(self) -> None:
        self._health = Health((Carrier(),))
        self.next_change: int | None = None

    def judge(self, now: int, slaves: dict[str, list[Link]]) -> dict[tuple[str, int], Verdict]:
        self._health, verdicts, self.next_change = self._health.judge(now, Seen(slaves))
        return verdicts


def link(ifindex: int, carrier: bool = True, up: bool = True) -> Link:
    return Link(ifindex=ifindex, name=f"eth{ifindex}", up=up, carrier=carrier)


def judge(health: Judge, now: int, *links: Link) -> list[str]:
    """Return the reasons against the slaves of one bundle, in their order."""
    verdicts = health.judge(now, {"ipeql0": list(links)})
    return [verdicts["ipeql0", link.ifindex].reason for link in links]


def test_a_fault_counts_at_once_and_says_which() -> None:
    health = Judge()
    assert judge(health, 0, link(1), link(2)) == [USABLE, USABLE]
    assert judge(health, 1, link(1), link(2, carrier=False)) == [USABLE, LOST]
    down = link(2, carrier=False, up=False)
    assert judge(health, 2, link(1), down) == [USABLE, DOWN]
    assert health.next_change is None


def test_one_that_returns_is_held_off_for_the_whole_time() -> None:
    health = Judge()
    judge(health, 0, link(1), link(2))
    judge(health, 10, link(1), link(2, carrier=False))
    assert judge(health, 20, link(1), link(2)) == [USABLE, HELD]
    assert health.next_change == 20 + HOLD_OFF
    assert judge(health, 20 + HOLD_OFF - 1, link(1), link(2)) == [USABLE, HELD]
    assert judge(health, 20 + HOLD_OFF, link(1), link(2)) == [USABLE, USABLE]
    assert health.next_change is None


def test_flapping_starts_the_hold_off_anew() -> None:
    health = Judge()
    judge(health, 0, link(1), link(2))
    judge(health, 0, link(1), link(2, carrier=False))
    for now in range(0, 3 * HOLD_OFF, HOLD_OFF // 2):
        assert judge(health, now, link(1), link(2)) == [USABLE, HELD]
        assert judge(health, now + MS, link(1), link(2, carrier=False)) == [USABLE, LOST]


def test_one_not_usable_before_is_used_as_soon_as_it_can_be() -> None:
    health = Judge()
    assert judge(health, 0, link(1), link(2, carrier=False)) == [USABLE, LOST]
    assert judge(health, 1, link(1), link(2)) == [USABLE, USABLE]
    assert judge(health, 2, link(1), link(2), link(3)) == [USABLE, USABLE, USABLE]


def test_the_last_one_is_never_held_back() -> None:
    health = Judge()
    judge(health, 0, link(1))
    judge(health, 1, link(1, carrier=False))
    assert judge(health, 2, link(1)) == [USABLE]


def test_of_held_ones_the_longest_back_is_released_when_the_last_other_goes() -> None:
    health = Judge()
    dead = [link(1, carrier=False), link(2, carrier=False)]
    judge(health, 0, link(1), link(2), link(3))
    judge(health, 0, *dead, link(3))
    judge(health, 10 * MS, dead[0], link(2), link(3))
    assert judge(health, 20 * MS, link(1), link(2), link(3)) == [HELD, HELD, USABLE]
    gone = link(3, carrier=False)
    assert judge(health, 30 * MS, link(1), link(2), gone) == [HELD, USABLE, LOST]
    assert health.next_change == 20 * MS + HOLD_OFF
    # The released one has served: another that returns does not send it back.
    assert judge(health, 40 * MS, link(1), link(2), link(3)) == [HELD, USABLE, HELD]


def test_one_that_is_gone_is_forgotten() -> None:
    health = Judge()
    judge(health, 0, link(1), link(2))
    judge(health, 1, link(1), link(2, carrier=False))
    judge(health, 2, link(1))
    assert judge(health, 3, link(1), link(2)) == [USABLE, USABLE]


def test_bundles_do_not_touch_each_other() -> None:
    health = Judge()
    health.judge(0, {"a": [link(1), link(2)], "b": [link(3), link(4)]})
    health.judge(1, {"a": [link(1), link(2, carrier=False)], "b": [link(3), link(4)]})
    verdicts = health.judge(2, {"a": [link(1), link(2)], "b": [link(3), link(4)]})
    assert {slave: verdict.reason for slave, verdict in verdicts.items()} == {
        ("a", 1): USABLE,
        ("a", 2): HELD,
        ("b", 3): USABLE,
        ("b", 4): USABLE,
    }


slaves = st.dictionaries(
    st.integers(1, 5), st.tuples(st.booleans(), st.booleans()), max_size=5
).map(lambda seen: [link(i, carrier, up) for i, (carrier, up) in sorted(seen.items())])
histories = st.lists(
    st.tuples(
        st.integers(0, 2 * HOLD_OFF),
        st.dictionaries(st.sampled_from(["a", "b"]), slaves),
    ),
    max_size=20,
)


@given(histories)
def test_invariants_of_any_history(history: list[tuple[int, dict[str, list[Link]]]]) -> None:
    health, twin, now = Judge(), Judge(), 0
    good_since: dict[tuple[str, int], int] = {}
    for pause, members in history:
        now += pause
        verdicts = health.judge(now, members)
        keys = {(bundle, link.ifindex) for bundle, links in members.items() for link in links}
        assert verdicts.keys() == keys
        assert twin.judge(now, members) == verdicts
        next_change = health.next_change
        assert health.judge(now, members) == verdicts
        assert health.next_change == next_change
        held = {key for key, verdict in verdicts.items() if verdict.reason == HELD_OFF}
        good = {
            (bundle, link.ifindex)
            for bundle, links in members.items()
            for link in links
            if link.up and link.carrier
        }
        good_since = {key: good_since.get(key, now) for key in good}
        for bundle in members:
            mine = [key for key in keys if key[0] == bundle]
            assert any(verdicts[key].usable for key in mine) == any(key in good for key in mine)
        assert {key for key, verdict in verdicts.items() if verdict.usable} == good - held
        assert all(verdict.usable == (verdict.reason == "") for verdict in verdicts.values())
        assert all(now - good_since[key] < HOLD_OFF for key in held)
        assert (next_change is not None) == bool(held)
        if next_change is not None:
            assert now < next_change <= now + HOLD_OFF


@given(histories)
def test_next_change_is_when_the_verdicts_change(
    history: list[tuple[int, dict[str, list[Link]]]],
) -> None:
    health, now = Judge(), 0
    for pause, members in history:
        now += pause
        verdicts = health.judge(now, members)
        if (change := health.next_change) is not None:
            assert health.judge(change - 1, members) == verdicts
            now = change
            assert health.judge(now, members) != verdicts
