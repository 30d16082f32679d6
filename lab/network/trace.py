"""Recordings of real links, for a shaper to play: what a link carried, how long it took. Pure.

A recording is played over and over, on the caller's clock: see the parameter ``begin``.
``lab/traces/`` has some.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab import ROOT

TRACES = ROOT / "lab" / "traces"
MS = 1_000_000
OPPORTUNITY = 1500
"""Bytes of IP that a link can carry each time: mahimahi's, mm-link(1)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """When a link could carry ``OPPORTUNITY`` bytes: ``times`` ms, ascending, the last one > 0.

    The file format is mahimahi's (mm-link(1)): one number a line. The last one is also the length
    of the recording. What is not used is lost.
    """

    times: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Return the mean bit/s of IP packets."""
        return len(self.times) * OPPORTUNITY * 8_000 / self.times[-1]

    def time(self, number: int, begin: int) -> int:
        """Return when opportunity ``number`` comes, ns, of a recording that begins at ``begin``."""
        rounds, index = divmod(number, len(self.times))
        return begin + (rounds * self.times[-1] + self.times[index]) * MS

    def first(self, now: int, begin: int) -> int:
        """Return the number of the first opportunity at ``now`` or later."""
        since = -((begin - now) // MS)  # rounded up
        rounds, within = divmod(since, self.times[-1])
        number = rounds * len(self.times) + bisect_left(self.times, within)
        while self.time(number - 1, begin) >= now:  # a round's end is the next one's beginning
            number -= 1
        return number


@dataclass(frozen=True, slots=True)
class Delays:
    """The one-way delay of a link over time: ``values`` in ns, one every ``step`` ns."""

    step: int
    values: tuple[int, ...]

    def at(self, now: int, begin: int) -> int:
        """Return the delay, ns, at ``now`` of a recording that begins at ``begin``."""
        return self.values[(now - begin) // self.step % len(self.values)]


@cache
def trace(file: str) -> Trace:
    """Read a recording of opportunities; OSError, or ValueError for a file that is none."""
    times = tuple(int(line) for line in Path(file).read_text().split())
    if not times or not times[-1] or list(times) != sorted(times):
        raise ValueError(f"{file} is no mahimahi trace: it needs ascending milliseconds")
    return Trace(times)


@cache
def delays(file: str) -> Delays:
    """Read delays: a head line, then lines ``ms,ms`` with time and delay, the times evenly spaced.

    OSError, or ValueError for a file that is none.
    """
    pairs = [line.split(",") for line in Path(file).read_text().split()[1:]]
    times = [int(time) for time, _ in pairs]
    if len(times) < 2 or times != list(range(times[0], times[-1] + 1, times[1] - times[0])):
        raise ValueError(f"{file} has no delays at even times")
    return Delays((times[1] - times[0]) * MS, tuple(int(float(delay) * MS) for _, delay in pairs))
