"""The emulated kernel as a test room: pytest inside it, its results outside."""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from lab.vm import machine as vm
from tests.vm.recorder import RECORDS

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 2000.0
"""Seconds of real time for the boot and all tests inside."""

DECISIONS = 1000
"""Of each method, compared with the reference."""

LAST_LINES = 40


@dataclass(slots=True)
class Result:
    """What came of one test: whether it ended, texts of failures, skips, the kernel's warnings."""

    ended: bool = False
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Room:
    """What came of the tests that one guest was to run, by pytest's ids, and all that it said."""

    output: str
    results: dict[str, Result]

    @classmethod
    def run(cls, nodes: Sequence[str], exchange: Path, instruction_clock: bool) -> Self:
        """Boot a guest and run tests in it; IpeqlError where something is missing for a guest."""
        machine = vm.machine(instruction_clock=instruction_clock)
        records = exchange / "records"
        pytest_inside = (sys.executable, "-m", "pytest", "-p", "tests.vm.recorder")
        quiet = ("-p", "no:cacheprovider", "--tb=short", f"-otimeout={TIMEOUT_S:g}")
        environment = ("env", f"{RECORDS}={records}", f"IPEQL_DECISIONS={DECISIONS}")
        command = [*environment, *pytest_inside, *quiet, *nodes]
        try:
            output = vm.run(
                machine, command, timeout=TIMEOUT_S, directory=ROOT, writable=[exchange]
            ).output
        except vm.VmError as error:
            output = str(error)
        return cls(output, read(records.read_text() if records.exists() else ""))

    def check(self, node: str) -> None:
        """End the calling test as ``node``, with all of its parameters, ended inside."""
        found = [
            result
            for inner, result in self.results.items()
            if inner == node or inner.startswith(f"{node}[")
        ]
        failures = [text for result in found for text in result.failures]
        warnings = [text for result in found for text in result.warnings]
        skips = [text for result in found for text in result.skips]
        if failures:
            pytest.fail("\n".join(failures), pytrace=False)
        if not found or not all(result.ended for result in found):
            last = "\n".join(self.output.splitlines()[-LAST_LINES:])
            pytest.fail(f"did not come to its end; the guest's last lines:\n{last}", pytrace=False)
        if warnings:
            said = "\n".join(warnings)
            pytest.fail(f"passed, but the kernel's log says:\n{said}", pytrace=False)
        if skips:
            pytest.skip("\n".join(skips))


def read(records: str) -> dict[str, Result]:
    """Return what the recorder wrote, by pytest's ids."""
    results: dict[str, Result] = defaultdict(Result)
    for line in records.splitlines():
        record = json.loads(line)
        result = results[record["node"]]
        result.ended |= record["when"] == "teardown"
        result.warnings += record["warnings"]
        if record["outcome"] == "failed":
            result.failures.append(record["text"])
        elif record["outcome"] == "skipped":
            result.skips.append(record["text"])
    return results
