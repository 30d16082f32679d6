"""The ``ipeql`` command as people and scripts run it, with and without a daemon."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipeql
from ipeql.api.control import ControlServer
from ipeql.api.events import Events
from ipeql.errors import ApplyError, Code, ConfigError, Mark, Problem

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
ROOT = Path(ipeql.__file__).parents[1]
STATUS = json.loads((GOLDEN / "status.json").read_text())
CHANGE = {"action": "SetUp", "bundle": "ipeql0", "text": "~ up ipeql0"}
VALID = """\
version: 1
bundles:
  ipeql0:
    method: bw_lag_eq
    max-hold: 200ms
    mtu: 1400
    addresses: [10.9.0.1/24, "fd00:9::1/64"]
    routes:
      - {to: 192.168.40.0/24, via: 10.9.0.2, metric: 50}
    slaves:
      - {name: eth1, bandwidth: 100Mbit, lag: 5ms}
      - {match: {name: "wwan*", mac: "02:00:00:00:00:01"}, bandwidth: 20Mbit, lag: 45ms, up: false}
"""


class Daemon:
    """A real control socket in a thread; the answers are the test's."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = STATUS
        self.changes: dict[str, Any] = {"schema": "ipeql-plan/1", "actions": [], "problems": []}
        self.fault: Exception | None = None
        self.asked: list[object] = []
        self.events = Events()
        self.watched = threading.Event()

    async def describe(self) -> dict[str, Any]:
        return self.document

    async def plan(self) -> dict[str, Any]:
        return self.changes

    async def reload(self) -> dict[str, Any]:
        if self.fault:
            raise self.fault
        return self.changes

    async def apply(self) -> dict[str, Any]:
        return await self.reload()

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        self.asked.append(change | {"saved": True} if saved else change)
        return await self.reload()

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        self.asked.append(bundle)
        return self.changes

    async def show(self, bundle: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads((GOLDEN / "show.json").read_text())
        return shown

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        self.watched.set()
        return self.events.subscribe()

    async def serve(self, path: Path, up: threading.Event) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        async with ControlServer(self, path):
            up.set()
            await self.stop.wait()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "IPEQL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return directory


@pytest.fixture
def daemon(runtime: Path) -> Iterator[Daemon]:
    served, up = Daemon(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(served.serve(runtime / "control", up)), daemon=True
    )
    thread.start()
    assert up.wait(5)
    yield served
    with contextlib.suppress(RuntimeError):
        served.loop.call_soon_threadsafe(served.stop.set)
    thread.join(5)
    assert not thread.is_alive()


@contextlib.contextmanager
def start(*arguments: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "ipeql", *arguments],
        stdin=subprocess.DEVNULL,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    with start(*arguments) as process:
        stdout, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


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
SET_SLAVE = {"bundle": "ipeql0", "set-slave": {"name": "eth1", "up": False, "via6": "fe80::1"}}


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("enslave ipeql0 eth3 --bandwidth 20Mbit --lag 15ms", ENSLAVE),
        ("free ipeql0 eth3", {"bundle": "ipeql0", "free": "eth3"}),
        ("set ipeql0 method=round_robin packets-per-slave=3", SET),
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


@pytest.mark.parametrize("verb", ["reload", "monitor"])
def test_without_a_daemon(runtime: Path, verb: str) -> None:
    done = run(verb)
    assert (done.returncode, done.stdout) == (8, "")
    assert "ipeqld is not running" in done.stderr
    assert "help: start it: systemctl start ipeql" in done.stderr


def test_waiting_for_a_daemon_that_does_not_come(runtime: Path) -> None:
    done = run("wait-online", "--timeout", "1ms")
    assert done.returncode == 1
    assert "ipeqld is not running" in done.stderr


@pytest.mark.parametrize("answer", [b"", b"junk\n", b"[]\n", b"{}\n", b'{"error": {}}\n'])
def test_a_daemon_that_answers_nonsense_is_an_error(runtime: Path, answer: bytes) -> None:
    runtime.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime / "control"))
        listener.listen()
        with start("reload") as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
            _, stderr = process.communicate(timeout=10)
    assert process.returncode == (1 if answer else 8)
    assert stderr.startswith("ipeql: error: ipeqld ")


def test_a_bug_is_one_line_and_a_traceback_only_for_those_who_ask(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.document = {"problems": [], "bundles": [{"name": "ipeql0"}]}
    done = run("status")
    assert done.returncode == 1
    assert done.stderr.startswith("ipeql: internal error: KeyError('state'); please report it\n")
    monkeypatch.setenv("IPEQL_DEBUG", "1")
    with start("status") as process:
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "Traceback" in stderr


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


def test_help_teaches_by_example(runtime: Path) -> None:
    from ipeql.cli.main import ipeql as command

    assert "Exit status:" in run("--help").stdout
    for verb in command.commands.values():
        assert "Example: " in (verb.help or ""), verb.name
    assert run("nonsense").returncode == 2
    assert run("status", "--nonsense").returncode == 2


def test_bundle_names_complete(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_IPEQL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "ipeql status ipeql")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run().stdout == "plain,ipeql0\nplain,ipeql1\nplain,ipeql2\n"


def test_the_command_starts_without_what_it_does_not_need() -> None:
    probe = (
        "import sys, ipeql.cli.main; heavy = {'rich', 'pyroute2', 'pydantic', 'yaml', 'asyncio'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
