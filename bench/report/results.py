"""What a run measured, as it is kept: one JSON file a run, with every single value."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.candidates import Candidate
from ipeql.errors import IpeqlError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Row:
    """What one candidate did in one case of the run's scenario.

    ``values``: one for each repetition, in the scenario's unit. ``beside``: what a plain link did
    in turn with each of them, where the machine's load matters. ``problem``: why there are none.
    """

    case: str
    candidate: str
    values: tuple[float, ...] = ()
    beside: tuple[float, ...] = ()
    problem: str = ""

    @property
    def value(self) -> float:
        """Return the median; StatisticsError where there is none."""
        return median(self.values)

    @property
    def ratio(self) -> float:
        """Return the median of the ratios to the plain link measured in turn."""
        return median(own / plain for own, plain in zip(self.values, self.beside, strict=True))


def attempt(case: str, candidate: str, measure: Callable[[], Iterable[float]]) -> Row:
    """Return the row of what ``measure`` returns, or of why it could not."""
    try:
        return Row(case, candidate, tuple(measure()))
    except (OSError, RuntimeError, LookupError, IpeqlError) as error:
        return Row(case, candidate, problem=str(error).partition("\n")[0])


def rows(
    cases: Sequence[str],
    candidates: Sequence[Candidate],
    measure: Callable[[Candidate], Iterator[Row]],
) -> Iterator[Row]:
    """Yield what ``measure`` does, and for a candidate that cannot be measured why."""
    for candidate in candidates:
        try:
            yield from measure(candidate)
        except (OSError, RuntimeError, LookupError, IpeqlError) as error:
            reason = str(error).partition("\n")[0]
            for case in cases:
                yield Row(case, candidate.name, problem=reason)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of one scenario: when (ISO 8601), where, and its rows."""

    scenario: str
    date: str
    kernel: str
    machine: str
    rows: tuple[Row, ...] = field(default=())

    def to_json(self) -> str:
        """Return the run as a file has it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"


def from_json(text: str) -> Run:
    """Return the run a file has; ValueError or KeyError where it has none."""
    document: dict[str, Any] = json.loads(text)
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']} is not {FORMAT}")
    rows = tuple(
        Row(**{**row, "values": tuple(row["values"]), "beside": tuple(row["beside"])})
        for row in document["rows"]
    )
    return Run(
        document["scenario"], document["date"], document["kernel"], document["machine"], rows
    )


def load(directory: Path) -> list[Run]:
    """Return the runs kept in ``directory``, oldest first; ValueError for a file that is none."""
    runs = []
    for path in directory.glob("*.json"):
        try:
            runs.append(from_json(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no run of the bench: {error}") from error
    return sorted(runs, key=lambda run: run.date)


def latest(runs: Iterable[Run], scenario: str) -> dict[tuple[str, str], Row]:
    """Return the youngest row of a scenario by case and candidate, ``runs`` given oldest first.

    One that could not be measured does not hide an older one that was.
    """
    found: dict[tuple[str, str], Row] = {}
    for run in runs:
        for row in run.rows if run.scenario == scenario else ():
            key = row.case, row.candidate
            if row.values or not found.get(key, row).values:
                found[key] = row
    return found


def machine(clock: str) -> str:
    """Return what this run's figures were measured on, ``clock`` said after it."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    count = len(os.sched_getaffinity(0))
    return f"{model}, {count} CPU{'s' * (count > 1)}, {clock}"
