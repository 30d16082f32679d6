"""The report's picture: what a packet costs, and what one TCP flow brings."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.page import Rows, added
from bench.report.results import Run, latest
from bench.scenarios.catalogue import SCENARIOS

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Seven of Okabe and Ito's, which colour-blind people tell apart too (jfly.uni-koeln.de/color)."""
GREY = "#666666"


def draw(path: Path, runs: Sequence[Run]) -> None:
    """Write a PNG; a scenario of which nothing is known leaves its part empty.

    OSError where ``path`` cannot be written.
    """
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(11, 9), layout="constrained")
        left, right = canvas.subplots(1, 2)
        _bars(left, "packet-cost", latest(runs, "packet-cost"), relative=True)
        left.set_xlabel("instructions added to the plain link's")
        left.set_title("What a packet costs more, two slaves", loc="left")
        _bars(right, "goodput", latest(runs, "goodput"), relative=False)
        right.axvline(1, color=GREY, linewidth=0.9, linestyle="--")
        right.set_xlabel("share of all links' payload capacity")
        right.set_title("One TCP flow over two shaped links", loc="left")
        canvas.savefig(path, dpi=120, format="png", metadata={"Software": None})


def _bars(axes: Axes, scenario: str, rows: Rows, relative: bool) -> None:
    """Draw a bar for every candidate over two links, a colour for every case."""
    cases = list(dict.fromkeys(case for case, _ in rows))
    names = [
        one.name
        for one in SCENARIOS[scenario].candidates
        if (one.slaves == 2 or not relative)
        and any((case, one.name) in rows and rows[case, one.name].values for case in cases)
    ]
    width = 0.8 / max(1, len(cases))
    for number, case in enumerate(cases):
        places, lengths = [], []
        for place, name in enumerate(names):
            row = rows.get((case, name))
            if row and row.values:
                places.append(place + (number - (len(cases) - 1) / 2) * width)
                lengths.append((added(row, rows) or 0) if relative else row.value)
        axes.barh(places, lengths, height=width, color=COLOURS[number % len(COLOURS)], label=case)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if names:
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
