"""A queueing discipline upon a bundle of the kernel module; test_kmod.py runs it in the guest."""

from collections.abc import Iterator

import pytest

from ipeql.state import BundleTable
from lab.network.hosts import Lab
from lab.network.traffic import TcpFlow, UdpStream
from tests.vm.kmod_bundle import BY_HAND, configure, ip, row, statistics

pytestmark = pytest.mark.netns

RATE = 20 * 10**6
LAGS_MS = (5, 50)
GIVEN = 0.995
"""Of the rate, as docs/methods.md advises."""

CAPACITY = 2 * RATE * 1448 / 1514
SECONDS, WARM_UP = 6, 2
MS = 10**6


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Join two hosts by lines of one rate and unlike lags, and have a bundle over them in a."""
    with Lab([None] * len(LAGS_MS)) as lab:
        lab.plain_receiver()
        for number, lag in enumerate(LAGS_MS, start=1):
            line = ("netem", "delay", f"{lag}ms", "rate", f"{RATE}bit", "limit", "1000")
            for host in (lab.a, lab.b):
                host.segment_in_software(f"eth{number}")
                host.run("tc", "qdisc", "add", "dev", f"eth{number}", "root", *line)
        ip(lab, *BY_HAND)
        rows = (row(number, int(RATE * GIVEN), lag * MS) for number, lag in enumerate(LAGS_MS, 1))
        configure(lab, BundleTable("bw_lag_eq", receive="bundle", slaves=tuple(rows)))
        lab.a.run("tc", "qdisc", "add", "dev", "ipeql0", "root", "fq_codel")
        lab.a.wait_running("ipeql0")
        yield lab
        ip(lab, "link del ipeql0")


def test_a_call_beside_a_download_has_its_turn(lab: Lab) -> None:
    download = TcpFlow(lab, seconds=SECONDS)
    call = UdpStream(lab, rate=50, size=160)
    goodput = download.finish(WARM_UP).goodput
    result = call.finish()
    assert result.lost == 0
    assert sorted(result.delays)[int(0.95 * result.received)] <= (max(LAGS_MS) + 25) * MS
    assert goodput >= 0.95 * CAPACITY
    assert not statistics(lab).dropped
