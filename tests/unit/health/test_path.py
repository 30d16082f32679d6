"""The source for paths: which it objects to, and what it says beside the carrier."""

import pytest

from ipeql.health import SOURCES, Health, Path, Seen
from ipeql.state import Link, PathReport, Standing, Verdict

SLAVES = {"b": [Link(1, "eth1"), Link(2, "eth2")]}


@pytest.mark.parametrize("standing", Standing)
def test_only_a_path_that_is_down_is_objected_to(standing: Standing) -> None:
    seen = Seen(SLAVES, {("b", 1): PathReport(standing, why="no answer")})
    _, opinions = Path().judge(0, seen)
    if standing is Standing.DOWN:
        assert {key: (said.reason, said.detail) for key, said in opinions.items()} == {
            ("b", 1): ("path-down", "no answer")
        }
    else:
        assert not opinions


def test_the_carrier_is_named_first_and_slaves_that_are_gone_are_nothing() -> None:
    down = PathReport(Standing.DOWN, why="no answer")
    links = {"b": [Link(1, "eth1", carrier=False), Link(2, "eth2"), Link(3, "eth3")]}
    seen = Seen(links, {("b", 1): down, ("b", 2): down, ("b", 9): down, ("c", 3): down})
    judged = Health(SOURCES).judge(0, seen)
    assert [verdict.reason for verdict in judged.verdicts.values()] == [
        "no-carrier",
        "path-down",
        "",
    ]
    assert judged.next_change is None
    assert Health(SOURCES).judge(0, Seen(SLAVES)).verdicts["b", 1] == Verdict(True)
