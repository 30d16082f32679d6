"""IPEQL as a service of systemd: start, reload, restart, stop, death."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from lab.network.traffic import UdpStream
from tests.system.conftest import CONFIGURATION
from tests.system.machine import Machine, overlay

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]

FILE = "/etc/ipeql/home.yaml"


def rp_filter(lab: Lab) -> str:
    return lab.a.call(lambda: Path("/proc/sys/net/ipv4/conf/eth1/rp_filter").read_text())


def test_a_configured_machine_boots_with_its_bundle(machine: Machine) -> None:
    machine.run("systemctl", "start", "network-online.target")
    assert "ipeql0  ready  round_robin" in machine.run("ipeql", "status")


def test_the_unit_is_right_and_locked_in(machine: Machine) -> None:
    units = ("ipeql.service", "ipeql-wait-online.service")
    verified = machine.try_("systemd-analyze", "verify", "--man=no", *units)
    assert (verified.returncode, verified.stderr) == (0, "")
    machine.run("systemd-analyze", "security", "--threshold=30", "ipeql.service")


def test_a_reload_returns_when_the_kernel_has_it(machine: Machine, lab: Lab) -> None:
    stream = UdpStream(lab, rate=1000)
    machine.write(FILE, CONFIGURATION.replace("[10.9.0.1/24]", "[10.9.0.1/24, 10.9.1.1/24]"))
    machine.run("systemctl", "reload", "ipeql")
    assert "10.9.1.1/24" in lab.a.run("ip", "address", "show", "dev", "ipeql0")
    assert stream.finish().lost == 0


def test_a_reload_fails_with_the_place_of_the_error(machine: Machine, lab: Lab) -> None:
    stream = UdpStream(lab, rate=1000)
    machine.write(FILE, CONFIGURATION.replace("addresses", "adresses"))
    assert machine.try_("systemctl", "reload", "ipeql").returncode != 0
    place = f"{FILE}:5:5: error: "
    shown = machine.run("systemctl", "status", "ipeql", "--lines=0")
    assert "Active: active (running)" in shown
    assert f'Status: "{place}' in shown
    said = machine.run("journalctl", "--unit=ipeql", "_COMM=ipeql", "--output=cat")
    assert said.startswith(place)
    assert "10.9.0.1/24" in lab.a.run("ip", "address", "show", "dev", "ipeql0")
    assert stream.finish().lost == 0


def test_a_restart_loses_no_packet(machine: Machine, lab: Lab) -> None:
    stream = UdpStream(lab, rate=1000)
    for _ in range(3):
        machine.run("systemctl", "restart", "ipeql")
    assert "ready" in machine.run("ipeql", "status")
    result = stream.finish()
    assert result.sent > 500
    assert result.lost == 0


def test_a_killed_daemon_is_replaced_and_no_packet_lost(machine: Machine, lab: Lab) -> None:
    stream = UdpStream(lab, rate=1000)
    show = ("systemctl", "show", "--value", "--property=ActiveState,MainPID", "ipeql")
    before = machine.run(*show)
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "ipeql")
    machine.wait(lambda: machine.run(*show) != before and "active" in machine.run(*show).split())
    assert stream.finish().lost == 0


def test_two_machines_talk_over_their_bundles(installed: Path) -> None:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab([None, None]))
        machines = []
        for host, address in ((lab.a, "10.9.0.1"), (lab.b, "10.9.0.2")):
            machine = Machine(stack.enter_context(overlay(installed)), host)
            configuration = CONFIGURATION.replace("10.9.0.1", address)
            machine.write(FILE, re.sub(", via: [0-9.]+", "", configuration))
            machines.append(stack.enter_context(machine))
            machine.run("systemctl", "start", "ipeql", "ipeql-wait-online")
        stream = UdpStream(lab, rate=1000, source="10.9.0.1")
        for machine in machines:
            machine.run("systemctl", "restart", "ipeql")
        result = stream.finish()
        assert (result.lost, result.duplicated) == (0, 0)


def test_a_stop_leaves_the_machine_as_it_was(tree: Path, lab: Lab) -> None:
    lab.a.sysctl("net/ipv4/conf/eth1/rp_filter", "1")
    with Machine(tree, lab.a) as machine:
        machine.write(FILE, CONFIGURATION)
        machine.run("systemctl", "start", "ipeql")
        assert rp_filter(lab) != "1\n"
        machine.run("systemctl", "stop", "ipeql")
        with pytest.raises(LookupError):
            lab.a.index("ipeql0")
        assert rp_filter(lab) == "1\n"
        assert machine.run("systemctl", "show", "--property=Result", "ipeql") == "Result=success\n"


def test_a_stop_leaves_bundles_that_are_to_be_kept(machine: Machine, lab: Lab) -> None:
    machine.write(
        "/etc/systemd/system/ipeql.service.d/keep.conf",
        "[Service]\nExecStart=\nExecStart=/usr/local/sbin/ipeqld --keep\n",
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "ipeql")
    stream = UdpStream(lab, rate=1000)
    machine.run("systemctl", "stop", "ipeql")
    machine.run("systemctl", "start", "ipeql")
    assert stream.finish().lost == 0


def test_a_bad_file_keeps_a_new_daemon_out_and_the_packets_going(
    machine: Machine, lab: Lab
) -> None:
    stream = UdpStream(lab, rate=1000)
    machine.write(FILE, CONFIGURATION.replace("addresses", "adresses"))
    assert machine.try_("systemctl", "restart", "ipeql").returncode != 0
    # It does not try again: what it would read is the same.
    shown = machine.run("systemctl", "show", "--property=ActiveState,NRestarts", "ipeql")
    assert shown.splitlines() == ["NRestarts=0", "ActiveState=failed"]
    machine.write(FILE, CONFIGURATION)
    machine.run("systemctl", "start", "ipeql")
    assert stream.finish().lost == 0


def test_a_dead_slave_does_not_hold_back_the_boot(tree: Path, lab: Lab) -> None:
    lab.set_carrier(lab.a, "eth2", False)
    with Machine(tree, lab.a) as machine:
        machine.write(FILE, CONFIGURATION)
        machine.run("systemctl", "start", "ipeql-wait-online")
        assert "eth2   no-carrier" in machine.run("ipeql", "status")


def test_too_few_slaves_hold_it_back_for_a_time(tree: Path, lab: Lab) -> None:
    lab.set_carrier(lab.a, "eth2", False)
    with Machine(tree, lab.a) as machine:
        machine.write(FILE, CONFIGURATION.replace("    slaves", "    min-slaves: 2\n    slaves"))
        machine.write(
            "/etc/systemd/system/ipeql-wait-online.service.d/test.conf",
            "[Service]\nExecStart=\nExecStart=/usr/local/bin/ipeql wait-online --timeout 1s\n",
        )
        machine.run("systemctl", "daemon-reload")
        assert machine.try_("systemctl", "start", "ipeql-wait-online").returncode != 0
        said = machine.run("journalctl", "--unit=ipeql-wait-online", "--output=cat")
        assert "ipeql0 is degraded: fewer usable slaves than min-slaves, 2" in said


def test_a_link_that_is_plugged_in_joins(tree: Path, lab: Lab) -> None:
    lab.delete_link("eth2")
    with Machine(tree, lab.a) as machine:
        machine.write(FILE, CONFIGURATION)
        machine.run("systemctl", "start", "ipeql")
        assert "eth2   absent" in machine.run("ipeql", "status")
        lab.create_link("eth2")
        machine.wait(lambda: "eth2   active" in machine.run("ipeql", "status"))


def test_what_is_done_by_hand_outlives_the_daemon(machine: Machine) -> None:
    machine.run("ipeql_enslave", "-d", "ipeql0", "eth2")
    machine.run("ipeql_enslave", "ipeql0", "eth2", "10000000")
    machine.run("ipeql_enslave", "--set", "packets-per-slave=3", "ipeql0")
    machine.run("systemctl", "restart", "ipeql")
    shown = machine.run("ipeql_enslave", "ipeql0")
    assert "method round_robin packets-per-slave=3" in shown
    assert "eth2: active, bandwidth 10Mbit" in shown
    assert "transient" in machine.run("ipeql", "show", "ipeql0")
    machine.run("ipeql", "revert")
    assert "packets-per-slave=1" in machine.run("ipeql_enslave", "ipeql0")


def test_networkd_and_networkmanager_leave_the_bundle_alone(machine: Machine, lab: Lab) -> None:
    """They would take every link they may, and drop what others have configured on it."""
    machine.write(
        "/etc/systemd/network/10-all.network",
        "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nKeepConfiguration=no\n",
    )
    stream = UdpStream(lab, rate=1000)
    machine.run("systemctl", "start", "NetworkManager", "systemd-networkd")
    machine.wait(lambda: "ipeql0" in machine.run("nmcli", "--terse", "device"))
    states = machine.run("nmcli", "--terse", "--fields=DEVICE,STATE", "device").splitlines()
    assert "ipeql0:unmanaged" in states
    assert "unmanaged-devices=interface-name:ipeql*" in machine.run(
        "NetworkManager", "--print-config"
    )
    listed = {line.split()[1]: line.split() for line in networkctl(machine)}
    assert listed["ipeql0"][-1] == "unmanaged"
    assert listed["eth1"][-1] != "unmanaged"  # it is awake, and would have
    assert "10.9.0.1/24" in lab.a.run("ip", "address", "show", "dev", "ipeql0")
    assert stream.finish().lost == 0


def networkctl(machine: Machine) -> list[str]:
    machine.wait(lambda: "pending" not in machine.run("networkctl", "list", "--no-legend"))
    return machine.run("networkctl", "list", "--no-legend").splitlines()
