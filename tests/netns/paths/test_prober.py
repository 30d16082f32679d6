"""Two hosts that probe each other over two links."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipeql.probe.channel.task import BundleTask
from ipeql.state import Rung, Standing
from lab.network.hosts import Lab
from lab.network.shaper import Shape
from tests.netns.bundle import wait_for
from tests.netns.paths.probers import Probing, give_addresses, probing

pytestmark = pytest.mark.netns

MS = 10**6
LINKS = ("eth1", "eth2")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    shapes = [Shape(rate=20_000_000, delay=5 * MS), Shape(rate=20_000_000, delay=20 * MS)]
    with Lab(shapes) as lab:
        give_addresses(lab, lab.a, lab.b)
        yield lab


def all_up(*probers: Probing) -> bool:
    return all(
        len(found := each.reports()) == len(LINKS)
        and all(report.standing is Standing.UP for report in found.values())
        for each in probers
    )


@pytest.mark.parametrize("version", [4, 6])
def test_two_hosts_measure_their_paths_by_stamp(lab: Lab, version: int) -> None:
    with probing(lab, lab.a, version) as a, probing(lab, lab.b, version) as b:
        wait_for(lambda: all_up(a, b))
        for found in (a.reports(), b.reports()):
            assert {each.rung for each in found.values()} == {Rung.COUNTED}
            assert found["eth1"].round_trip is not None and found["eth2"].round_trip is not None
            assert found["eth1"].round_trip >= 10 * MS
            assert found["eth2"].round_trip >= 40 * MS
        pinged = {each["name"]: each for each in a.ping()}
        assert pinged["eth1"]["reason"] == ""
        assert pinged["eth2"]["round_trip_ns"] >= 40 * MS


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("by", ["icmp", "auto"])
def test_a_host_that_does_not_reflect_is_asked_by_echo(lab: Lab, version: int, by: str) -> None:
    with probing(lab, lab.a, version, by=by) as a:
        wait_for(lambda: all_up(a))
        assert {each.rung for each in a.reports().values()} == {Rung.ICMP}


def test_a_missing_key_is_a_problem_until_somebody_writes_it(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"

    def with_key(task: BundleTask) -> BundleTask:
        return replace(task, key_file=str(key))

    with (
        probing(lab, lab.a, change=with_key, by="stamp", key_file=str(key)) as a,
        probing(lab, lab.b, change=with_key, by="stamp", key_file=str(key)) as b,
    ):
        wait_for(lambda: [each["code"] for each in a.message.get("problems", ())] == ["IPQ-E015"])
        assert str(key) in a.message["problems"][0]["message"]
        assert a.ping() == []
        key.write_text("secret\n")
        wait_for(lambda: all_up(a, b))
        assert a.message["problems"] == []
