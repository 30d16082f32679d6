"""IPEQL on the system bus of a whole system, with its polkit."""

from pathlib import Path

import pytest

from lab.network.hosts import Lab
from tests.system.machine import Machine

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]

IPEQL0 = "/org/ipeql1/bundle/ipeql0"
NOBODY = ("setpriv", "--reuid=65534", "--clear-groups")
SET_METHOD = ("busctl", "call", "org.ipeql1", IPEQL0, "org.ipeql1.Bundle", "SetMethod", "s")
CHANGING = (
    ("/org/ipeql1", "org.ipeql1.Manager", "Reload"),
    ("/org/ipeql1", "org.ipeql1.Manager", "Apply"),
    ("/org/ipeql1", "org.ipeql1.Manager", "Revert"),
    (IPEQL0, "org.ipeql1.Bundle", "Enslave", "sa{sv}", "eth1", "0"),
    (IPEQL0, "org.ipeql1.Bundle", "Free", "s", "eth2"),
    (IPEQL0, "org.ipeql1.Bundle", "SetMethod", "s", "auto_bw"),
    (IPEQL0, "org.ipeql1.Bundle", "SetParameters", "a{sv}", "1", "mtu", "u", "1400"),
    (IPEQL0, "org.ipeql1.Bundle", "SetSlaveParameters", "sa{sv}", "eth1", "1", "lag", "s", "5ms"),
    (IPEQL0, "org.ipeql1.Bundle", "Revert"),
)
RULE = """\
polkit.addRule(function(action, subject) {
    if (action.id == "org.ipeql1.set-parameters" && subject.user == "nobody")
        return polkit.Result.YES;
});
"""


def test_it_is_there_for_everyone_and_changes_for_whom_polkit_allows(machine: Machine) -> None:
    assert IPEQL0 in machine.run(*NOBODY, "busctl", "tree", "--list", "org.ipeql1")
    machine.run(*NOBODY, "busctl", "introspect", "org.ipeql1", IPEQL0)
    for action in ("reload", "apply", "enslave", "set-parameters"):
        machine.run("pkaction", "--action-id", f"org.ipeql1.{action}")
    refused = machine.try_(*NOBODY, *SET_METHOD, "auto_bw")
    assert refused.returncode != 0
    assert "polkit does not allow org.ipeql1.set-parameters" in refused.stderr
    machine.write("/etc/polkit-1/rules.d/ipeql.rules", RULE)
    machine.wait(lambda: machine.try_(*NOBODY, *SET_METHOD, "auto_bw").returncode == 0)
    assert "method: auto_bw  # transient\n" in machine.run("ipeql", "show", "ipeql0")


def test_a_user_may_change_nothing(machine: Machine) -> None:
    for call in CHANGING:
        refused = machine.try_(*NOBODY, "busctl", "call", "org.ipeql1", *call)
        assert f"{call[2]} is not permitted: polkit does not allow" in refused.stderr
        machine.run("busctl", "call", "org.ipeql1", *call)


def test_a_message_starts_the_daemon_only_where_it_is_enabled(tree: Path, lab: Lab) -> None:
    plan = ("busctl", "call", "org.ipeql1", "/org/ipeql1", "org.ipeql1.Manager", "Plan")
    with Machine(tree, lab.a) as machine:
        assert machine.try_(*NOBODY, *plan).returncode != 0
        assert machine.try_("systemctl", "is-active", "ipeql").stdout == "inactive\n"
        machine.run("systemctl", "enable", "ipeql")
        machine.run(*NOBODY, *plan)


def test_transient_changes_end_with_the_uptime(machine: Machine) -> None:
    machine.run(*SET_METHOD, "auto_bw")
    machine.run("ipeql", "set", "ipeql0", "min-slaves=2", "--save")
    machine.run("systemctl", "restart", "ipeql")
    assert "method: auto_bw  # transient\n" in machine.run("ipeql", "show", "ipeql0")
    machine.__exit__(None, None, None)
    machine.__enter__()
    shown = machine.run("ipeql", "show", "ipeql0")
    assert "method: round_robin\n" in shown
    assert "min-slaves: 2  # /etc/ipeql/saved.yaml:4\n" in shown
