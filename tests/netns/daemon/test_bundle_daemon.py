"""The daemon comes and goes: what stays, what is restored, what it leaves alone."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import (
    USUAL,
    bundle,
    carries,
    configuration,
    machine,
    rp_filter,
    slave,
    traffic,
    usable,
    wait_for,
    worker_pid,
)

pytestmark = pytest.mark.netns

NONE = configuration()
ERROR = 1


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        for link in ("eth1", "eth2"):
            lab.a.sysctl(f"net/ipv4/conf/{link}/rp_filter", "1")
        lab.a.add_address("eth1", ip_interface("10.80.0.1/24"))
        lab.a.add_route("eth2", "10.81.0.0/24", "10.77.2.2")
        yield lab


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def restart(daemon: Ipeqld) -> None:
    daemon.log.clear()
    daemon.start()
    daemon.ipeql("wait-online", "--timeout", "10s")


def test_a_killed_daemon_is_not_missed_and_the_next_one_adopts(lab: Lab, daemon: Ipeqld) -> None:
    pid = worker_pid(daemon)
    with traffic(lab):
        daemon.process.kill()
        daemon.process.wait()
        wait_for(carries(daemon, "eth1", "eth2"))
        assert "2/2 slaves usable" in daemon.ipeql("status")
        running = machine(lab)
        restart(daemon)
        wait_for(carries(daemon, "eth1", "eth2"))
    assert worker_pid(daemon) == pid
    assert machine(lab) == running
    daemon.reload(NONE)
    assert (rp_filter(lab, "eth1"), rp_filter(lab, "eth2")) == (1, 1)
    daemon.stop()
    assert not [line for line in daemon.log if "+ " in line or "revive" in line]


def test_an_end_leaves_the_machine_as_it_was(lab: Lab) -> None:
    before = machine(lab)
    for end in (signal.SIGTERM, signal.SIGINT):
        with Ipeqld(lab.a, USUAL) as daemon:
            assert machine(lab) != before
            os.kill(daemon.process.pid, end)
            assert daemon.process.wait(10) == 0
            assert machine(lab) == before
            assert [path.name for path in daemon.runtime.glob("tun-*")] == []


def test_a_bundle_removed_from_the_configuration_leaves_no_trace(lab: Lab, daemon: Ipeqld) -> None:
    lab.a.run("ip", "route", "add", "10.82.0.0/24", "dev", "ipeql0", "proto", "static")
    daemon.reload(configuration(bundle(method="bw_load")))
    assert "10.82.0.0/24 dev ipeql0" in lab.a.run("ip", "route")
    daemon.reload(NONE)
    without = machine(lab)
    assert "ipeql0" not in lab.a.run("ip", "link")
    assert (rp_filter(lab, "eth1"), rp_filter(lab, "eth2")) == (1, 1)
    daemon.stop()
    assert machine(lab) == without


def test_bundles_kept_at_the_end_are_adopted(lab: Lab) -> None:
    with Ipeqld(lab.a, USUAL, "--keep") as daemon:
        pid = worker_pid(daemon)
        with traffic(lab):
            running = machine(lab)
            assert daemon.stop() == 0
            assert machine(lab) == running
            wait_for(carries(daemon, "eth1", "eth2"))
            restart(daemon)
            wait_for(carries(daemon, "eth1", "eth2"))
        assert worker_pid(daemon) == pid
        daemon.reload(NONE)


def test_a_name_that_is_taken_is_refused_and_others_go_on(lab: Lab, daemon: Ipeqld) -> None:
    lab.a.run("ip", "link", "add", "ipeql1", "type", "veth", "peer", "name", "foreign")
    try:
        foreign = lab.a.run("ip", "-d", "link", "show", "ipeql1")
        taken = bundle([slave(2)], name="ipeql1", addresses="addresses: [10.10.0.1/24]")
        daemon.write(configuration(bundle([slave(1)]), taken))
        with traffic(lab):
            refused = daemon.run_ipeql("reload")
            assert refused.returncode == ERROR
            assert "[IPQ-E001]" in refused.stderr
            assert usable(daemon) == ["eth1"]
            wait_for(carries(daemon, "eth1"))
        assert lab.a.run("ip", "-d", "link", "show", "ipeql1") == foreign
        status = {each["name"]: each for each in daemon.status()["bundles"]}
        assert (status["ipeql0"]["state"], status["ipeql1"]["state"]) == ("ready", "failed")
        daemon.stop()
        assert lab.a.run("ip", "-d", "link", "show", "ipeql1") == foreign
    finally:
        lab.a.delete("ipeql1")


def test_a_second_daemon_in_the_same_directory_gives_way(lab: Lab, daemon: Ipeqld) -> None:
    before = machine(lab)
    second = lab.a.popen(
        *("env", f"RUNTIME_DIRECTORY={daemon.runtime}", sys.executable, "-m", "ipeql.daemon"),
        *("--config", str(daemon.config)),
        stderr=subprocess.PIPE,
    )
    _, said = second.communicate(timeout=10)
    assert second.returncode == ERROR
    assert f"ipeqld runs already in {daemon.runtime} (process {daemon.process.pid})" in said
    assert "[IPQ-E005]" in said
    assert machine(lab) == before
    with traffic(lab):
        assert daemon.status()["bundles"][0]["state"] == "ready"


def test_the_service_manager_hears_and_no_bus_is_needed(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")

        def heard() -> str:
            while (said := manager.recv(4096).decode()).startswith("EXTEND_TIMEOUT_USEC="):
                pass
            return said

        with Ipeqld(lab.a, USUAL) as daemon:
            assert heard().splitlines() == [
                "READY=1",
                "STATUS=generation 1: 1 bundles, 2/2 slaves usable",
            ]
            daemon.reload(USUAL)
            assert heard().startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert heard().splitlines() == [
                "READY=1",
                "STATUS=generation 2: 1 bundles, 2/2 slaves usable",
            ]
            daemon.stop()
            assert heard() == "STOPPING=1"
