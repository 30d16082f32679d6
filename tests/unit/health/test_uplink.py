"""The source for uplinks: which it objects to, and what it says beside the others."""

from dataclasses import replace

import pytest

from ipeql.health import SOURCES, Health, Seen, Uplink
from ipeql.state import Link, PathReport, Standing

WG = Link(1, "wg0")
WWAN = Link(3, "wwan0")
SLAVES = {"b": [WG, Link(2, "wg1")]}


@pytest.mark.parametrize(
    ("link", "detail"),
    [
        (None, "wwan0 is not there"),
        (replace(WWAN, up=False, carrier=False), "wwan0: the link is set down"),
        (replace(WWAN, carrier=False), "wwan0: no signal on the link"),
        (WWAN, ""),
    ],
)
def test_an_uplink_that_carries_nothing_is_objected_to(link: Link | None, detail: str) -> None:
    _, opinions = Uplink().judge(0, Seen(SLAVES, uplinks={("b", 1): ("wwan0", link)}))
    expected = {("b", 1): ("no-uplink", detail)} if detail else {}
    assert {slave: (said.reason, said.detail) for slave, said in opinions.items()} == expected


def test_an_uplink_that_is_gone_is_named_before_the_silence_that_follows() -> None:
    paths = {("b", 1): PathReport(Standing.DOWN, why="no answer")}
    seen = Seen(SLAVES, paths, {("b", 1): ("wwan0", None)})
    verdicts = Health(SOURCES).judge(0, seen).verdicts
    assert [verdict.reason for verdict in verdicts.values()] == ["no-uplink", ""]
