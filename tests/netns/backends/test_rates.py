"""``rate`` is what the slaves carried in the last second; other callers do not change it."""

import os
import time
from collections.abc import Iterator

import pytest

from ipeql.backends.bpf import dataplane
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import UdpStream
from tests.netns.bundle import bundle, configuration, wait_for

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

RATE, SIZE, HEADERS = 200, 972, 28
SENT = pytest.approx(RATE * (SIZE + HEADERS) * 8, rel=0.5)
"""Bit/s; the machine that runs the test may be busy."""

SILENCE_S = 4.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None] * 2) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture(params=["bpf", "tun"])
def daemon(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Ipeqld]:
    if request.param == "bpf" and (reason := dataplane.unavailable()):
        pytest.skip(reason)
    with Ipeqld(lab.a, configuration(bundle(backend=request.param))) as daemon:
        yield daemon


def rate(daemon: Ipeqld) -> int:
    shown: int = daemon.status()["bundles"][0]["rate_bps"]
    return shown


def test_after_silence_and_beside_another_caller(lab: Lab, daemon: Ipeqld) -> None:
    assert rate(daemon) == 0
    time.sleep(SILENCE_S)
    stream = UdpStream(lab, rate=RATE, size=SIZE)
    time.sleep(2.5)
    assert [rate(daemon) for _ in range(4)] == [SENT] * 4
    time.sleep(1)
    assert rate(daemon) == SENT
    stream.finish()
    time.sleep(2.5)
    assert rate(daemon) < RATE


def test_without_the_daemon(lab: Lab, daemon: Ipeqld) -> None:
    daemon.process.kill()
    daemon.process.wait()
    stream = UdpStream(lab, rate=RATE, size=SIZE)
    time.sleep(2.5)
    assert rate(daemon) == SENT
    stream.finish()
    daemon.start()
    wait_for(lambda: daemon.run_ipeql("status").returncode == 0)
