"""IPEQL as a service of systemd."""

import pytest

from ipeql.lab.hosts import Lab
from ipeql.lab.traffic import UdpStream
from tests.system.machine import Machine

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]


def test_a_configured_machine_boots_with_its_bundle(machine: Machine) -> None:
    machine.run("systemctl", "start", "network-online.target")
    assert "ready" in machine.run("ipeql", "status")


def test_a_restart_loses_no_packet(machine: Machine, lab: Lab) -> None:
    stream = UdpStream(lab, rate=1000)
    machine.run("systemctl", "restart", "ipeql")
    machine.run("ipeql", "wait-online")
    result = stream.finish()
    assert result.lost == 0 and result.sent > 500
