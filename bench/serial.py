"""Serial lines: one, EQL, and IPEQL over them: ``python -m bench.serial [ROW...]``.

Goodput of one TCP flow over SLIP and PPP lines on pseudo-terminals, in the emulated kernel on the
instruction clock: how busy the machine is does not matter. Needs what ``ipeql/lab/vm.py`` needs,
and pppd; takes some minutes a row. The table is Markdown.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.tools import MODULE
from bench.tools import module as compile_module
from ipeql.lab import vm
from ipeql.lab.eql import eql
from ipeql.lab.ipeqld import Ipeqld
from ipeql.lab.serial import Serial, SerialLab
from ipeql.lab.traffic import measure_tcp

SECONDS, WARMUP = 60.0, 15.0
"""Of the guest's time: a flow, and what of its begin is left out."""

TIMEOUT_S = 3600.0
"""Of real time, for a row."""

HEADERS = 52
"""IPv4 20, TCP 20, its timestamps 12."""


ALIKE = ("round_robin bpf", "bw_load bpf", "bw_lag bpf", "bw_load kmod", "bw_lag_eq kmod")
UNEQUAL = ("bw_load bpf", "bw_lag_val bpf", "bw_load kmod", "bw_lag_eq kmod", "bw_lag_eq tun")


@dataclass(frozen=True, slots=True)
class Row:
    """Lines, and what is measured over them: EQL, and IPEQL's methods with their dataplane."""

    name: str
    lines: tuple[Serial, ...]
    methods: tuple[str, ...] = ALIKE

    @property
    def candidates(self) -> tuple[str, ...]:
        """Return what is measured, in order; one line has nothing to stripe over."""
        return ("plain",) if len(self.lines) == 1 else ("EQL", *self.methods)


ROWS = (
    Row("1 x 38.4 SLIP", (Serial(38_400),)),
    Row("2 x 38.4 SLIP", (Serial(38_400),) * 2),
    Row("4 x 38.4 SLIP", (Serial(38_400),) * 4),
    Row("4 x 38.4 PPP", (Serial(38_400, "ppp"),) * 4),
    Row("3 x 57.6 SLIP", (Serial(57_600, mtu=600),) * 3),
    Row("2 x 28.8 PPP", (Serial(28_800, "ppp"),) * 2),
    Row("115.2 + 28.8 SLIP", (Serial(115_200), Serial(28_800)), UNEQUAL),
)


def configuration(lines: tuple[Serial, ...], method: str, backend: str) -> str:
    """Return IPEQL's: of a line's bits only eight in ten are a byte's, and SLIP adds two bytes."""
    slaves = "\n".join(
        f"      - {{name: line{number}, bandwidth: {line.rate * 8 // 10}bit, lag: 5ms}}"
        for number, line in enumerate(lines, 1)
    )
    head = f"version: 1\nbundles:\n  ipeql0:\n    method: {method}\n    backend: {backend}\n"
    return f"{head}    addresses: [10.9.0.1/24]\n    slaves:\n{slaves}\n"


@contextmanager
def striping(lab: SerialLab, row: Row, candidate: str) -> Iterator[str]:
    """Have a candidate stripe over the lab's lines; yield the address to send to."""
    if candidate == "plain":
        yield str(lab.address(lab.b, lab.names[0]).ip)
    elif candidate == "EQL":
        rates = {name: line.rate for name, line in zip(lab.names, row.lines, strict=True)}
        with eql(lab.a, rates, row.lines[0].mtu):
            yield "10.9.0.2"
    else:
        with Ipeqld(lab.a, configuration(row.lines, *candidate.split())):
            yield "10.9.0.2"


def inside(module: str, names: list[str]) -> None:
    """Measure rows, in the guest; print each figure as a JSON line. ``module``: IPEQL's own."""
    subprocess.run(["insmod", module], check=True)
    for row in (row for row in ROWS if row.name in names):
        for candidate in row.candidates:
            with SerialLab(row.lines) as lab:
                lab.plain_receiver()
                with striping(lab, row, candidate) as destination:
                    goodput = measure_tcp(lab, destination, seconds=SECONDS, warmup=WARMUP).goodput
            print(json.dumps([row.name, candidate, goodput]), flush=True)


def report(row: Row, figures: dict[str, float]) -> Iterator[str]:
    """Yield the table's lines of one row; goodput in kbit/s, its share of what the lines can do."""
    nominal = sum(line.rate for line in row.lines)
    payload = sum(
        line.rate * 0.8 * (line.mtu - HEADERS) / (line.mtu + (2 if line.kind == "slip" else 6))
        for line in row.lines
    )
    for candidate, goodput in figures.items():
        shares = f"{goodput / nominal:.0%} | {goodput / payload:.1%}"
        mtu = row.lines[0].mtu
        yield f"| {row.name} | {mtu} | {candidate} | {goodput / 1000:.1f} | {shares} |"


def main(names: list[str]) -> None:
    """Measure rows, by default all, and print the table."""
    machine = vm.machine(instruction_clock=True)
    print("| lines, kbit/s | MTU | what | kbit/s | of nominal | of what TCP can have |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="ipeql-bench-") as directory:
        tools = Path(directory)
        compile_module(tools, machine.kernel)
        for row in (row for row in ROWS if not names or row.name in names):
            inner = ("-m", "bench.serial", "--inside", str(tools / MODULE), row.name)
            print(*report(row, measured(machine, inner)), sep="\n", flush=True)


def measured(machine: vm.Machine, arguments: Sequence[str]) -> dict[str, float]:
    """Return what a guest says of a row; it ends the program where the guest fails."""
    outcome = vm.run(
        machine,
        [sys.executable, *arguments],
        timeout=TIMEOUT_S,
        directory=Path(__file__).parents[1],
    )
    if outcome.status:
        sys.exit(outcome.output)
    figures = [json.loads(line) for line in outcome.output.splitlines() if line[:2] == '["']
    return {what: goodput for _, what, goodput in figures}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
    else:
        main(sys.argv[1:])
