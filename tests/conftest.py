"""What holds for every test: what it needs, what it must not leave behind, what a skip means."""

import os
import re
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

RUN = "IPEQL_TEST_RUN"
"""In the environment of every program that this run starts; the value is our pid."""

PATIENCE = 5.0
"""Seconds that processes and namespaces have to disappear in after a test."""

# A busy machine is no fault of the code.
settings.register_profile(
    "ipeql", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ipeql")


def pytest_configure() -> None:
    os.environ[RUN] = str(os.getpid())


def missing_for_netns() -> str:
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if reason := missing_for_netns():
        for item in items:
            if "netns" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def fail_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI is to have what every test needs: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_skip_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_skip_in_ci(report)
    return report


def processes() -> Iterator[str]:
    """Name the living processes that this run has started."""
    marker = f"{RUN}={os.getpid()}".encode()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            # After the name in parentheses: state, parent.
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
            environment = (directory / "environ").read_bytes().split(b"\0")
            command = (directory / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        ours = marker in environment and directory.name != str(os.getpid())
        # multiprocessing keeps its resource tracker until the end of the run.
        alive = state != "Z" and "resource_tracker" not in command
        if alive and (ours or int(parent) == os.getpid()):
            yield f"process {directory.name} {command}"


def namespaces() -> Iterator[str]:
    """Name the network namespaces, but not those of other living runs: names carry a pid."""
    for path in Path("/run/netns").glob("*"):
        maker = re.search(r"\d+", path.name)
        if not maker or maker[0] == str(os.getpid()) or not Path("/proc", maker[0]).exists():
            yield f"network namespace {path.name}"


def traces() -> set[str]:
    links = {f"link {name}" for _, name in socket.if_nameindex()}
    return links | set(namespaces()) | set(processes())


@contextmanager
def nothing_left() -> Iterator[None]:
    before = traces()
    yield
    give_up = time.monotonic() + PATIENCE
    while left := traces() - before:
        if time.monotonic() > give_up:
            pytest.fail("left behind: " + "; ".join(sorted(left)))
        time.sleep(0.02)


@pytest.fixture(scope="session", autouse=True)
def run_leaves_nothing() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture(autouse=True)
def test_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    if "netns" not in request.keywords:
        yield
        return
    with nothing_left():
        yield
