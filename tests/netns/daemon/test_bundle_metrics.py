"""The metrics of a daemon that carries traffic, as Prometheus reads them."""

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ipeql.backends.bpf import dataplane
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import (
    USUAL,
    bundle,
    configuration,
    slave,
    traffic,
    wait_for,
)

pytestmark = pytest.mark.netns

FIRST, SECOND = "127.0.0.1:9817", "127.0.0.1:9818"
PROMETHEUS = "127.0.0.1:9090"
DASHBOARD = Path(__file__).parents[3] / "packaging" / "grafana" / "ipeql.json"

Metrics = dict[str, float]


def served(at: str, *bundles: str) -> str:
    """Return a configuration with metrics at ``at``."""
    return configuration(*(bundles or (bundle(),))) + f'metrics: {{listen: "{at}"}}\n'


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, served(FIRST)) as daemon:
        yield daemon


def fetch(lab: Lab, url: str) -> str:
    """Return what is served inside host a; OSError."""

    def read() -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())

    return lab.a.call(read)


def parsed(text: str) -> Metrics:
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def scrape(lab: Lab, at: str = FIRST) -> Metrics:
    return parsed(fetch(lab, f"http://{at}/metrics"))


def answers(lab: Lab, at: str) -> bool:
    try:
        return bool(scrape(lab, at))
    except OSError:
        return False


def sent(metrics: Metrics, name: str, kind: str = "packets") -> float:
    return metrics[f'ipeql_slave_sent_{kind}_total{{bundle="ipeql0",slave="{name}"}}']


def counters(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if "_total{" in name}


def settled(lab: Lab) -> Metrics:
    """Return the metrics once what is served is of after this call: it may be a second old."""
    before = scrape(lab)
    wait_for(lambda: sent(scrape(lab), "eth1") > sent(before, "eth1"))
    return scrape(lab)


@pytest.mark.parametrize("backend", ["tun", "bpf"])
def test_no_counter_goes_back_while_the_dataplane_lives(lab: Lab, backend: str) -> None:
    if backend == "bpf" and (reason := dataplane.unavailable()):
        pytest.skip(reason)
    seen: list[Metrics] = []

    def look() -> None:
        seen.append(counters(settled(lab)))

    usual, other = (
        served(FIRST, bundle([slave(1, rate), slave(2)], "bw_load", backend=backend))
        for rate in ("100Mbit", "50Mbit")
    )
    with Ipeqld(lab.a, usual) as daemon, traffic(lab):
        look()
        daemon.reload(other)
        look()
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        daemon.ipeql("wait-online", "--timeout", "30s")
        wait_for(lambda: answers(lab, FIRST))
        look()
        printed = counters(parsed(daemon.ipeql("metrics")))
        look()
    for earlier, later in pairwise(seen):
        assert earlier.keys() <= later.keys()
        assert [name for name in earlier if later[name] < earlier[name]] == []
    assert all(value >= seen[-2][name] for name, value in printed.items())
    assert sent(seen[-1], "eth2") > sent(seen[0], "eth2") > 0


def test_what_is_shown_is_the_state(lab: Lab, daemon: Ipeqld) -> None:
    metrics = scrape(lab)
    assert metrics['ipeql_bundle_state{bundle="ipeql0",ipeql_bundle_state="ready"}'] == 1
    assert metrics["ipeql_configuration_last_reload_successful"] == 1
    assert metrics["ipeql_configuration_changed_files"] == 0
    state = 'ipeql_slave_state{{bundle="ipeql0",slave="eth2",ipeql_slave_state="{}"}}'.format
    lab.set_carrier(lab.a, "eth2", False)
    try:
        wait_for(lambda: scrape(lab)[state("no-carrier")] == 1)
    finally:
        lab.set_carrier(lab.a, "eth2", True)
    wait_for(lambda: scrape(lab)[state("active")] == 1)
    daemon.write(served(FIRST).replace("method", "methd"))
    wait_for(lambda: scrape(lab)["ipeql_configuration_changed_files"] == 1)
    assert daemon.run_ipeql("reload").returncode == 4
    wait_for(lambda: scrape(lab)["ipeql_configuration_last_reload_successful"] == 0)
    daemon.reload(served(FIRST))
    wait_for(lambda: scrape(lab)["ipeql_configuration_last_reload_successful"] == 1)


def test_a_reload_moves_and_ends_it(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab):
        assert answers(lab, FIRST)
        daemon.reload(served(SECOND))
        assert (answers(lab, FIRST), answers(lab, SECOND)) == (False, True)
        daemon.reload(USUAL)
        assert (answers(lab, FIRST), answers(lab, SECOND)) == (False, False)
        daemon.reload(served(FIRST))
        assert answers(lab, FIRST)


def test_an_address_that_cannot_be_used_is_told_and_tried_again(lab: Lab, daemon: Ipeqld) -> None:
    def listening() -> socket.socket:
        other = socket.create_server(("127.0.0.1", 9818))
        other.listen()
        return other

    def problems() -> list[Any]:
        return [problem["code"] for problem in daemon.status()["problems"]]

    with traffic(lab):
        with lab.a.call(listening):
            daemon.reload(served(SECOND))
            daemon.wait_log(f"cannot serve metrics at {SECOND}: Address already in use")
            assert problems() == ["IPQ-E017"]
            assert daemon.status()["bundles"][0]["state"] == "ready"
        daemon.ipeql("apply")
        assert (problems(), answers(lab, SECOND)) == ([], True)
        daemon.reload(served("192.0.2.1:9817"))
        daemon.wait_log("cannot serve metrics at 192.0.2.1:9817: Cannot assign requested address")
        lab.a.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
        try:
            wait_for(lambda: answers(lab, "192.0.2.1:9817"))
            assert problems() == []
        finally:
            lab.a.run("ip", "address", "delete", "192.0.2.1/32", "dev", "lo")


def test_a_client_s_fault_is_in_the_journal_once(lab: Lab, daemon: Ipeqld) -> None:
    def send_garbage() -> None:
        with socket.create_connection(("127.0.0.1", 9817), timeout=10) as client:
            client.sendall(b"\x16\x03\x01\x00garbage\r\n\r\n")
            client.recv(100)

    with traffic(lab):
        for _ in range(3):
            lab.a.call(send_garbage)
        said = f"metrics at {FIRST}: a client sent what is no HTTP request [IPQ-E018]"
        daemon.wait_log(said)
        assert [each["code"] for each in daemon.status()["problems"]] == ["IPQ-E018"]
        daemon.ipeql("apply")
    daemon.stop()
    assert len([line for line in daemon.log if said in line]) == 1


@contextmanager
def prometheus(lab: Lab, directory: Path) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Run Prometheus in host a; yield a function that asks it for a query's result."""
    if not shutil.which("prometheus"):
        pytest.skip("needs Prometheus: apt install prometheus")
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [{"job_name": "ipeql", "static_configs": [{"targets": [FIRST]}]}],
    }
    (directory / "prometheus.json").write_text(json.dumps(configuration))
    process = lab.a.popen(
        "prometheus",
        f"--config.file={directory / 'prometheus.json'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={PROMETHEUS}",
        "--log.level=error",
        stderr=subprocess.DEVNULL,
    )

    def query(expression: str) -> list[dict[str, Any]]:
        url = f"http://{PROMETHEUS}/api/v1/query?query={quote(expression)}"
        try:
            answer = json.loads(fetch(lab, url))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def is_ready() -> bool:
        try:
            return bool(fetch(lab, f"http://{PROMETHEUS}/-/ready"))
        except OSError:
            return False

    try:
        wait_for(is_ready, 60)
        yield query
    finally:
        process.terminate()
        process.wait(20)


def test_prometheus_scrapes_it_and_answers_the_dashboard(
    lab: Lab, daemon: Ipeqld, tmp_path: Path
) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    variables = {"$instance": ".*", "$bundle": "ipeql0", "$__rate_interval": "10s"}
    with prometheus(lab, tmp_path) as query, traffic(lab):
        wait_for(lambda: [each["value"][1] for each in query("up")] == ["1"], 30)
        rate = 'rate(ipeql_slave_sent_packets_total{bundle="ipeql0"}[10s]) > 0'
        wait_for(lambda: {each["metric"]["slave"] for each in query(rate)} == {"eth1", "eth2"}, 30)
        (state,) = query("ipeql_bundle_state == 1")
        assert state["metric"]["ipeql_bundle_state"] == "ready"
        for template in expressions:
            # The paths are not probed here.
            expression = re.sub(r"\$\w+", lambda found: variables[found[0]], template)
            assert query(expression) or "ipeql_path_" in expression, expression
