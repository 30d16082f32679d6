"""The demo's picture: throughput over time."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from lab.demo.figure import SECOND, SINGLE, Failover, Figure, over_time
from lab.demo.scenarios import CUT_METHOD, SHARING

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#999999", "#0072B2")
"""Okabe and Ito's, which colour-blind people tell apart too (jfly.uni-koeln.de/color), but
grey for its yellow, too pale for a line."""
COLOURS = dict(zip(SHARING, PALETTE, strict=True))
BLACK = "#222222"
GREY = "#666666"

NOTE = "A loss holds up what came after it: goodput dips, then all of it is delivered at once."

FAILOVER_WINDOW = SECOND // 10
METHODS_WINDOW = SECOND * 3 // 10


def draw(path: Path, figures: list[Figure], failovers: Sequence[Failover]) -> None:
    """Write a PNG: above flows whose link fails, below the flows of one scenario by method.

    OSError where ``path`` cannot be written.
    """
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        count = len(failovers) + 1
        canvas = Canvas(figsize=(10, 4.25 * count), layout="constrained")
        *above, below = canvas.subplots(count, 1)
        for axes, failover in zip(above, failovers, strict=True):
            _draw_failover(axes, failover)
        _draw_methods(below, figures)
        for axes in (*above, below):
            axes.set_xlabel("time since the flow began (s)")
            axes.set_ylabel("goodput (Mbit/s)")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        canvas.supxlabel(NOTE, fontsize=9, color=GREY)
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, dpi=130, format="png")


def _draw_failover(axes: Axes, failover: Failover) -> None:
    both, one = (part.capacity / 1e6 for part in failover.parts[:2])
    cut, returned = failover.cut / SECOND, failover.returned / SECOND
    axes.axvspan(cut, returned, color="#EEEEEE")
    for capacity, label in ((both, "both links' capacity"), (one, "one link's capacity")):
        axes.axhline(capacity, color=GREY, linewidth=0.9, linestyle="--")
        axes.annotate(
            label,
            (1.01, capacity),
            xycoords=("axes fraction", "data"),
            va="center",
            color=GREY,
            annotation_clip=False,
        )
    times, rates = over_time(failover.samples, FAILOVER_WINDOW)
    axes.plot(times, rates, color=COLOURS[CUT_METHOD], linewidth=1.6)
    top = 1.3 * both
    during = failover.parts[1].method
    for time, label in ((cut, during), (returned, "link returned")):
        axes.axvline(time, color=BLACK, linewidth=1.2)
        axes.annotate(label, (time, top), xytext=(4, -12), textcoords="offset points", color=BLACK)
    axes.set_ylim(top=top)
    axes.set_title(
        f"One TCP flow over two equal links with {CUT_METHOD}, {during} for {returned - cut:.1f} s",
        loc="left",
    )


def _draw_methods(axes: Axes, figures: list[Figure]) -> None:
    for figure in sorted(figures, key=lambda figure: -figure.goodput):
        times, rates = over_time(figure.samples, METHODS_WINDOW)
        label = f"{figure.method}  {figure.goodput / 1e6:.1f}"
        if figure.method == SINGLE:
            axes.plot(times, rates, color=BLACK, linewidth=1.4, linestyle="--", label=label)
        else:
            axes.plot(times, rates, color=COLOURS[figure.method], linewidth=1.6, label=label)
    capacity = max(figure.capacity for figure in figures) / 1e6
    axes.axhline(capacity, color=GREY, linewidth=0.9, linestyle="--")
    axes.set_ylim(top=1.3 * capacity)
    axes.legend(
        title="method, mean Mbit/s", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False
    )
    widest = max(figures, key=lambda figure: figure.capacity)
    axes.set_title(f"One TCP flow over {widest.links}, by method", loc="left")
