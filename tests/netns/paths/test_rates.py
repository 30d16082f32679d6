"""Nothing is configured but the probe: what the paths carry and how they lag is measured."""

from collections.abc import Iterator

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.shaper import Shape
from lab.network.traffic import measure_tcp
from tests.netns.bundle import configuration, wait_for

pytestmark = pytest.mark.netns

MS = 10**6
MBIT = 10**6
PATIENCE_S = 60
RATES, DELAYS = (20, 20), (5, 50)
SUM = sum(RATES) * MBIT * 1448 / 1514
"""Payload that both links carry together, bit/s."""

FLOOR, TRIES = 0.6, 3


def text(own: int, far: int, keys: str = "") -> str:
    slaves = "".join(f"\n      - {{name: eth{number}{keys}}}" for number in (1, 2))
    return configuration(
        f"  ipeql0:\n    method: bw_lag_eq\n    backend: tun\n    addresses: [10.9.0.{own}/24]\n"
        f"    probe: {{to: 10.9.0.{far}}}\n    slaves:{slaves}"
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(
        [Shape(rate=r * MBIT, delay=d * MS) for r, d in zip(RATES, DELAYS, strict=True)]
    ) as lab:
        yield lab


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.b, text(2, 1)), Ipeqld(lab.a, text(1, 2)) as daemon:
        wait_for(lambda: all(path["lag_ns"] is not None for path in paths(daemon)), PATIENCE_S)
        yield daemon


def slaves(daemon: Ipeqld) -> list[dict[str, object]]:
    """Return what the status says of the slaves."""
    found: list[dict[str, object]] = daemon.status()["bundles"][0]["slaves"]
    return found


def paths(daemon: Ipeqld) -> list[dict[str, object]]:
    """Return what the status says of their paths."""
    return [dict(each["path"]) for each in slaves(daemon)]  # type: ignore[call-overload]


def share(lab: Lab, warmup: float) -> float:
    """Return what a flow brings of the sum: that of the first try above the floor, or the last."""
    for _ in range(TRIES):
        brought = measure_tcp(lab, seconds=10, warmup=warmup).goodput / SUM
        print(f"{brought:.3f} of the sum")
        if brought > FLOOR:
            break
    return brought


def test_two_links_without_a_number_are_used_both(lab: Lab, daemon: Ipeqld) -> None:
    """More than one link carries, where 0.93 is reached: a busy machine emulates links badly."""
    assert [each["bandwidth_state"] for each in paths(daemon)] == ["startup", "startup"]
    assert share(lab, warmup=0) > FLOOR
    known = slaves(daemon)
    assert all(each["bandwidth_measured"] for each in known)
    assert [each["bandwidth_state"] for each in paths(daemon)] != ["startup", "startup"]
    daemon.reload(text(1, 2, ", bandwidth: {auto: true, max: 2Mbit}"))
    wait_for(lambda: all(each["bandwidth_bps"] <= 2 * MBIT for each in slaves(daemon)), PATIENCE_S)  # type: ignore[operator]
    assert measure_tcp(lab, seconds=3).goodput < 6 * MBIT


def test_links_that_queue_each_flow_by_itself_are_used_both() -> None:
    """Their probes pass the data's queue by: without the far end's counts it is 0.2 to 0.5."""
    shapes = [Shape(rate=20 * MBIT, delay=delay * MS, fair=True) for delay in DELAYS]
    with Lab(shapes) as lab, Ipeqld(lab.b, text(2, 1)), Ipeqld(lab.a, text(1, 2)) as daemon:
        wait_for(lambda: all(path["lag_ns"] is not None for path in paths(daemon)), PATIENCE_S)
        assert share(lab, warmup=3) > FLOOR
        assert all(each["bandwidth_bps"] <= 30 * MBIT for each in slaves(daemon))  # type: ignore[operator]
