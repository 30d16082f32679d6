"""What ``ipeql record`` makes of a daemon's paths."""

import csv
from itertools import pairwise
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.shaper import Shape
from lab.network.traffic import TcpFlow
from tests.netns.bundle import bundle, configuration, wait_for
from tests.netns.paths.ends import PATIENCE_S, answers

pytestmark = pytest.mark.netns

MS = 10**6
SLAVES = ("{name: eth1}", "{name: eth2}")
LINK = Shape(rate=20_000_000, delay=5 * MS)


def written(own: int, far: int) -> str:
    addresses = f"addresses: [10.9.0.{own}/24]"
    probe = f"probe: {{to: 10.9.0.{far}}}"
    return configuration(bundle(SLAVES, "bw_lag_eq", probe, addresses=addresses))


def test_a_recording_follows_the_paths(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file, picture = tmp_path / "paths.csv", tmp_path / "paths.png"
    with Lab([LINK] * 2) as lab, Ipeqld(lab.b, written(2, 1)), Ipeqld(lab.a, written(1, 2)) as a:
        wait_for(lambda: answers(a) == ["eth1", "eth2"], PATIENCE_S)
        flow = TcpFlow(lab, seconds=6)
        a.ipeql("record", "ipeql0", "--for", "3s", "--output", str(file), "--plot", str(picture))
        flow.finish()
        missing = a.run_ipeql("record", "ipeql7", "--for", "1s")
    with file.open(newline="") as recorded:
        rows = list(csv.DictReader(recorded))
    assert {row["slave"] for row in rows} == {"eth1", "eth2"}
    for slave in ("eth1", "eth2"):
        times = [float(row["time_s"]) for row in rows if row["slave"] == slave]
        assert len(times) >= 5
        assert all(before < after for before, after in pairwise(times))
        assert times[-1] <= 6
    assert max(int(row["delivered_bps"] or 0) for row in rows) > 1_000_000
    assert any(float(row["round_trip_ms"] or 0) >= 10 for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert missing.returncode == 9


def test_without_a_probe_there_is_nothing_to_record() -> None:
    with Lab([None]) as lab, Ipeqld(lab.a, configuration(bundle(["{name: eth1}"]))) as daemon:
        done = daemon.run_ipeql("record", "ipeql0", "--for", "1s")
    assert done.returncode != 0
    assert "no slave of it is probed" in done.stderr
