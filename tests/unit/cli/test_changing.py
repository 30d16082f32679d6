"""What the ``ipeql`` command changes, by the daemon or in a file."""

import json
from pathlib import Path

import pytest

from ipeql.errors import ApplyError, Code, ConfigError, Mark, Problem
from tests.unit.cli.command import VALID, Daemon, run

CHANGE = {"action": "SetUp", "bundle": "ipeql0", "text": "~ up ipeql0"}


def test_reload_prints_what_it_changed(daemon: Daemon) -> None:
    assert run("reload").stdout == "nothing to do\n"
    daemon.changes["actions"] = [CHANGE]
    assert run("reload").stdout == "~ up ipeql0\n"
    assert json.loads(run("reload", "--json").stdout) == daemon.changes


def test_reload_of_a_bad_configuration_shows_where_it_is_bad(daemon: Daemon) -> None:
    mark = Mark("/etc/ipeql/a.yaml", 3, 5, "    methd: bw_load", 5)
    daemon.fault = ConfigError(Problem(Code.UNKNOWN_KEY, "unknown key", "say 'method'", mark))
    done = run("reload")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "/etc/ipeql/a.yaml:3:5: error: unknown key [IPQ-C011]\n"
        "    3 |     methd: bw_load\n"
        "      |     ^^^^^\n"
        "  help: say 'method'\n"
    )
    done = run("--json", "reload")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, done.stderr, error["exit_code"]) == (4, "", 4)
    assert error["problems"][0]["line"] == 3


def test_apply_ends_with_the_status_of_what_went_wrong(daemon: Daemon) -> None:
    daemon.changes["problems"] = [Problem(Code.NAME_TAKEN, "ipeql0: taken").to_json()]
    assert run("apply").returncode == 1
    daemon.changes["problems"] += [Problem(Code.NOT_IN_SYNC, "ipeql0: not in sync").to_json()]
    done = run("apply")
    assert done.returncode == 5
    assert "not in sync [IPQ-A002]" in done.stderr
    daemon.fault = ApplyError(Problem(Code.APPLY_FAILED, "refused"))
    assert run("apply").returncode == 5


def test_plan_says_by_its_status_whether_there_are_changes(daemon: Daemon) -> None:
    assert run("plan", "--exit-code").returncode == 0
    daemon.changes["actions"] = [CHANGE]
    done = run("plan", "--exit-code")
    assert (done.returncode, done.stdout) == (10, "~ up ipeql0\n")
    assert run("plan").returncode == 0


ENSLAVE = {"bundle": "ipeql0", "enslave": {"name": "eth3", "bandwidth": "20Mbit", "lag": "15ms"}}
SET = {"bundle": "ipeql0", "set": {"method": "round_robin", "packets-per-slave": 3}}
SET_PROBE = {
    "bundle": "ipeql0",
    "set": {"probe": {"to": "10.9.0.2", "port": 8620}, "reflect": ["10.9.0.0/24"]},
}
SET_SLAVE = {"bundle": "ipeql0", "set-slave": {"name": "eth1", "up": False, "via6": "fe80::1"}}


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("enslave ipeql0 eth3 --bandwidth 20Mbit --lag 15ms", ENSLAVE),
        ("free ipeql0 eth3", {"bundle": "ipeql0", "free": "eth3"}),
        ("set ipeql0 method=round_robin packets-per-slave=3", SET),
        ('set ipeql0 probe={"to":"10.9.0.2","port":8620} reflect=[10.9.0.0/24]', SET_PROBE),
        ("set ipeql0/eth1 up=false via6=fe80::1", SET_SLAVE),
        ("revert", ""),
        ("revert ipeql0", "ipeql0"),
    ],
)
def test_changes_are_the_daemon_s_to_make(daemon: Daemon, line: str, change: object) -> None:
    daemon.changes["actions"] = [CHANGE]
    assert run(*line.split()).stdout == "~ up ipeql0\n"
    assert daemon.asked == [change]


def test_saving_writes_a_file_and_tells_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    from ipeql.config import load

    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "a.yaml").write_text(VALID)
    save = ("--config", str(etc), "--save")
    assert run("enslave", "ipeql0", "eth3", "--bandwidth", "1Mbit", *save).returncode == 4
    assert not (etc / "saved.yaml").exists()
    done = run("enslave", "ipeql0", "eth3", "--bandwidth", "20Mbit", "--lag", "15ms", *save)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("set", "ipeql0", "max-hold=100ms", *save).returncode == 0
    assert daemon.asked == [
        ENSLAVE | {"saved": True},
        {"bundle": "ipeql0", "set": {"max-hold": "100ms"}, "saved": True},
    ]
    bundle = load([etc / "a.yaml", etc / "saved.yaml"]).bundles["ipeql0"]
    assert [slave.label for slave in bundle.slaves] == ["eth1", "wwan*,02:00:00:00:00:01", "eth3"]
    assert dict(bundle.parameters)["max_hold"] == 100_000_000
    assert (etc / "a.yaml").read_text() == VALID
    shown = run("--config", str(etc), "show", "ipeql0").stdout
    assert f"max-hold: 100ms  # {etc}/saved.yaml:5\n" in shown
    (etc / "saved.yaml").write_text("version: 1\n")
    done = run("free", "ipeql0", "eth1", *save)
    assert done.returncode == 4
    assert "was not written by --save" in done.stderr


def test_without_a_daemon_only_what_is_saved_can_change(runtime: Path, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "a.yaml").write_text(VALID)
    assert run("--config", str(etc), "free", "ipeql0", "eth1").returncode == 8
    done = run("--config", str(etc), "free", "ipeql0", "eth1", "--save")
    assert (done.returncode, "is for its next start" in done.stderr) == (0, True)
    assert "# eth1 is freed: " in run("--config", str(etc), "show", "ipeql0").stdout
    assert run("--config", str(etc), "free", "ipeql7", "eth1", "--save").returncode == 9
