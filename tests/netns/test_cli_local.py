"""The command without a daemon, on real links in a namespace of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

import ipeql
from ipeql.backends.tun.backend import TunBackend
from ipeql.config import load
from ipeql.observe import snapshot
from ipeql.reconcile import Reconciler

pytestmark = pytest.mark.netns

ROOT = Path(ipeql.__file__).parents[1]
CONFIGURATION = """\
version: 1
bundles:
  ipeql0:
    method: bw_load
    addresses: [10.9.0.1/24]
    min-slaves: 2
    slaves:
      - {name: s1, bandwidth: 20Mbit}
      - {name: s2, bandwidth: 5Mbit}
    backend: tun
"""


class Namespace(Protocol):
    """What ``conftest`` makes."""

    name: str

    def ip(self, *commands: str) -> None: ...

    def run(self, body: Callable[[], object], timeout: float = 20) -> None: ...


class Machine:
    """A namespace with two links, a configuration, and the command."""

    def __init__(self, namespace: Namespace, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.namespace = namespace
        self.runtime = path / "run"
        self.runtime.mkdir()
        self.file = path / "etc" / "a.yaml"
        self.file.parent.mkdir()
        self.file.write_text(CONFIGURATION)
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(self.runtime))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.delenv("COLUMNS", raising=False)
        for name in ("s1", "s2"):
            namespace.ip(f"link add {name} type veth peer name {name}p", f"link set {name}p up")

    def ipeql(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        inside = ["nsenter", f"--net=/run/netns/{self.namespace.name}"]
        command = [sys.executable, "-m", "ipeql", "--config", str(self.file.parent), *arguments]
        done = subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=30, check=False
        )
        assert "Traceback" not in done.stderr
        return done

    async def start_dataplane(self) -> None:
        """Bring the bundle up and leave, as a daemon that dies does."""
        backend = TunBackend(self.runtime)
        result = await Reconciler({"tun": backend}, snapshot, self.runtime).run(load([self.file]))
        assert not result.problems
        await backend.close()

    async def remove(self) -> None:
        backend = TunBackend(self.runtime)
        await Reconciler({"tun": backend}, snapshot, self.runtime).destroy_all()
        await backend.close()


@pytest.fixture
def machine(namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(namespace, tmp_path, monkeypatch)


def test_before_anything_runs(machine: Machine) -> None:
    plan = machine.ipeql("plan", "--exit-code")
    assert plan.returncode == 10
    assert plan.stdout.splitlines()[0] == "+ create ipeql0 (tun)"
    status = machine.ipeql("status")
    assert (status.returncode, status.stdout.split()[:2]) == (3, ["ipeql0", "failed"])
    assert "the daemon is not running" in status.stderr
    apply = machine.ipeql("apply")
    assert (apply.returncode, apply.stdout) == (8, "")
    assert "only it can start the tun dataplane" in apply.stderr


def test_a_dataplane_that_outlived_its_daemon_is_read_and_changed(machine: Machine) -> None:
    machine.namespace.run(machine.start_dataplane)
    try:
        (bundle,) = json.loads(machine.ipeql("status", "--json").stdout)["bundles"]
        assert (bundle["state"], bundle["backend"], bundle["usable_slaves"]) == ("ready", "tun", 2)
        assert [slave["bandwidth_bps"] for slave in bundle["slaves"]] == [20_000_000, 5_000_000]
        assert machine.ipeql("plan", "--exit-code").stdout == "nothing to do\n"

        machine.file.write_text(CONFIGURATION.replace("5Mbit", "10Mbit"))
        apply = machine.ipeql("apply")
        assert (apply.returncode, apply.stderr) == (0, "")
        assert apply.stdout.startswith("~ configure ipeql0:")
        machine.namespace.ip("link set s1p down")
        (bundle,) = json.loads(machine.ipeql("status", "--json").stdout)["bundles"]
        assert bundle["state"] == "degraded"
        assert [slave["state"] for slave in bundle["slaves"]] == ["no-carrier", "active"]
        assert bundle["slaves"][1]["bandwidth_bps"] == 10_000_000
    finally:
        machine.namespace.run(machine.remove)


def test_a_foreign_interface_of_the_bundles_name_is_a_problem_not_a_victim(
    machine: Machine,
) -> None:
    machine.namespace.ip("link add ipeql0 type veth peer name other")
    apply = machine.ipeql("apply")
    assert apply.returncode == 1
    assert f"{machine.file}:3:3: error: ipeql0: " in apply.stderr
    assert "[IPQ-E001]" in apply.stderr
    machine.namespace.ip("link show ipeql0")
