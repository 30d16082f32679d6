"""What the ``ipeql`` command shows, as people and scripts read it."""

import contextlib
import json
import os
import pty
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import ipeql
from ipeql.errors import ApplyError, Code, Problem
from tests.unit.cli.command import GOLDEN, ROOT, STATUS, VALID, Daemon, run, start


def test_status_is_plain_text_in_a_pipe(daemon: Daemon) -> None:
    done = run("status")
    assert done.stdout == (GOLDEN / "status.txt").read_text()
    assert done.stderr == (
        "ipeql: error: /etc/ipeql/b.yaml is a directory [IPQ-C001]\n  help: remove it\n"
    )
    assert done.returncode == 3  # one of its bundles is failed


@pytest.mark.parametrize("arguments", [("status", "--json"), ("--json", "status")])
def test_status_as_json_wherever_the_option_stands(
    daemon: Daemon, arguments: tuple[str, ...]
) -> None:
    assert json.loads(run(*arguments).stdout) == STATUS


def test_status_of_one_bundle(daemon: Daemon) -> None:
    shown = json.loads(run("status", "ipeql1", "--json").stdout)
    assert [bundle["name"] for bundle in shown["bundles"]] == ["ipeql1"]
    done = run("status", "ipeql7")
    assert done.returncode == 9
    assert done.stderr == (
        "ipeql: error: no bundle is called 'ipeql7' [IPQ-D002]\n"
        "  help: there is ipeql0, ipeql1, ipeql2\n"
    )


@pytest.mark.parametrize("colour", [True, False])
def test_status_on_a_terminal_is_coloured_unless_unwanted(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "110")
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = pty.openpty()
    with start("status", stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:
            while data := terminal.read(65536):
                shown += data
    assert (b"\x1b[32mactive" in shown) is colour
    assert "███▉".encode() in shown
    assert process.returncode == 3


def test_watching_in_a_pipe_repeats_until_interrupted(daemon: Daemon) -> None:
    with start("status", "--watch", "--json") as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline()) for _ in range(2)] == [STATUS, STATUS]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")


def test_watching_on_a_terminal_redraws_and_gives_it_back(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    ours, theirs = pty.openpty()
    with start("status", "--watch", stdout=theirs) as process:
        os.close(theirs)
        shown, interrupted = b"", False
        with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:
            while data := terminal.read(65536):
                shown += data
                if not interrupted and shown.count(b"bw_lag_eq on tun") >= 2:
                    process.send_signal(signal.SIGINT)
                    interrupted = True
    assert process.returncode == 0
    assert shown.rstrip().endswith(b"\x1b[?25h")  # the cursor is shown again


def test_monitor_prints_events_until_the_daemon_ends(daemon: Daemon) -> None:
    with start("monitor") as process:
        assert process.stdout is not None
        assert daemon.watched.wait(10)
        event = {"event": "slave", "bundle": "ipeql0", "slave": "eth1", "message": "no-carrier"}
        daemon.loop.call_soon_threadsafe(daemon.events.publish, event)
        assert process.stdout.readline().partition(" ")[2] == "ipeql0/eth1 slave: no-carrier\n"
        daemon.loop.call_soon_threadsafe(daemon.stop.set)
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 8
    assert "ipeqld is not running (it has ended)" in stderr


def test_monitor_ends_well_on_interrupt(daemon: Daemon) -> None:
    with start("monitor", "--json") as process:
        assert daemon.watched.wait(10)
        daemon.loop.call_soon_threadsafe(daemon.events.publish, {"event": "test"})
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"event": "test"}
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")


def test_wait_online(daemon: Daemon) -> None:
    done = run("wait-online", "--timeout", "1ms")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ipeql: error: ipeql0 is degraded: fewer usable slaves than min-slaves, 3 [IPQ-D003]",
        "ipeql: error: ipeql1 is failed: ipeql1: no backend supports it: there is no backend bpf"
        " [IPQ-D003]",
        "ipeql: error: ipeql2 is down: no slave is usable [IPQ-D003]",
    ]
    with start("wait-online", "ipeql0") as process:
        ready = STATUS["bundles"][0] | {"state": "ready", "reason": ""}
        daemon.document = STATUS | {"bundles": [ready]}
        process.communicate(timeout=10)
    assert process.returncode == 0
    assert run("wait-online", "ipeql9").returncode == 9
    assert run("wait-online", "--timeout", "soon").returncode == 2


def test_waiting_for_a_daemon_that_does_not_come(runtime: Path) -> None:
    done = run("wait-online", "--timeout", "1ms")
    assert done.returncode == 1
    assert "ipeqld is not running" in done.stderr


def test_check(runtime: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(VALID)
    bad.write_text(VALID.replace("method:", "methd:"))
    done = run("check", str(good))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: 1 bundle, 2 slaves\n", "")
    assert run("check", "--json", str(good)).stdout.startswith('{\n  "bundles": 1')
    done = run("check", str(bad))
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{bad}:4:5: error: " in done.stderr
    done = run("--config", str(tmp_path), "check")
    assert done.returncode == 4
    assert str(good) in done.stderr or str(bad) in done.stderr
    assert run("--config", str(tmp_path / "nowhere"), "check").returncode == 2
    (tmp_path / "empty").mkdir()
    done = run("check", "--config", str(tmp_path / "empty"))
    assert (done.returncode, done.stdout) == (0, "ok: 0 bundles, 0 slaves\n")
    assert "no *.yaml in" in done.stderr


def test_what_show_prints_is_the_same_configuration(runtime: Path, tmp_path: Path) -> None:
    from ipeql.config import load

    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "a.yaml"
    file.write_text(VALID)
    done = run("--config", str(file.parent), "show", "ipeql0")
    assert f"  ipeql0:  # {file}:3\n" in done.stdout
    assert f"# {file}:11\n" in done.stdout
    assert "queue-limit: 100ms\n" in done.stdout
    shown = tmp_path / "shown.yaml"
    shown.write_text(done.stdout)
    again = run("show", "ipeql0", "--json", "--config", str(file.parent))
    (before,), (after,) = load([file]).bundles.values(), load([shown]).bundles.values()
    given = dict(before.parameters)
    assert {name: dict(after.parameters)[name] for name in given} == given
    assert json.loads(again.stdout)["configuration"]["slaves"][1]["up"] is False
    for field in ("name", "method", "slaves", "mtu", "addresses", "routes", "poll_interval"):
        assert getattr(after, field) == getattr(before, field)
    assert run("--config", str(file.parent), "show", "ipeql1").returncode == 9


def test_show_asks_the_daemon_what_it_uses(daemon: Daemon) -> None:
    assert "    max-hold: 200ms  # transient\n" in run("show", "ipeql0").stdout


def test_schema_and_version(runtime: Path) -> None:
    assert json.loads(run("schema").stdout)["$schema"].startswith("https://json-schema.org/")
    assert run("version").stdout == f"ipeql {ipeql.__version__}\n"
    assert json.loads(run("version", "--json").stdout) == {"version": ipeql.__version__}


ANSWERED = {"name": "eth1", "ifindex": 2, "to": "10.9.0.2", "rung": "stamp", "reason": ""}
SILENT = {"name": "eth2", "ifindex": 3, "to": "10.9.0.2", "rung": "none", "round_trip_ns": None}


def test_metrics_are_those_of_the_daemon(daemon: Daemon) -> None:
    done = run("metrics")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'ipeql_slave_sent_bytes_total{bundle="ipeql0",slave="eth1"} 1200000\n' in done.stdout
    assert "ipeql_daemon_running 1.0\n" in done.stdout
    assert "# EOF" not in done.stdout  # the textfile collector reads the older format
    refused = run("metrics", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "ipeql status --json" in refused.stderr


def test_ping_says_what_became_of_each_probe(daemon: Daemon) -> None:
    silent = SILENT | {"reason": "no answer within 1 s"}
    daemon.pinged = [ANSWERED | {"round_trip_ns": 10_400_000}, silent]
    done = run("ping", "ipeql0", "--count", "2")
    asked = "eth1 to 10.9.0.2: 10.4 ms by STAMP\neth2 to 10.9.0.2: no answer within 1 s\n"
    summary = "\neth1: 2 of 2 answered, 10.4 ms to 10.4 ms, median 10.4 ms\neth2: 0 of 2 answered\n"
    assert (done.returncode, done.stdout) == (0, asked + asked + summary)
    daemon.pinged = [silent]
    done = run("ping", "ipeql0", "--json")
    assert done.returncode == 3
    shown = {"schema": "ipeql-ping/1", "bundle": "ipeql0", "slaves": [silent]}
    assert json.loads(done.stdout) == shown


def test_paths_are_a_table_of_those_that_are_probed(daemon: Daemon) -> None:
    lines = run("paths").stdout.splitlines()
    assert lines[0] == "ipeql0"
    assert [line.split()[0] for line in lines[1:]] == ["PATH", "eth1", "ppp0", "wwan0", "wwan1"]
    (bundle,) = json.loads(run("paths", "ipeql0", "--json").stdout)["bundles"]
    assert [slave["path"]["standing"] for slave in bundle["slaves"]] == [
        "up",
        "down",
        "suspended",
        "down",
        "unknown",
    ]
    done = run("paths", "ipeql2")
    assert (done.stdout, "no slave is probed" in done.stderr) == ("", True)
    assert run("paths", "nonsense").returncode == 9


def looked(seconds: float, **changed: object) -> dict[str, Any]:
    """Return what the daemon says of its paths so long after the clock began."""
    slaves = STATUS["bundles"][0]["slaves"]
    shown = [
        {"name": slave["name"], "ifindex": slave["ifindex"], "path": slave["path"] | changed}
        for slave in slaves
        if slave["path"]
    ]
    return {
        "bundle": "ipeql0",
        "time_ns": time.monotonic_ns() + int(seconds * 1e9),
        "slaves": shown,
    }


def test_a_recording_is_a_table_with_units(daemon: Daemon, tmp_path: Path) -> None:
    daemon.looked = [looked(number / 10) for number in range(2)]
    done = run("record", "ipeql0", "--for", "100ms")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    times = [float(row.partition(",")[0]) for row in rows]
    assert times == sorted(times)
    shown = "\n".join([head, *(row.partition(",")[2] for row in rows), ""])
    expected = GOLDEN / "record.csv"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(shown)
    assert shown == expected.read_text()


def test_a_recording_goes_into_files(daemon: Daemon, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    daemon.looked = [
        looked(0, bandwidth_state="startup", bandwidth_bps=10_000_000),
        looked(0.1, standing="suspended", round_trip_ns=None),
        looked(0.2, standing="up", bandwidth_state=None, bandwidth_bps=None),
    ]
    rows, picture = tmp_path / "rates.csv", tmp_path / "rates.png"
    files = ("--output", str(rows), "--plot", str(picture))
    done = run("record", "ipeql0", "--for", "200ms", *files)
    count = len(rows.read_text().splitlines()) - 1
    assert count >= 10 and count % 5 == 0
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"ipeql: {count} rows in {rows}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_was_recorded_before_the_daemon_failed_is_kept(daemon: Daemon, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    daemon.looked = [looked(0), looked(0.1)]
    daemon.fault = ApplyError(Problem(Code.NO_PROBE, "the prober is gone"))
    rows, picture = tmp_path / "rates.csv", tmp_path / "rates.png"
    done = run("record", "ipeql0", "--for", "60s", "--output", str(rows), "--plot", str(picture))
    assert done.returncode == 5
    assert "the prober is gone" in done.stderr
    assert len(rows.read_text().splitlines()) == 1 + 2 * 5
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("full", ["--output", "--plot"])
def test_a_recording_on_a_full_disk_says_so(daemon: Daemon, tmp_path: Path, full: str) -> None:
    pytest.importorskip("matplotlib")
    daemon.looked = [looked(0)]
    files = {"--output": str(tmp_path / "rates.csv"), "--plot": str(tmp_path / "rates.png")}
    files[full] = "/dev/full"
    done = run(
        "record", "ipeql0", "--for", "1ms", *(each for pair in files.items() for each in pair)
    )
    assert done.returncode == 1
    assert "cannot write /dev/full: No space left on device" in done.stderr
    assert "[IPQ-D010]" in done.stderr and "Traceback" not in done.stderr


def test_a_recording_as_json_has_an_object_a_line(daemon: Daemon) -> None:
    daemon.looked = [looked(0)]
    lines = run("record", "ipeql0", "--for", "1ms", "--json").stdout.splitlines()
    found = [json.loads(line)["slave"] for line in lines]
    assert found == ["eth1", "ppp0", "wwan0", "wwan1", "eth9"]


def test_without_matplotlib_no_recording_with_a_picture_begins(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    done = run("record", "ipeql0", "--plot", str(tmp_path / "rates.png"))
    assert done.returncode == 1
    assert "apt install python3-matplotlib" in done.stderr and "IPQ-D009" in done.stderr
