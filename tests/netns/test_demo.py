"""The demo as a user runs it: figures, a picture, an exit status, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.network import netns

pytestmark = pytest.mark.netns

DEMO = (sys.executable, "-m", "lab.demo", "--quick")


@pytest.mark.timeout(300)
def test_it_measures_draws_and_says_so(tmp_path: Path) -> None:
    picture, figures = tmp_path / "out" / "demo.png", tmp_path / "demo.json"
    done = subprocess.run(
        [*DEMO, "--output", str(picture), "--json", str(figures)],
        text=True,
        timeout=280,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert str(picture) in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    document = json.loads(figures.read_text())
    shown = {figure["method"]: figure for figure in document["figures"]}
    assert shown["round_robin"]["share"] >= 0.96
    assert shown["round_robin"]["goodput_bps"] > 1.8 * shown["best single link"]["goodput_bps"]
    assert [each["title"] for each in document["failovers"]] == [
        "cut and return",
        "silent and back",
    ]
    for each in document["failovers"]:
        assert each["longest_pause_s"] < each["returned_s"] - each["cut_s"]
    assert "one link silent" in done.stdout


@pytest.mark.parametrize(("number", "figures"), [(signal.SIGTERM, 0), (signal.SIGINT, 1)])
def test_a_signal_ends_it_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, figures: int
) -> None:
    with subprocess.Popen(
        [*DEMO, "--output", str(tmp_path / "demo.png")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as demo:
        assert demo.stdout
        try:
            wait_for_namespace(demo)
            for _ in range(figures):
                demo.stdout.readline()
            demo.send_signal(number)
            _, errors = demo.communicate(timeout=30)
        finally:
            demo.kill()
    assert demo.returncode == 128 + number
    assert "Traceback" not in errors
    assert not any(f"ipeql-{demo.pid}-" in name for name in netns.names())


def wait_for_namespace(demo: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 20
    while not any(f"ipeql-{demo.pid}-" in name for name in netns.names()):
        assert demo.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to stop being it")
def test_without_root_it_says_what_to_do() -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *DEMO],
        text=True,
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "[IPQ-E003]" in done.stderr
    assert "scripts/demo" in done.stderr
