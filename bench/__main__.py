"""``python -m bench``: run scenarios, report what runs have measured. Needs root.

    python -m bench run [SCENARIO...] [--only NAME,...] [--out DIR]
    python -m bench report DIR [--docs DIR]

``--only bpf/round_robin/2,plain`` measures these candidates alone. A run writes one JSON file per
scenario into DIR.
"""

import argparse
import contextlib
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.candidates import chosen
from bench.report.page import report
from bench.report.pages import TABLES, put_into
from bench.report.results import Row, Run, from_json, load, machine
from bench.scenarios.catalogue import SCENARIOS, Scenario
from bench.tools import KERNEL
from bench.tools import module as compile_module
from bench.tools import sender as compile_sender
from ipeql.errors import IpeqlError
from lab.vm import machine as vm

DOCS = Path(__file__).parent.parent / "docs"
TIMEOUT_S = 4 * 3600
CLOCK = "its clock counts instructions"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure IPEQL beside what else Linux has; report it."
    )
    verbs = parser.add_subparsers(required=True)
    run = verbs.add_parser("run", help="measure")
    run.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    run.add_argument("--only", default="", metavar="NAME,...", help="only these candidates")
    run.add_argument("--out", type=Path, default=Path("measurements"), metavar="DIR")
    run.add_argument("--here", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    run.add_argument("--tools", type=Path, help=argparse.SUPPRESS)
    run.add_argument("--date", default="", help=argparse.SUPPRESS)
    run.set_defaults(verb=_run)
    reporter = verbs.add_parser("report", help="write what was measured into the documentation")
    reporter.add_argument("directory", type=Path, metavar="DIR", help="where runs lie")
    reporter.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="%(default)s")
    reporter.set_defaults(verb=_report)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.verb(parsed)
    except (IpeqlError, OSError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _run(parsed: argparse.Namespace) -> int:
    unknown = set(parsed.scenarios) - SCENARIOS.keys()
    if unknown:
        return _refuse(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if os.geteuid():
        return _refuse("measuring needs root")
    scenarios = [SCENARIOS[name] for name in parsed.scenarios or SCENARIOS]
    try:
        for scenario in scenarios:
            chosen(scenario.candidates, parsed.only)
    except LookupError as error:
        return _refuse(error.args[0])
    if parsed.here:
        _measure(scenarios[0], parsed.only, parsed.here, parsed.tools, parsed.date)
        return 0
    with tempfile.TemporaryDirectory(prefix="ipeql-bench-") as directory:
        tools = Path(directory)
        compile_sender(tools)
        measured = [_start(scenario, parsed.only, parsed.out, tools) for scenario in scenarios]
    return 0 if all(measured) else 1


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


def _start(scenario: Scenario, only: str, out: Path, tools: Path) -> bool:
    """Measure a scenario where it belongs, and say whether a file came of it."""
    now = datetime.now(UTC)
    date = now.isoformat(timespec="seconds")
    out.mkdir(parents=True, exist_ok=True)
    file = out.resolve() / f"{scenario.name}-{now:%Y%m%dT%H%M%SZ}.json"
    if scenario.emulated:
        here = ("--here", str(file), "--tools", str(tools), "--date", date, "--only", only)
        command = (sys.executable, "-m", "bench", "run", scenario.name, *here)
        return _emulate(command, file, tools)
    _measure(scenario, only, file, tools, date)
    return True


def _emulate(command: Sequence[str], file: Path, tools: Path) -> bool:
    """Run ``command`` in an emulated kernel, show the rows it writes, say whether all went well."""
    guest = vm.machine(instruction_clock=True)
    if KERNEL.exists():
        compile_module(tools, guest.kernel)
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(file, ended))
    follower.start()
    try:
        outcome = vm.run(guest, command, timeout=TIMEOUT_S, writable=[file.parent])
    finally:
        ended.set()
        follower.join()
    if outcome.status:
        print(outcome.output)
    for warning in sorted(set(outcome.warnings)):
        if not warning.startswith("net_ratelimit:"):  # how often something less was not said
            print(f"the kernel warns: {warning}")
    return not outcome.status


def _follow(file: Path, ended: threading.Event) -> None:
    """Print the rows of a file as they come, until ``ended``."""
    shown = 0
    last = False
    while not last:
        last = ended.wait(1)
        with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
            rows = from_json(file.read_text()).rows
            for row in rows[shown:]:
                _show(row)
            shown = len(rows)


def _measure(scenario: Scenario, only: str, file: Path, tools: Path, date: str) -> None:
    """Measure on the kernel that runs here; ``file`` has what is known after every row."""
    clock = CLOCK if scenario.emulated else "real time"
    rows: list[Row] = []
    for row in scenario.measure(chosen(scenario.candidates, only), tools):
        rows.append(row)
        run = Run(scenario.name, date, platform.release(), machine(clock), tuple(rows))
        file.write_text(run.to_json())
        if not scenario.emulated:
            _show(row)


def _show(row: Row) -> None:
    told = f"{row.value:10g}  {row.values}" if row.values else row.problem
    print(f"{row.candidate:24} {row.case:26} {told}", flush=True)


def _report(parsed: argparse.Namespace) -> int:
    from bench.report import plot  # noqa: PLC0415  matplotlib takes long, and is not needed to measure

    runs = load(parsed.directory)
    if not runs:
        print(f"{parsed.directory} has no runs; python -m bench run --out {parsed.directory}")
        return 1
    for name, table in TABLES.items():
        page = parsed.docs / name
        page.write_text(put_into(page.read_text(), table(runs)))
    (parsed.docs / "measurements.md").write_text(report(runs))
    plot.draw(parsed.docs / "measurements.png", runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
