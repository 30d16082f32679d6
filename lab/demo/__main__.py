"""The demo: ``python -m lab.demo`` measures what IPEQL does for one TCP flow, and shows it.

Every scenario has its own lab, in network namespaces; nothing outside them is touched. A signal
only sets a flag that every step looks at, so that whatever has been built is taken down in order.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console

from ipeql.errors import Code, ExitCode, IpeqlError, Problem
from lab.demo.figure import Failover, Figure
from lab.demo.measure import measure
from lab.demo.plot import draw
from lab.demo.progress import LiveProgress
from lab.demo.scenarios import LAG, QUICK, STAGES, Scenario
from lab.demo.summary import sentences, table
from lab.network.hosts import Lab

OUTPUT = Path("demo/ipeql-demo.png")
PLAIN_WIDTH = 130
"""Columns of the table where there is no terminal."""

Stages = tuple[tuple[Scenario, ...], ...]


class StoppedError(Exception):
    """A signal ends the measurement."""


class Stop:
    """Whether to end, and which signal (0: none) wants it."""

    def __init__(self) -> None:
        self.signal = 0
        self.wanted = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal."""
        self.signal = self.signal or number
        self.wanted = True

    def check(self) -> None:
        """Raise StoppedError if the end is wanted."""
        if self.wanted:
            raise StoppedError


@dataclass(slots=True)
class Results:
    """All that was measured."""

    figures: list[Figure] = field(default_factory=list)
    failovers: list[Failover] = field(default_factory=list)


class _Watcher:
    """Shows what is measured, and ends it when the end is wanted."""

    def __init__(self, progress: LiveProgress, stop: Stop) -> None:
        self._progress = progress
        self._stop = stop

    def now(self, scenario: Scenario, what: str, rate: float) -> None:
        self._stop.check()
        self._progress.now(scenario, what, rate)

    def done(self, scenario: Scenario, figure: Figure) -> None:
        self._stop.check()
        self._progress.done(scenario, figure)


def run(stages: Stages, progress: LiveProgress, stop: Stop) -> Results:
    """Measure the stages one after the other, the scenarios of each side by side.

    When one fails or the end is wanted the others of its stage end too, and what they built is
    gone; then StoppedError or what :func:`measure` raises.
    """
    results = Results()
    watcher = _Watcher(progress, stop)
    for stage in stages:
        for scenario in stage:
            progress.begin(scenario)
        with ThreadPoolExecutor(len(stage)) as pool:
            futures = {pool.submit(measure, scenario, watcher): scenario for scenario in stage}
            for future in as_completed(futures):
                stop.wanted = stop.wanted or future.exception() is not None
                progress.end(futures[future])
        failed = [error for future in futures if (error := future.exception())]
        failed.sort(key=lambda error: isinstance(error, StoppedError))
        if failed:
            raise failed[0]
        for future in futures:
            figures, failovers = future.result()
            results.figures += figures
            results.failovers += failovers
    return results


def check_machine() -> None:
    """Raise IpeqlError unless labs can be built and the TUN dataplane can run here."""
    if os.geteuid() != 0:
        problem = Problem(
            Code.NOT_PERMITTED,
            "the demo builds its hosts in network namespaces, which takes root",
            "run scripts/demo, which asks for root, or sudo it",
        )
        raise IpeqlError(problem)
    if not Path("/dev/net/tun").exists():
        problem = Problem(
            Code.NO_BACKEND,
            "there is no /dev/net/tun here, and the TUN dataplane needs it",
            "modprobe tun; in a container, give it the device",
        )
        raise IpeqlError(problem)
    try:
        with Lab([None]):
            pass
    except OSError as error:
        problem = Problem(
            Code.NOT_PERMITTED,
            f"no network namespaces with veth links can be made here: {error.strerror or error}",
            "use a kernel with CONFIG_NET_NS and CONFIG_VETH; run a container privileged",
        )
        raise IpeqlError(problem) from error


def demonstrate(arguments: argparse.Namespace, console: Console, stop: Stop) -> int:
    """Measure, draw and say; return the exit status."""
    Lab.sweep()
    check_machine()
    stages = QUICK if arguments.quick else STAGES
    with LiveProgress(console, sum(each.figures for stage in stages for each in stage)) as progress:
        results = run(stages, progress, stop)
    figures, failovers = results.figures, results.failovers
    titles = [figure.scenario for figure in figures]
    drawn = LAG.title if LAG.title in titles else titles[0]
    draw(arguments.output, [each for each in figures if each.scenario == drawn], failovers)
    if arguments.json:
        shown = {
            "figures": [figure.to_json() for figure in figures],
            "failovers": [failover.to_json() for failover in failovers],
        }
        arguments.json.write_text(json.dumps(shown, indent=2) + "\n")
    stop.check()
    console.print(table(figures))
    for sentence in sentences(figures, failovers):
        console.print(sentence, highlight=False, soft_wrap=True)
    console.print(f"Throughput over time: {arguments.output}", highlight=False, soft_wrap=True)
    return ExitCode.OK if all(figure.holds for figure in figures) else ExitCode.ERROR


def main() -> int:
    """Run the demo; 0 all bars hold, 1 one does not or a fault, 128 + n after signal n."""
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Show, with figures, what IPEQL does for one TCP flow over several links.",
    )
    parser.add_argument("--quick", action="store_true", help="equal links only, about 30 seconds")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, metavar="FILE", help="the picture [%(default)s]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures as JSON")
    arguments = parser.parse_args()
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop.on_signal)
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    try:
        return demonstrate(arguments, console, stop)
    except StoppedError:
        print("ipeql: stopped; nothing is left behind", file=sys.stderr)
        return 128 + stop.signal
    except IpeqlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (OSError, RuntimeError, LookupError, subprocess.SubprocessError) as error:
        problem = Problem(Code.INTERNAL, f"the demo could not be finished: {error}")
        print(problem.render(), file=sys.stderr)
        return ExitCode.ERROR


if __name__ == "__main__":
    sys.exit(main())
