"""Measured figures, and what is computed from them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.network.traffic import longest_pause

SECOND = 10**9
SINGLE = "best single link"

Samples = Sequence[tuple[int, int]]
"""(ns, bytes) since the start of a flow, ascending."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured flow, or a part of one.

    ``scenario`` and ``links`` say over what, ``method`` how; ``goodput`` and ``capacity`` in bit/s
    of payload; ``bar`` the share to reach, None: none; ``tries`` how often it was measured, the
    last time being this one; ``backend`` the dataplane, empty where there was none.
    """

    scenario: str
    links: str
    method: str
    goodput: float
    capacity: float
    bar: float | None = None
    tries: int = 1
    backend: str = ""
    samples: tuple[tuple[int, int], ...] = ()

    @property
    def share(self) -> float:
        """Return goodput over capacity."""
        return self.goodput / self.capacity

    @property
    def holds(self) -> bool:
        """Say whether the bar is reached; without one, yes."""
        return self.bar is None or self.share >= self.bar

    def to_json(self) -> dict[str, Any]:
        """Return the figure, without its samples."""
        return {
            "scenario": self.scenario,
            "links": self.links,
            "method": self.method,
            "backend": self.backend,
            "goodput_bps": round(self.goodput),
            "capacity_bps": round(self.capacity),
            "share": round(self.share, 4),
            "bar": self.bar,
            "holds": self.holds,
            "tries": self.tries,
        }


@dataclass(frozen=True, slots=True)
class Failover:
    """A flow during which a link failed at ``cut`` and returned at ``returned``, ns of its time.

    ``title`` says how. ``parts``: the figures before, during and after.
    """

    title: str

    parts: tuple[Figure, ...]
    samples: tuple[tuple[int, int], ...]
    cut: int
    returned: int

    @property
    def pause(self) -> int:
        """Return the longest time without a byte delivered from the cut on, ns."""
        return longest_pause([sample for sample in self.samples if sample[0] >= self.cut])

    def to_json(self) -> dict[str, Any]:
        """Return what the figures of the parts do not say; times in seconds."""
        return {
            "title": self.title,
            "cut_s": self.cut / SECOND,
            "returned_s": self.returned / SECOND,
            "longest_pause_s": self.pause / SECOND,
        }


def rate(samples: Samples) -> float:
    """Return the bit/s between the first and the last of ``samples``; 0 where there is no time."""
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
        return 0.0
    (start, first), (end, last) = samples[0], samples[-1]
    return (last - first) * 8 * SECOND / (end - start)


def between(samples: Samples, start: int, end: int) -> Samples:
    """Return the samples from ``start`` to ``end``, ns."""
    return [sample for sample in samples if start <= sample[0] <= end]


def over_time(samples: Samples, window: int) -> tuple[list[float], list[float]]:
    """Return times (s) and the mean rates (Mbit/s) of the ``window`` ns that end there."""
    times, rates = [], []
    first = 0
    for time, total in samples:
        while samples[first + 1][0] <= time - window:
            first += 1
        start, before = samples[first]
        if time > start and time >= window:
            times.append(time / SECOND)
            rates.append((total - before) * 8e3 / (time - start))
    return times, rates
