"""What ``--json`` prints of a real bundle is as the JSON Schemas say."""

import json
import select
from collections.abc import Iterator
from itertools import count

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, slave, wait_for
from tests.schemas import check

pytestmark = pytest.mark.netns

PROBED = configuration(
    bundle(
        (slave(1), slave(2), "{match: {name: none*}, bandwidth: 1Mbit, lag: 1ms}"),
        "bw_lag_eq",
        "probe: {to: 10.9.0.2}",
    )
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        lab.plain_receiver(lab.names[1])
        yield lab


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, PROBED) as daemon:
        yield daemon


def test_plan_and_reload_and_status(daemon: Ipeqld) -> None:
    daemon.write(PROBED.replace("100Mbit", "90Mbit"))
    planned = json.loads(daemon.ipeql("plan", "--json"))
    check("plan", planned)
    assert planned["actions"]
    check("plan", json.loads(daemon.ipeql("reload", "--json")))
    wait_for(lambda: daemon.status()["bundles"][0]["slaves"][0]["path"]["round_trip_ns"])
    shown = daemon.status()
    check("status", shown)
    assert [each["state"] for each in shown["bundles"][0]["slaves"]][2] == "absent"


def test_a_mistake_has_its_position(daemon: Ipeqld) -> None:
    before = (daemon.config / "lab.yaml").read_text()
    daemon.write(before.replace("bw_lag_eq", "bw_lag_eqq"))
    refused = daemon.run_ipeql("reload", "--json")
    assert refused.returncode
    check("status", daemon.status())
    assert daemon.status()["problems"][0]["line"]
    daemon.reload(before)


def test_events_have_a_time(lab: Lab, daemon: Ipeqld) -> None:
    monitor = daemon.popen_ipeql("monitor", "--json")
    lines = monitor.stdout
    assert lines
    try:
        holds = count(100)

        def is_told() -> bool:
            daemon.ipeql("set", "ipeql0", f"max-hold={next(holds)}ms")
            return bool(select.select([lines], (), (), 1)[0])

        wait_for(is_told)
        lab.set_carrier(lab.a, "eth1", False)
        kinds = set[str]()
        while not {"slave", "applied"} <= kinds:
            event = json.loads(lines.readline())
            check("event", event)
            kinds.add(event["event"])
    finally:
        monitor.terminate()
        lab.set_carrier(lab.a, "eth1", True)
