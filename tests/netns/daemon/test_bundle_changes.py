"""Changes at run time, by the command and by ipeql-enslave, under 1000 packets/s."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import RECEIVER
from tests.netns.bundle import USUAL, carries, traffic, usable, wait_for

pytestmark = pytest.mark.netns

NOTHING = "nothing to do\n"
SHIM = "import sys, ipeql.cli.shim; sys.argv[0] = 'ipeql_enslave'; ipeql.cli.shim.main()"


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def ipeql_enslave(daemon: Ipeqld, *arguments: str) -> str:
    """Run the shim beside the daemon and return its stdout."""
    process = daemon.host.popen(
        "env",
        f"RUNTIME_DIRECTORY={daemon.runtime}",
        *(sys.executable, "-c", SHIM, *arguments),
        stdout=subprocess.PIPE,
    )
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return stdout


def test_by_the_command(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab, RECEIVER):
        assert daemon.ipeql("set", "ipeql0", "method=bw_load", "count=packets") != NOTHING
        daemon.ipeql("free", "ipeql0", "eth2")
        assert usable(daemon) == ["eth1"]
        wait_for(carries(daemon, "eth1"))
        assert daemon.ipeql("reload") == NOTHING
        assert usable(daemon) == ["eth1"]
        shown = daemon.ipeql("show", "ipeql0")
        assert "method: bw_load  # transient\n" in shown
        assert "# eth2 is freed: transient\n" in shown
        assert "transient: count, method, eth2 freed" in daemon.ipeql("status")
        daemon.ipeql("enslave", "ipeql0", "eth2", "--bandwidth", "50Mbit", "--lag", "1ms")
        wait_for(carries(daemon, "eth2"))
        daemon.ipeql("revert")
        assert "transient" not in daemon.ipeql("show", "ipeql0")
        assert daemon.ipeql("plan") == NOTHING


def test_by_the_name_of_old(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab, RECEIVER):
        ipeql_enslave(daemon, "-d", "ipeql0", "eth2")
        assert usable(daemon) == ["eth1"]
        ipeql_enslave(daemon, "ipeql0", "eth2", "10000000")
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])
        ipeql_enslave(daemon, "--method", "bw_load", "ipeql0")
        shown = ipeql_enslave(daemon, "ipeql0")
        assert "  method bw_load count=bytes\n" in shown
        assert "  eth2: active, bandwidth 10Mbit\n" in shown
    assert "{name: eth2, bandwidth: 10Mbit, use: always, up: true}  # transient\n" in daemon.ipeql(
        "show", "ipeql0"
    )


def test_they_outlive_a_daemon_that_is_killed(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab, RECEIVER):
        daemon.ipeql("free", "ipeql0", "eth2")
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait(10)
        assert daemon.ipeql("plan") == NOTHING
        daemon.start()
        daemon.ipeql("wait-online")
        assert usable(daemon) == ["eth1"]
        assert daemon.ipeql("plan") == NOTHING


def test_what_is_saved_is_in_a_file_of_its_own(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab, RECEIVER):
        daemon.ipeql("set", "ipeql0/eth1", "bandwidth=20Mbit", "--save")
        place = daemon.config / "saved.yaml"
        assert f"# {daemon.config}/lab.yaml:7, bandwidth: {place}:4\n" in daemon.ipeql(
            "show", "ipeql0"
        )
        assert daemon.ipeql("revert") == NOTHING
        assert (daemon.config / "lab.yaml").read_text() == USUAL


def test_the_files_of_another_directory_are_not_the_daemons(daemon: Ipeqld, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\n")
    for verb in (["apply"], ["reload"], ["free", "ipeql0", "eth1"], ["revert"]):
        done = daemon.run_ipeql("--config", str(tmp_path), *verb)
        assert done.returncode == 1, verb
        assert "ipeqld runs with the files of" in done.stderr
    assert usable(daemon) == ["eth1", "eth2"]
    assert daemon.ipeql("apply") == NOTHING
