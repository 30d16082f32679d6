"""The emulated kernel as a test room: pytest inside it, its results outside."""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ipeql.lab import vm
from tests.vm.recorder import RECORDS

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 540.0
"""Seconds of real time for the boot and all tests inside."""

DECISIONS = 2000
"""Of each method, compared with the reference."""

LAST_LINES = 40


@dataclass(slots=True)
class Result:
    """What came of one test, or of all parameters of one: texts of failures, skips, the kernel."""

    ran: bool = False
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Room:
    """The tests ``nodes`` (pytest's ids) run in one guest."""

    def __init__(self, nodes: Sequence[str], exchange: Path) -> None:
        """Boot, run, read what came of it; IpeqlError where something is missing for a guest."""
        machine = vm.machine()
        records = exchange / "records"
        pytest_inside = (sys.executable, "-m", "pytest", "-p", "tests.vm.recorder")
        quiet = ("-p", "no:cacheprovider", "--tb=short", f"-otimeout={TIMEOUT_S:g}")
        environment = ("env", f"{RECORDS}={records}", f"IPEQL_DECISIONS={DECISIONS}")
        command = [*environment, *pytest_inside, *quiet, *nodes]
        try:
            outcome = vm.run(
                machine, command, timeout=TIMEOUT_S, directory=ROOT, writable=[exchange]
            )
            self.output = outcome.output
        except vm.VmError as error:
            self.output = str(error)
        self._results = _read(records)

    def check(self, node: str) -> None:
        """End the calling test as ``node`` ended inside."""
        found = Result()
        for inner, result in self._results.items():
            if inner == node or inner.startswith(f"{node}["):
                found.ran = True
                found.failures += result.failures
                found.skips += result.skips
                found.warnings += result.warnings
        if not found.ran:
            last = "\n".join(self.output.splitlines()[-LAST_LINES:])
            pytest.fail(f"did not run; the guest's last lines:\n{last}", pytrace=False)
        if found.failures:
            pytest.fail("\n".join(found.failures), pytrace=False)
        if found.warnings:
            said = "\n".join(found.warnings)
            pytest.fail(f"passed, but the kernel's log says:\n{said}", pytrace=False)
        if found.skips:
            pytest.skip("\n".join(found.skips))


def _read(records: Path) -> dict[str, Result]:
    results: dict[str, Result] = defaultdict(Result)
    for line in records.read_text().splitlines() if records.exists() else ():
        record = json.loads(line)
        result = results[record["node"]]
        result.ran = True
        result.warnings += record["warnings"]
        if record["outcome"] == "failed":
            result.failures.append(record["text"])
        elif record["outcome"] == "skipped":
            result.skips.append(record["text"])
    return results
