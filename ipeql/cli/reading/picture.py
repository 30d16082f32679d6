"""The picture of a recording: rates, delay and state of each slave's path over time."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import BinaryIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ipeql.cli.reading.recorded import Sample

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
"""Seven of Okabe and Ito's, which colour-blind people tell apart too (jfly.uni-koeln.de/color)."""

STATES = {
    "up": "#B8DDF0",
    "track": "#B8DDF0",
    "startup": "#F0E442",
    "pause": "#56B4E9",
    "suspended": "#E69F00",
    "down": "#D55E00",
    "unknown": "#DDDDDD",
}
"""The colour of each state: the path's standing, and while it is up what the law of its rate does.
"""


def draw(file: BinaryIO, bundle: str, recorded: Sequence[Sample]) -> None:
    """Write a PNG of a recording."""
    by_slave: dict[str, list[Sample]] = {}
    for sample in recorded:
        by_slave.setdefault(sample.slave, []).append(sample)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(10, 8), layout="constrained")
        rates, delays, states = canvas.subplots(
            3, 1, sharex=True, height_ratios=(3, 3, 0.6 + 0.25 * len(by_slave))
        )
        for number, (slave, samples) in enumerate(by_slave.items()):
            colour = PALETTE[number % len(PALETTE)]
            _draw_rates(rates, slave, colour, samples)
            _draw_delays(delays, slave, colour, samples)
        _draw_states(states, by_slave)
        rates.set_title(f"{bundle}: what its paths are believed to carry, and deliver", loc="left")
        rates.set_ylabel("rate (Mbit/s)")
        delays.set_ylabel("delay (ms)")
        states.set_xlabel("time since the recording began (s)")
        for axes in (rates, delays):
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
            if by_slave:
                axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        canvas.savefig(file, dpi=110, format="png")


def _draw_rates(axes: Axes, slave: str, colour: str, samples: Sequence[Sample]) -> None:
    times = [sample.time_s for sample in samples]
    believed = [_mbit(sample.believed_bps) for sample in samples]
    delivered = [_mbit(sample.delivered_bps) for sample in samples]
    axes.plot(times, believed, color=colour, linewidth=1.6, label=f"{slave} believed")
    axes.plot(times, delivered, color=colour, linewidth=0.7, label=f"{slave} delivered")


def _draw_delays(axes: Axes, slave: str, colour: str, samples: Sequence[Sample]) -> None:
    times = [sample.time_s for sample in samples]
    trips = [_known(sample.round_trip_ms) for sample in samples]
    queues = [_known(sample.queue_ms) for sample in samples]
    axes.plot(times, trips, color=colour, linewidth=1.6, label=f"{slave} round trip")
    axes.plot(times, queues, color=colour, linewidth=0.7, label=f"{slave} queue")


def _draw_states(axes: Axes, by_slave: dict[str, list[Sample]]) -> None:
    seen: set[str] = set()
    for place, samples in enumerate(by_slave.values()):
        for state, begin, end in _spans(samples):
            seen.add(state)
            axes.barh(place, end - begin, left=begin, height=0.7, color=STATES[state])
    axes.set_yticks(range(len(by_slave)), list(by_slave))
    axes.invert_yaxis()
    patches = [Patch(color=colour, label=state) for state, colour in STATES.items()]
    shown = [patch for patch in patches if patch.get_label() in seen]
    if shown:
        axes.legend(handles=shown, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _spans(samples: Sequence[Sample]) -> Iterator[tuple[str, float, float]]:
    """Yield the states of a path, each with its begin and end in seconds."""
    timed = [
        (_state(now), now.time_s, after.time_s) for now, after in pairwise((*samples, samples[-1]))
    ]
    for state, parts in groupby(timed, key=lambda part: part[0]):
        spans = list(parts)
        yield state, spans[0][1], spans[-1][2]


def _state(sample: Sample) -> str:
    return sample.learning or "up" if sample.standing == "up" else sample.standing


def _mbit(rate: int | None) -> float:
    return float("nan") if rate is None else rate / 1e6


def _known(time: float | None) -> float:
    return float("nan") if time is None else time
