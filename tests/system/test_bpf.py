"""The eBPF dataplane under the real unit, and root's own commands beside it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipeql.backends.bpf import dataplane
from lab.network.hosts import Lab
from lab.network.traffic import UdpStream
from tests.system.conftest import CONFIGURATION
from tests.system.machine import Machine

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]

PINS = "/sys/fs/bpf/ipeql"
ALONE = ("env", "RUNTIME_DIRECTORY=/tmp/alone", "ipeql")
"""The command where it finds the daemon's files, but no daemon: it looks itself."""

OF_THE_UNIT = (
    *("setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf,+perfmon"),
    *("--inh-caps=-all", "--"),
)


@pytest.fixture
def machine(tree: Path, lab: Lab) -> Iterator[Machine]:
    """A machine on which the service runs with a bundle on bpf."""
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    machine = Machine(tree, lab.a, bpf=True)
    machine.write("/etc/ipeql/home.yaml", CONFIGURATION + "    backend: bpf\n")
    with machine:
        machine.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
        machine.run("systemctl", "start", "ipeql", "ipeql-wait-online")
        yield machine
        machine.run("systemctl", "stop", "ipeql")


def pins(machine: Machine) -> str:
    """Return what is pinned, each with the inode that is its own."""
    return machine.run("sh", "-c", f"find {PINS} -printf '%i %p\\n' | sort")


def shown(machine: Machine, *command: str) -> tuple[bool, str, str]:
    """Return whether a daemon answered, and the bundle's state and backend."""
    document = json.loads(machine.run(*command, "status", "--json"))
    (bundle,) = document["bundles"]
    return document["daemon"], bundle["state"], bundle["backend"]


@pytest.mark.parametrize("capabilities", [(), OF_THE_UNIT], ids=["all", "those of the unit"])
def test_root_finds_what_the_service_has_pinned(
    machine: Machine, lab: Lab, capabilities: tuple[str, ...]
) -> None:
    before = pins(machine)
    assert before.count("/ipeql0\n") == 1
    machine.run("mkdir", "/tmp/alone")
    machine.run("cp", "/run/ipeql/saved-slaves.json", "/tmp/alone")
    alone = (*capabilities, *ALONE)
    assert shown(machine, "ipeql") == (True, "ready", "bpf")
    assert shown(machine, *alone) == (False, "ready", "bpf")
    stream = UdpStream(lab, rate=1000)
    for command in (("ipeql",), alone):
        assert machine.run(*command, "plan") == "nothing to do\n"
        assert machine.run(*command, "apply") == "nothing to do\n"
    assert pins(machine) == before
    assert stream.finish().lost == 0


def test_a_restart_keeps_the_pins_and_a_stop_removes_them(machine: Machine, lab: Lab) -> None:
    before, stream = pins(machine), UdpStream(lab, rate=1000)
    machine.run("systemctl", "restart", "ipeql")
    assert stream.finish().lost == 0
    assert pins(machine) == before
    machine.run("systemctl", "stop", "ipeql")
    assert machine.try_("ls", PINS).returncode != 0
