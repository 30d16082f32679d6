"""``ipeql-enslave`` under each of its names."""

import subprocess
import sys
from pathlib import Path

import pytest

from ipeql.errors import Code, ConfigError, Problem
from tests.unit.cli.command import GOLDEN, ROOT, Daemon


def run(called: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = (
        f"import sys; sys.argv[0] = '/usr/sbin/{called}'; import ipeql.cli.shim as s; s.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def enslave(slave: str, bandwidth: str) -> object:
    return {"bundle": "ipeql0", "enslave": {"name": slave, "bandwidth": bandwidth}}


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("eql_enslave ipeql0 lo 28800", [enslave("lo", "28800bit")]),
        ("ipeql_enslave ipeql0 lo 10000000", [enslave("lo", "10000000bit")]),
        ("ipeql-enslave ipeql0 lo 1.5M", [enslave("lo", "1.5Mbit")]),
        ("ifenslave -v ipeql0 lo", [enslave("lo", "device")]),
        ("ipeql-enslave -f ipeql0 lo lo", [enslave("lo", "device"), enslave("lo", "device")]),
        (
            "ifenslave -d ipeql0 eth1 eth2",
            [{"bundle": "ipeql0", "free": "eth1"}, {"bundle": "ipeql0", "free": "eth2"}],
        ),
        ("eql_emancipate ipeql0 eth1", [{"bundle": "ipeql0", "free": "eth1"}]),
        (
            "ipeql_enslave --method bw_poll --set count=packets ipeql0",
            [{"bundle": "ipeql0", "set": {"count": "packets", "method": "bw_poll"}}],
        ),
        (
            "ipeql_enslave --set lag=5ms ipeql0 eth1",
            [{"bundle": "ipeql0", "set-slave": {"name": "eth1", "lag": "5ms"}}],
        ),
    ],
)
def test_each_form_asks_for_the_change_it_means(
    daemon: Daemon, line: str, changes: list[object]
) -> None:
    done = run(*line.split())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert daemon.asked == changes


@pytest.mark.parametrize("arguments", [["-a"], ["ipeql0"]])
def test_query(daemon: Daemon, arguments: list[str]) -> None:
    done = run("ipeql_enslave", *arguments)
    text = (GOLDEN / "enslave.txt").read_text()
    assert done.stdout == (text if arguments == ["-a"] else text.partition("ipeql1")[0])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("eql_enslave ipeql0 lo", 1, "eql_enslave: eql_enslave MASTER SLAVE BITS_PER_SECOND\n"),
        ("eql_enslave ipeql0 lo fast", 1, "eql_enslave: expected bits per second"),
        ("eql_enslave -d ipeql0 lo 9600", 1, "eql_enslave: eql_enslave MASTER SLAVE BITS"),
        ("ifenslave", 2, "ifenslave: MASTER is missing\n"),
        ("ifenslave -a ipeql0", 2, "ifenslave: -a takes no other arguments\n"),
        ("ifenslave -d -f ipeql0 lo", 2, "ifenslave: only one of -a, -c, -d, -f, -h, -V\n"),
        ("ifenslave -d ipeql0", 2, "ifenslave: SLAVE is missing\n"),
        ("ifenslave -x", 2, "ifenslave: No such option"),
        ("ipeql-enslave --method bw_poll ipeql0 lo lo", 2, "ipeql-enslave: --method and --set"),
        ("ifenslave -c ipeql0 lo", 1, "ipeql: error: every slave of a bundle is active [IPQ-D004]"),
        ("ifenslave ipeql0 gone", 1, "ipeql: error: gone: no such link [IPQ-D005]\n"),
        ("ipeql-enslave ipeql7", 1, "ipeql: error: no bundle is called 'ipeql7' [IPQ-D002]\n"),
    ],
)
def test_mistakes(daemon: Daemon, line: str, status: int, message: str) -> None:
    done = run(*line.split())
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(message)
    assert daemon.asked == []


def test_a_slave_that_fails_does_not_keep_the_others_out(daemon: Daemon) -> None:
    done = run("ifenslave", "ipeql0", "gone", "lo")
    assert done.returncode == 1
    assert daemon.asked == [enslave("lo", "device")]
    daemon.fault = ConfigError(Problem(Code.METHOD_NEEDS, "ipeql0/lo: bw_lag needs the lag"))
    done = run("ifenslave", "ipeql0", "lo")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ipeql: error: ipeql0/lo: bw_lag needs the lag [IPQ-C020]\n"


def test_without_a_daemon(runtime: Path) -> None:
    done = run("eql_enslave", "ipeql0", "lo", "28800")
    assert done.returncode == 1
    assert done.stderr.startswith("ipeql: error: ipeqld is not running")


def test_help_shows_every_form(runtime: Path) -> None:
    done = run("ipeql-enslave", "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ipeql-enslave MASTER SLAVE BITS_PER_SECOND" in done.stdout
    assert run("ifenslave", "-V").stdout.startswith("ipeql-enslave ")
