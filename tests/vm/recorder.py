"""A pytest plugin of the guest: writes what comes of each test, at once, one JSON object a line."""

import json
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from ipeql.backends.tun import client
from lab.vm.kernel_log import is_warning
from tests.netns.conftest import Namespace

RECORDS = "IPEQL_TEST_RECORDS"
"""In the environment: the file to write."""

MODULE = Path(__file__).parents[2] / "kernel" / "module" / "ipeql.ko"
"""The kernel module, loaded where it has been built for this kernel."""

SLOWNESS = 10
"""How much longer things may take: an emulated processor does less, the more so on a busy one."""


def is_built_for(release: str) -> bool:
    """Say whether the module has been built, and for the kernel of this release."""
    return MODULE.exists() and f"vermagic={release} ".encode() in MODULE.read_bytes()


class Recorder:
    """Writes the reports of tests and, with a test's last, what the kernel has warned of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._log, 0, os.SEEK_END)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            self._write(node=item.nodeid, when="collected", outcome="", text="", warnings=[])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        skipped = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        text = skipped or report.longreprtext
        warnings = list(self._warnings()) if report.when == "teardown" else []
        self._write(
            node=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            text=f"{report.when}: {text}" if text else "",
            warnings=warnings,
            seconds=report.duration,
        )

    def _write(self, **record: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _warnings(self) -> Iterator[str]:
        """Yield the kernel's new warnings. Source: Documentation/ABI/testing/dev-kmsg."""
        while True:
            try:
                head, _, text = os.read(self._log, 8192).decode(errors="replace").partition(";")
            except BlockingIOError:
                return
            except BrokenPipeError:  # some were overwritten before they were read
                continue
            first = text.split("\n")[0]
            if is_warning(int(head.split(",")[0]), first):
                yield first


def pytest_configure(config: pytest.Config) -> None:
    if is_built_for(os.uname().release):
        subprocess.run(["insmod", MODULE], check=True)
    client.TIMEOUT_S *= SLOWNESS
    run = Namespace.run

    def run_patiently(
        self: Namespace, body: Callable[[], Coroutine[None, None, None]], timeout: float = 20
    ) -> None:
        run(self, body, timeout * SLOWNESS)

    Namespace.run = run_patiently  # type: ignore[method-assign]
    config.pluginmanager.register(Recorder(Path(os.environ[RECORDS])))
