"""Several sources on one slave: who gives the reason, who is released, that judging is pure."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Self

from hypothesis import given
from hypothesis import strategies as st

from ipeql.health import SOURCES, Carrier, Health, Opinion, Seen
from ipeql.health.carrier import HOLD_OFF
from ipeql.health.source import Slave
from ipeql.state import Link, Verdict

DEAD = Opinion("path-dead", "the far end does not answer")
WAIT = Opinion("settling", "has yet to be measured", until=50, last_resort=True)


@dataclass(frozen=True)
class Says:
    """A source that objects to the same slaves each time."""

    against: Mapping[int, Opinion] = field(default_factory=dict)

    def judge(self, now: int, seen: Seen) -> tuple[Self, dict[Slave, Opinion]]:
        return self, {
            (bundle, link.ifindex): self.against[link.ifindex]
            for bundle, links in seen.slaves.items()
            for link in links
            if link.ifindex in self.against
        }


def links(*carriers: bool) -> dict[str, list[Link]]:
    return {"b": [Link(i, f"eth{i}", carrier=up) for i, up in enumerate(carriers, 1)]}


def test_one_objection_is_enough_and_the_first_source_gives_the_reason() -> None:
    health = Health((Carrier(), Says({1: DEAD, 2: DEAD})))
    _, verdicts, next_change = health.judge(0, Seen(links(False, True, True)))
    assert verdicts["b", 1].reason == "no-carrier"
    assert verdicts["b", 2] == Verdict(False, DEAD.reason, DEAD.detail)
    assert verdicts["b", 3] == Verdict(True)
    assert next_change is None


def test_a_held_slave_is_released_where_another_source_takes_the_last_other() -> None:
    health = Health((Carrier(), Says()))
    for now, carrier in enumerate((True, False)):
        health = health.judge(now, Seen(links(True, carrier))).health
    judged = health.judge(2, Seen(links(True, True)))
    assert judged.verdicts["b", 2].reason == "hold-off"
    assert judged.next_change == 2 + HOLD_OFF
    dead = Health((judged.health.sources[0], Says({1: DEAD})), judged.health.released)
    judged = dead.judge(3, Seen(links(True, True)))
    assert [verdict.usable for verdict in judged.verdicts.values()] == [False, True]
    # Released for good: the other's return does not send it back.
    again = Health((judged.health.sources[0], Says()), judged.health.released)
    judged = again.judge(4, Seen(links(True, True)))
    assert all(verdict.usable for verdict in judged.verdicts.values())
    assert judged.next_change is None


def test_a_slave_that_any_source_finds_dead_is_no_last_resort() -> None:
    health = Health((Says({1: WAIT, 2: WAIT}), Says({1: DEAD})))
    verdicts = health.judge(0, Seen(links(True, True))).verdicts
    assert [verdict.usable for verdict in verdicts.values()] == [False, True]


def test_every_verdict_against_a_slave_has_its_words() -> None:
    health = Health(SOURCES)
    down = {"b": [Link(1, "eth1", up=False), Link(2, "eth2", carrier=False), Link(3, "eth3")]}
    back = {"b": [Link(1, "eth1"), Link(2, "eth2"), Link(3, "eth3")]}
    for now, seen in enumerate((back, down, back)):
        health, verdicts, _ = health.judge(now, Seen(seen))
        assert all(v.usable or (v.reason and v.detail) for v in verdicts.values())


@given(st.lists(st.tuples(st.integers(0, 2 * HOLD_OFF), st.lists(st.booleans(), max_size=4))))
def test_judging_changes_nothing(history: list[tuple[int, list[bool]]]) -> None:
    health, now = Health(SOURCES), 0
    for pause, carriers in history:
        now += pause
        before = deepcopy(health)
        judged = health.judge(now, Seen(links(*carriers)))
        assert health == before
        assert health.judge(now, Seen(links(*carriers))) == judged
        health = judged.health
