"""The ``ipeql`` command whatever the verb: without a daemon, with a bug, its help."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.command import ROOT, Daemon, run, start


@pytest.mark.parametrize("verb", ["reload", "monitor"])
def test_without_a_daemon(runtime: Path, verb: str) -> None:
    done = run(verb)
    assert (done.returncode, done.stdout) == (8, "")
    assert "ipeqld is not running" in done.stderr
    assert "help: start it: systemctl start ipeql" in done.stderr


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


def test_help_teaches_by_example(runtime: Path) -> None:
    from ipeql.cli.main import ipeql as command

    assert "Exit status:" in run("--help").stdout
    for verb in command.commands.values():
        assert "Example: " in (verb.help or ""), verb.name
    assert run("nonsense").returncode == 2
    assert run("status", "--nonsense").returncode == 2


def test_the_command_starts_without_what_it_does_not_need() -> None:
    probe = (
        "import sys, ipeql.cli.main; heavy = {'rich', 'pyroute2', 'pydantic', 'yaml', 'asyncio'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
