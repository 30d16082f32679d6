"""A shaper upon a tun bundle that holds packets, in the guest; test_dataplanes.py runs it."""

from collections.abc import Iterator

import pytest

from lab.demo.scenarios import MBIT, MS, Path, capacity
from lab.network import ipeqld
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import TcpFlow, UdpStream
from tests.vm.recorder import SLOWNESS

pytestmark = pytest.mark.netns

PATHS = (Path(20 * MBIT, 5 * MS), Path(20 * MBIT, 50 * MS))
GIVEN = 0.995
"""Of each rate, what the configuration has."""

SHAPED = 0.98
"""Of the bandwidths given, the shaper's rate: both as docs/methods.md advises."""

SECONDS, WARM_UP = 6, 2

_SLAVES = "".join(
    f"      - {{name: eth{number}, bandwidth: {path.rate * GIVEN:.0f}bit, "
    f"lag: {path.delay // MS}ms}}\n"
    for number, path in enumerate(PATHS, start=1)
)
CONFIGURATION = f"""\
version: 1
bundles:
  ipeql0:
    method: bw_lag_eq
    backend: tun
    addresses: [10.9.0.1/24]
    slaves:
{_SLAVES}"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Join two hosts by lines of one rate and unlike lags."""
    with Lab([None] * len(PATHS)) as lab:
        lab.plain_receiver()
        for link, path in zip(lab.names, PATHS, strict=True):
            line = f"netem delay {path.delay // 1000}us rate {path.rate}bit limit 1000"
            for host in (lab.a, lab.b):
                host.segment_in_software(link)
                host.run("tc", *f"qdisc add dev {link} root {line}".split())
        yield lab


def test_a_call_beside_a_download_has_its_turn(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipeqld, "START_TIMEOUT_S", ipeqld.START_TIMEOUT_S * SLOWNESS)
    monkeypatch.setattr(ipeqld, "STOP_TIMEOUT_S", ipeqld.STOP_TIMEOUT_S * SLOWNESS)
    rate = sum(path.rate for path in PATHS) * GIVEN * SHAPED
    with Ipeqld(lab.a, CONFIGURATION):
        for line in (
            f"replace dev ipeql0 root handle 1: tbf rate {rate:.0f}bit burst 3kb latency 100ms",
            "add dev ipeql0 parent 1: fq_codel",
        ):
            lab.a.run("tc", "qdisc", *line.split())
        call = UdpStream(lab, rate=50, size=160)
        download = TcpFlow(lab, seconds=SECONDS)
        share = download.finish(WARM_UP).goodput / capacity(*PATHS)
        result = call.finish()
    late = sorted(result.delays)[int(0.95 * result.received)]
    assert result.lost == 0
    assert late <= PATHS[1].delay + 25 * MS
    assert share >= 0.95
