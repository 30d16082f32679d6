"""What holds for every test: what it needs, what it must not leave behind, what a skip means."""

import os
import re
import signal
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

RUN = "IPEQL_TEST_RUN"
"""In the environment of every program that this run starts; the value is our pid."""

PATIENCE = 5.0
"""Seconds that processes and namespaces have to disappear in after a test."""

BEFORE = pytest.StashKey[set[str]]()
"""What was there when the run began."""

# A busy machine is no fault of the code.
settings.register_profile(
    "ipeql", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ipeql")


def pytest_configure() -> None:
    # A shell without job control starts what runs in its background with SIGINT ignored, and so
    # would be every program that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
    """Name our network namespaces: names carry the pid of the process that made them.

    A continuous integration machine is ours alone: there, those of dead processes are ours too.
    """
    for path in Path("/run/netns").glob("*"):
        maker = re.search(r"\d+", path.name)
        dead = maker is None or not Path("/proc", maker[0]).exists()
        if (maker and maker[0] == str(os.getpid())) or (dead and os.environ.get("CI")):
            yield f"network namespace {path.name}"


PINS = Path("/sys/fs/bpf/ipeql")


def pins() -> Iterator[str]:
    """Name the directories of pinned eBPF dataplanes, one for each network namespace."""
    for path in PINS.glob("*"):
        yield f"pin {path}"


def pins_of_others() -> Iterator[str]:
    """Name the directories of network namespaces that other processes made: they may come and go.

    What was there before a test counts as such even when its namespace has gone meanwhile.
    """
    for path in Path("/run/netns").glob("*"):
        with suppress(OSError):  # it is gone meanwhile
            if str(os.getpid()) not in re.findall(r"\d+", path.name):
                yield f"pin {PINS}/netns:{path.stat().st_ino}"


def traces() -> set[str]:
    links = {f"link {name}" for _, name in socket.if_nameindex()}
    return links | set(namespaces()) | set(processes()) | set(pins())


def left_since(before: set[str]) -> str:
    """Return what is left that was not there ``before``, once it has had time to go."""
    give_up = time.monotonic() + PATIENCE
    while (left := traces() - before - set(pins_of_others())) and time.monotonic() < give_up:
        time.sleep(0.02)
    return "left behind: " + "; ".join(sorted(left)) if left else ""


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    if "netns" not in request.keywords:
        yield
        return
    before = traces()
    yield
    if left := left_since(before):
        pytest.fail(left)


def pytest_sessionstart(session: pytest.Session) -> None:
    session.stash[BEFORE] = traces()


# Innermost, so that the fixtures of modules and session are gone and the summary is still to come.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    yield
    if left := left_since(session.stash[BEFORE]):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.get_terminal_writer().line(f"\n{left}", red=True)
