"""A prober that is stopped, killed, without its port or its key: what becomes of paths and traffic.

The far end's prober is probed by it, and probes it: neither loses a path for what hinders one.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.shaper import Shape
from lab.network.traffic import UdpStream
from tests.netns.bundle import bundle, configuration, wait_for
from tests.netns.paths.ends import (
    PATIENCE_S,
    answers,
    probers,
    problems,
    shown,
    standings,
    states,
    suspensions,
)

pytestmark = pytest.mark.netns

MS = 10**6
ACTIVE = {"eth1": "active", "eth2": "active"}
UP = ["up", "up"]
BY_STAMP = ", by: stamp"


KNOWN = ("bw_load", ", bandwidth: 20Mbit")
MEASURED = ("bw_lag_eq", "")
"""Packets are bound late then, by what the prober says of the queues."""


def written(number: int, probe: str = "", how: tuple[str, str] = KNOWN) -> str:
    """Return the configuration of host a (1) or b (2); ``how``: the method, keys of the slaves."""
    method, keys = how
    return configuration(
        bundle(
            [f"{{name: eth{slave}{keys}}}" for slave in (1, 2)],
            method,
            f"probe: {{to: 10.9.0.{3 - number}{probe}}}",
            addresses=f"addresses: [10.9.0.{number}/24]",
        )
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([Shape(delay=5 * MS), Shape(delay=20 * MS)]) as lab:
        yield lab


@contextmanager
def ends(
    lab: Lab, probe: str = BY_STAMP, how: tuple[str, str] = KNOWN
) -> Iterator[tuple[Ipeqld, Ipeqld]]:
    """Have a daemon in each host; ``probe``: more keys of the probes of host a."""
    with ExitStack() as stack:
        a = stack.enter_context(Ipeqld(lab.a, written(1, probe, how)))
        yield a, stack.enter_context(Ipeqld(lab.b, written(2, BY_STAMP, how)))


def are_up(*daemons: Ipeqld) -> bool:
    return all(standings(daemon) == UP for daemon in daemons)


def watched(seconds: float, *daemons: Ipeqld) -> set[str]:
    """Return the states that slaves have at any time."""
    seen: set[str] = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for daemon in daemons:
            seen |= set(states(daemon).values())
        time.sleep(0.05)
    return seen


def test_a_prober_that_was_stopped_goes_on_as_before(lab: Lab) -> None:
    with ends(lab) as (a, b):
        wait_for(lambda: are_up(a, b), PATIENCE_S)
        stream = UdpStream(lab)
        (pid,) = probers(lab.a)
        before = suspensions(a)
        os.kill(pid, signal.SIGSTOP)
        try:
            seen = watched(3, a, b)
        finally:
            os.kill(pid, signal.SIGCONT)
        begin = time.monotonic()
        wait_for(lambda: are_up(a, b), PATIENCE_S)
        took = time.monotonic() - begin
        seen |= watched(2, a, b)
        assert seen == {"active"}
        assert probers(lab.a) == [pid]
        assert suspensions(a) == before
        assert took < 2
        print(f"\nstopped for 3 s: as before after {took * 1000:.0f} ms")
        result = stream.finish()
        assert result.lost == 0
        for daemon in (a, b):
            daemon.stop()
            assert [line for line in daemon.log if "path-down" in line or "Traceback" in line] == []


@pytest.mark.parametrize("how", [KNOWN, MEASURED], ids=["known", "measured"])
def test_a_prober_that_is_killed_again_and_again_costs_no_datagram(
    lab: Lab, how: tuple[str, str]
) -> None:
    with ends(lab, how=how) as (a, b):
        wait_for(lambda: are_up(a, b), PATIENCE_S)
        stream = UdpStream(lab)
        gone = []
        for host in (lab.a, lab.b) * 3:
            (pid,) = probers(host)
            os.kill(pid, signal.SIGKILL)
            begin = time.monotonic()
            wait_for(lambda host=host, pid=pid: probers(host) not in ([], [pid]), PATIENCE_S)  # type: ignore[misc]
            gone.append(time.monotonic() - begin)
        begin = time.monotonic()
        wait_for(lambda: are_up(a, b), PATIENCE_S)
        took = time.monotonic() - begin
        result = stream.finish()
        print(
            f"\nkilled 6 times: anew after {[round(each, 2) for each in gone]} s, "
            f"all up {took:.2f} s after that; {result.lost} of {result.sent} lost"
        )
        assert result.lost == 0
        for daemon in (a, b):
            daemon.stop()
            told = [line for line in daemon.log if "prober" in line]
            assert told == ["ipeqld: the prober ended (SIGKILL); starting another"]
            assert not any("path-down" in line or "Traceback" in line for line in daemon.log)


def test_a_port_that_another_program_has_is_named_once_until_that_ends(lab: Lab) -> None:
    def hold() -> socket.socket:
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind(("0.0.0.0", 862))
        return other

    with ExitStack() as stack:
        other = stack.enter_context(lab.a.call(hold))
        a, b = stack.enter_context(ends(lab))
        wait_for(lambda: problems(a) == ["IPQ-E016"], PATIENCE_S)
        wait_for(lambda: are_up(a, b), PATIENCE_S)
        (pid,) = probers(lab.a)
        before = suspensions(a) + suspensions(b)
        assert watched(4, a, b) == {"active"}
        assert suspensions(a) + suspensions(b) == before
        wait_for(lambda: shown(a)["slaves"][0]["path"]["loss"] < 0.1, PATIENCE_S)
        other.close()
        wait_for(lambda: problems(a) == [], PATIENCE_S)
        assert are_up(a, b)
        assert probers(lab.a) == [pid]
        assert told(a, "IPQ-E016") == 1


def test_a_key_that_is_missing_is_named_once_until_it_is_there(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    with ends(lab, f"{BY_STAMP}, key-file: {key}") as (a, b):
        wait_for(lambda: problems(a) == ["IPQ-E015"], PATIENCE_S)
        (pid,) = probers(lab.a)
        assert watched(3, a) == {"active"}
        os.mkfifo(key)  # nobody writes into it: whoever waited for that would probe nothing
        time.sleep(1.5)
        assert problems(a) == ["IPQ-E015"]
        key.unlink()
        key.write_text("\n")
        time.sleep(1.5)
        assert problems(a) == ["IPQ-E015"]
        key.write_text("secret\n")
        wait_for(lambda: problems(a) == [], PATIENCE_S)
        b.reload(written(2, f"{BY_STAMP}, key-file: {key}"))
        wait_for(lambda: are_up(a, b), PATIENCE_S)
        wait_for(lambda: answers(a) == ["eth1", "eth2"], PATIENCE_S)
        assert probers(lab.a) == [pid]
        assert told(a, "cannot be read") == 1
        assert told(a, "is empty") == 1


def told(daemon: Ipeqld, text: str) -> int:
    """Return how many lines of the log have a text; the daemon ends."""
    daemon.stop()
    assert not any("Traceback" in line for line in daemon.log)
    return sum(text in line for line in daemon.log)
