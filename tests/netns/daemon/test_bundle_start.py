"""What a daemon starts with: files of which one has a mistake, and what an earlier one left."""

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, machine, slave, traffic, wait_for

pytestmark = pytest.mark.netns


def test_a_start_with_a_bad_file_keeps_what_an_earlier_daemon_left() -> None:
    first = configuration(bundle([slave(1)]))
    second = configuration(bundle([slave(2)], name="ipeql1", addresses="addresses: [10.8.0.1/24]"))
    with Lab([None, None]) as lab, Ipeqld(lab.a, first) as daemon:
        lab.plain_receiver()
        other = daemon.config / "other.yaml"
        other.write_text(second)
        daemon.ipeql("reload")
        before = machine(lab)
        daemon.process.kill()
        daemon.process.wait()
        other.write_text(second.replace("bandwidth", "bandwith"))
        with traffic(lab):
            daemon.start()
            daemon.wait_log("unknown key")
            wait_for(lambda: daemon.status()["daemon"])
            status = daemon.status()
            assert [each["name"] for each in status["bundles"]] == ["ipeql0"]
            assert [problem["code"] for problem in status["problems"]] == ["IPQ-C011"]
            assert machine(lab) == before
            other.unlink()
            daemon.ipeql("reload")
        assert machine(lab) != before
