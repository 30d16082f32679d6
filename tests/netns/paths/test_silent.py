"""Daemons at both ends, and a path between them that dies silently: left, told of, used again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.outage import silent
from lab.network.shaper import Shape
from lab.network.tap import Tap
from lab.network.trace import TRACES
from lab.network.traffic import UdpStream
from tests.netns.bundle import configuration, wait_for

pytestmark = pytest.mark.netns

MS = 10**6
MBIT = 10**6
PATIENCE_S = 20
"""A busy machine may take so long for what takes a tenth of a second."""

PAUSE_S = 0.3
"""Without a datagram for so long, a link is not used: of two links each has one every 2 ms."""


def text(own: int, far: int, *delays: int) -> str:
    """Return the configuration of the end ``own``, with links of 20 Mbit/s and ``delays`` in ms."""
    slaves = "".join(
        f"\n      - {{name: eth{number}, bandwidth: 20Mbit, lag: {delay}ms}}"
        for number, delay in enumerate(delays, start=1)
    )
    return configuration(
        f"  ipeql0:\n    method: bw_load\n    backend: tun\n    addresses: [10.9.0.{own}/24]\n"
        f"    probe: {{to: 10.9.0.{far}}}\n    slaves:{slaves}"
    )


@contextmanager
def ends(lab: Lab, *delays: int) -> Iterator[Ipeqld]:
    """Have the bundle at both ends; the one of host a is yielded."""
    with Ipeqld(lab.b, text(2, 1, *delays)), Ipeqld(lab.a, text(1, 2, *delays)) as daemon:
        yield daemon


def states(daemon: Ipeqld) -> dict[str, str]:
    """Return the state of each slave."""
    return {each["name"]: each["state"] for each in daemon.status()["bundles"][0]["slaves"]}


def standings(daemon: Ipeqld) -> set[str]:
    """Return where the paths stand."""
    return {each["path"]["standing"] for each in daemon.status()["bundles"][0]["slaves"]}


class Use:
    """Whether a stream uses a link."""

    def __init__(self, tap: Tap, port: int) -> None:
        self._tap = tap
        self._port = port

    def now(self) -> bool:
        """Return whether the stream uses the link from now on."""
        self._tap.datagrams(self._port)
        time.sleep(PAUSE_S)
        return bool(self._tap.datagrams(self._port))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([Shape(rate=20 * MBIT, delay=delay * MS) for delay in (5, 40)]) as lab:
        yield lab


def test_a_link_whose_own_queue_takes_nothing_is_as_silent_as_another(lab: Lab) -> None:
    qdisc = ("dev", "eth1", "root", "pfifo", "limit")
    with ends(lab, 5, 40) as daemon:
        wait_for(lambda: standings(daemon) == {"up"}, PATIENCE_S)
        stream = UdpStream(lab, rate=1000)
        lab.a.run("tc", "qdisc", "add", *qdisc, "0")
        try:
            wait_for(lambda: states(daemon)["eth1"] != "active", PATIENCE_S)
            assert states(daemon)["eth2"] == "active"
        finally:
            lab.a.run("tc", "qdisc", "delete", "dev", "eth1", "root")
        wait_for(lambda: standings(daemon) == {"up"}, PATIENCE_S)
        stream.finish()


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with ends(lab, 5, 40) as daemon:
        yield daemon


@pytest.mark.parametrize("towards", ["both", "b", "a"])
def test_a_silent_path_is_left_and_used_again(lab: Lab, daemon: Ipeqld, towards: str) -> None:
    """One-sided too: no answer comes back, whichever way it is that carries nothing."""
    where = {"both": None, "b": lab.b, "a": lab.a}[towards]
    with Tap(lab.a, "eth1") as tap:
        stream = UdpStream(lab)
        use = Use(tap, stream.port)
        wait_for(use.now, PATIENCE_S)
        with silent(lab, "eth1", where):
            wait_for(lambda: not use.now(), PATIENCE_S)
            wait_for(lambda: states(daemon)["eth1"] == "path-down", PATIENCE_S)
            assert states(daemon)["eth2"] == "active"
            wait_for(lambda: not use.now(), PATIENCE_S)
        wait_for(use.now, PATIENCE_S)
        wait_for(lambda: set(states(daemon).values()) == {"active"}, PATIENCE_S)
        result = stream.finish()
        assert result.received > result.sent // 2  # a busy machine notices late
        assert result.duplicated <= result.sent // 10, "what was given in vain, and only that"


def test_the_last_path_stays_in_use(lab: Lab, daemon: Ipeqld) -> None:
    wait_for(lambda: standings(daemon) == {"up"}, PATIENCE_S)
    with silent(lab, "eth1"):
        wait_for(lambda: states(daemon)["eth1"] == "path-down", PATIENCE_S)
        with silent(lab, "eth2"):
            wait_for(lambda: "up" not in standings(daemon), PATIENCE_S)
            time.sleep(2)
            assert states(daemon)["eth2"] == "active"
    wait_for(lambda: standings(daemon) == {"up"}, PATIENCE_S)


def test_a_path_that_varies_as_a_real_one_stays_in_use() -> None:
    """Starlink's recording has no silence of a second, so no path goes down."""
    recorded = Shape(
        delay=15 * MS,
        queue=500 * MS,
        trace=str(TRACES / "starlink.up"),
        delays=str(TRACES / "starlink.owd.csv"),
    )
    steady = Shape(rate=8 * MBIT, delay=25 * MS, queue=500 * MS)
    with Lab([recorded, steady]) as lab, ends(lab, 25, 25) as daemon:
        stream = UdpStream(lab, rate=300, size=1400)  # 20 % of both
        seen = set()
        for _ in range(8):
            time.sleep(1)
            seen |= set(states(daemon).values())
        assert seen == {"active"}
        assert stream.finish().received
