"""docs/two-uplinks.md, and what befalls its uplinks."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ipeql.cli import client
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import RECEIVER, SECOND, UdpResult, UdpStream
from tests.netns.paths import recipe as wireguard
from tests.netns.paths.recipe import FIBRE, LTE, UPLINKS, Recipe, Uplink

pytestmark = [
    pytest.mark.netns,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not (shutil.which("wg-quick") and shutil.which("wireguard-go")),
        reason="needs wg-quick and wireguard-go: apt install wireguard-tools wireguard-go",
    ),
]

HOME = "10.9.0.1"
RATE = 100
"""Datagrams a second in each direction."""

MOMENT_S = 1.5
"""Of traffic before and after each change: what it breaks has shown by then.

So little traffic goes by the fibre alone: the packets arrive earlier by it.
"""

MS = SECOND // 1000
UNDER_WAY = 200 * MS
"""What was sent so long before a change may be lost by it."""

LONGEST = SECOND
"""An outage, and a gap between two arrivals."""

PATIENCE_S = 30
"""WireGuard asks an end that has forgotten it anew after 15 s."""

Ends = dict[str, Ipeqld]
"""The daemons at home and at the server."""

DOWN = {
    "home": ("path-down", "no answer (asked: 10.9.0.2)"),
    "server": ("path-down", "no answer (asked: 10.9.0.1)"),
}
GONE = ("absent", "no such link")
PULLED = ("no-uplink", "eth0: no signal on the link")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([]) as lab:
        wireguard.connect(lab)
        yield lab


@pytest.fixture
def recipe(lab: Lab, tmp_path: Path) -> Recipe:
    recipe = Recipe(lab, tmp_path)
    for host in (lab.a, lab.b):
        recipe.up(host)
    return recipe


@pytest.fixture
def ends(lab: Lab, recipe: Recipe) -> Iterator[Ends]:
    with Ipeqld(lab.b, recipe.server) as server, Ipeqld(lab.a, recipe.home) as home:
        yield {"home": home, "server": server}


def shown(daemon: Ipeqld) -> dict[Uplink, dict[str, Any]]:
    """Return the tunnels' part of the status document, which the command prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME_DIRECTORY", str(daemon.runtime))
        return tunnels(client.call("Describe"))


def tunnels(status: dict[str, Any]) -> dict[Uplink, dict[str, Any]]:
    (bundle,) = status["bundles"]
    labelled = {slave["label"]: slave for slave in bundle["slaves"]}
    return {uplink: labelled[uplink.tunnel] for uplink in UPLINKS}


def wait_for_state(daemon: Ipeqld, uplink: Uplink, state: str) -> str:
    """Wait until the tunnel has come to a state, and return the reason that is shown for it."""
    deadline = time.monotonic() + PATIENCE_S
    while (slave := shown(daemon)[uplink])["state"] != state:
        assert time.monotonic() < deadline, f"{uplink.tunnel} is {slave['state']}, not {state}"
        time.sleep(0.1)
    return str(slave["reason"])


def wait_until_both_work(ends: Ends) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for daemon in ends.values():
        while {slave["path"]["standing"] for slave in shown(daemon).values()} != {"up"}:
            assert time.monotonic() < deadline, "the far end does not answer over both tunnels"
            time.sleep(0.1)
        for uplink in UPLINKS:
            wait_for_state(daemon, uplink, "active")


def used(ends: Ends) -> dict[str, set[Uplink]]:
    """Return by which tunnels each end sends from now on."""

    def sent() -> dict[str, dict[Uplink, int]]:
        return {
            end: {uplink: slave["packets"] for uplink, slave in shown(daemon).items()}
            for end, daemon in ends.items()
        }

    before = sent()
    time.sleep(MOMENT_S)
    return {
        end: {uplink for uplink, packets in counts.items() if packets > before[end][uplink]}
        for end, counts in sent().items()
    }


def outages(result: UdpResult, changes: Sequence[int]) -> list[int]:
    """Return for how long datagrams were lost after each change, ns."""
    spans = []
    for begin, end in pairwise([*changes, time.monotonic_ns()]):
        lost = [each for each in result.lost_at if begin <= each + UNDER_WAY < end]
        spans.append(lost[-1] - lost[0] if lost else 0)
    return spans


def check(streams: Sequence[UdpStream], changes: Sequence[int]) -> None:
    """End the streams: each went on within a second of each change, and loses nothing after it."""
    for stream in streams:
        result = stream.finish()
        spans = outages(result, changes)
        print("ms:", result.longest_gap // MS, [span // MS for span in spans], "lost:", result.lost)
        assert result.longest_gap < LONGEST
        assert max(spans) < LONGEST


def endure(
    lab: Lab,
    ends: Ends,
    fault: AbstractContextManager[None],
    reasons: Mapping[str, tuple[str, str]] = DOWN,
) -> None:
    """Have a fault of the fibre under traffic; ``reasons``: what status says of it at which end."""
    wait_until_both_work(ends)
    streams = [UdpStream(lab, RECEIVER, rate=RATE), UdpStream(lab, HOME, rate=RATE, back=True)]
    assert all(FIBRE in uplinks for uplinks in used(ends).values())
    changes = [time.monotonic_ns()]
    with fault:
        for end, (state, reason) in reasons.items():
            assert wait_for_state(ends[end], FIBRE, state) == reason
        assert used(ends) == {end: {LTE} for end in ends}
        named = tunnels(ends["home"].status())[FIBRE]
        assert (named["state"], named["reason"]) == reasons["home"]
        changes.append(time.monotonic_ns())
    wait_until_both_work(ends)
    assert all(FIBRE in uplinks for uplinks in used(ends).values())
    check(streams, changes)


def endure_another_port(lab: Lab, recipe: Recipe, ends: Ends) -> None:
    """Have the NAT bind anew while only the server sends: home's probes tell it the new port."""
    wait_until_both_work(ends)
    before = recipe.endpoint(FIBRE)
    stream = UdpStream(lab, HOME, rate=RATE, back=True)
    time.sleep(MOMENT_S)
    changes = [time.monotonic_ns()]
    wireguard.rebind(lab)
    assert FIBRE in used(ends)["server"]
    check([stream], changes)
    assert recipe.endpoint(FIBRE) != before
    wait_until_both_work(ends)


def test_traffic_goes_on_whatever_befalls_an_uplink(lab: Lab, recipe: Recipe, ends: Ends) -> None:
    endure(lab, ends, wireguard.pulled(lab, FIBRE), DOWN | {"home": PULLED})
    endure(lab, ends, wireguard.silent(lab, FIBRE))
    endure(lab, ends, recipe.down(lab.b, FIBRE), DOWN | {"server": GONE})
    endure(lab, ends, recipe.down(lab.a, FIBRE), DOWN | {"home": GONE})
    endure_another_port(lab, recipe, ends)
