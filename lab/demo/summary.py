"""The demo's result for people: a table of all figures, and what was seen in a few sentences."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from lab.demo.figure import SINGLE, Failover, Figure
from lab.demo.scenarios import CUT_METHOD, EQUAL, LAG

TITLE = "One TCP flow (CUBIC) to an unmodified Linux receiver"
CAPTION = (
    "Capacity: TCP payload of all links. TCP delivers in order: a loss at the beginning or end of "
    "what counts moves bytes into it or out of it, up to a few per cent."
)


def table(figures: Iterable[Figure]) -> Table:
    """Return one row for each figure, scenarios apart from each other."""
    shown = Table(title=TITLE, caption=CAPTION)
    shown.add_column("scenario")
    shown.add_column("links", no_wrap=True)
    shown.add_column("method", no_wrap=True)
    shown.add_column("backend")
    shown.add_column("Mbit/s", justify="right")
    shown.add_column("of capacity", justify="right")
    shown.add_column("bar", justify="right")
    shown.add_column("")
    before = ""
    for figure in figures:
        if before and figure.scenario != before:
            shown.add_section()
        shown.add_row(
            figure.scenario if figure.scenario != before else "",
            figure.links,
            figure.method,
            figure.backend,
            f"{figure.goodput / 1e6:.1f}",
            f"{figure.share:.3f}",
            "" if figure.bar is None else f"{figure.bar:.2f}",
            _mark(figure),
        )
        before = figure.scenario
    return shown


def _mark(figure: Figure) -> Text:
    if figure.bar is None:
        return Text()
    again = ", second try" if figure.tries > 1 else ""
    return Text(f"ok{again}", "green") if figure.holds else Text(f"missed{again}", "bold red")


def sentences(figures: Sequence[Figure], failovers: Iterable[Failover]) -> list[str]:
    """Say what the figures show, of the scenarios that were measured."""
    said = []
    by_method = {(figure.scenario, figure.method): figure for figure in figures}

    def mbit(scenario: str, method: str) -> str:
        return f"{by_method[scenario, method].goodput / 1e6:.1f}"

    if (EQUAL.title, SINGLE) in by_method:
        single, both = (by_method[EQUAL.title, method] for method in (SINGLE, "round_robin"))
        said.append(
            f"Over two equal links one flow ran at {both.goodput / 1e6:.1f} Mbit/s with round_robin"
            f", {both.goodput / single.goodput:.2f} times the {single.goodput / 1e6:.1f} Mbit/s of"
            " one link."
        )
    if (LAG.title, SINGLE) in by_method:
        said.append(
            f"With 45 ms between the links' lags round_robin brought "
            f"{mbit(LAG.title, 'round_robin')} Mbit/s and bw_lag_eq, which holds packets back until"
            f" they arrive in order, {mbit(LAG.title, 'bw_lag_eq')}; the best link alone brought "
            f"{mbit(LAG.title, SINGLE)}."
        )
    for failover in failovers:
        before, during, after = (f"{part.goodput / 1e6:.1f}" for part in failover.parts)
        said.append(
            f"With {failover.parts[1].method} of two under {CUT_METHOD} the flow, at {before}"
            f" Mbit/s, paused for {failover.pause / 1e6:.0f} ms and went on at {during}; with the"
            f" link back it ran at {after}."
        )
    missed = [figure for figure in figures if not figure.holds]
    if missed:
        said.append(
            "Missed: "
            + "; ".join(
                f"{figure.method} over {figure.links} reached {figure.share:.3f} of {figure.bar}"
                for figure in missed
            )
            + "."
        )
    return said
