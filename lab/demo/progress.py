"""What the demo shows while it measures: live on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from lab.demo.figure import Figure
from lab.demo.scenarios import Scenario

REFRESH_HZ = 5
"""Drawing takes processor time from what is measured."""


class LiveProgress:
    """One line for each scenario under way with its flow's rate now, and a bar for all figures.

    A context manager; calls may come from any thread. Figures are printed as they come.
    """

    def __init__(self, console: Console, figures: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            Elapsed(),
            console=console,
            refresh_per_second=REFRESH_HZ,
            transient=True,
            disable=not console.is_terminal,
        )
        self._total = self._progress.add_task("all figures", total=figures, rate="")
        self._tasks: dict[Scenario, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was, with the figures on it."""
        self._progress.stop()

    def begin(self, scenario: Scenario) -> None:
        """Give ``scenario`` its line."""
        self._tasks[scenario] = self._progress.add_task(
            scenario.title, total=scenario.figures, rate=""
        )

    def end(self, scenario: Scenario) -> None:
        """Take the line away."""
        self._progress.remove_task(self._tasks.pop(scenario))

    def now(self, scenario: Scenario, what: str, rate: float) -> None:
        """Show what is being measured, and its rate in bit/s."""
        self._progress.update(
            self._tasks[scenario],
            description=f"{scenario.title}: {what}",
            rate=f"{rate / 1e6:6.1f} Mbit/s" if rate else "",
        )

    def done(self, scenario: Scenario, figure: Figure) -> None:
        """Print a figure and count it."""
        self._progress.advance(self._tasks[scenario])
        self._progress.advance(self._total)
        self._console.print(
            f"{figure.scenario:24} {figure.method:18} {figure.goodput / 1e6:6.1f} Mbit/s"
            f"  {figure.share:5.3f} of {figure.links}",
            highlight=False,
            soft_wrap=True,
        )
