"""Links that play recordings of real ones in one direction, and what they could have carried."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.network.hosts import Lab
from lab.network.shaper import Shape
from lab.network.trace import MS, OPPORTUNITY, TRACES, Trace, delays, trace

PAYLOAD = 1448 / 1500
"""TCP payload, timestamps on, of a full IP packet."""

DIRECTORY = "IPEQL_TRACES"
"""Names a directory with further recordings, for those that are not in lab/traces."""

BACK_RATE, BACK_QUEUE = 10_000_000, 300 * MS
"""Bit/s and ns of the way back, which is not recorded."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A link: ``file`` and ``delays`` as :mod:`lab.network.trace` reads them, by name.

    ``delay``: of its own, one-way, both ways, ns. ``queue``: in time of its mean rate, ns.
    ``skip``: ns of the recording that are left out at first.
    """

    name: str
    file: str
    delay: int
    queue: int
    delays: str = ""
    skip: int = 0

    @property
    def trace(self) -> Trace:
        """Return when it could carry something; OSError where there is no such file."""
        return trace(found(self.file))

    @property
    def lag(self) -> int:
        """Return how long it takes from end to end on average, ns, without a queue."""
        more = delays(found(self.delays)).values if self.delays else (0,)
        return self.delay + sum(more) // len(more)

    @property
    def way_back(self) -> Shape:
        """Return its other direction."""
        return Shape(BACK_RATE, self.delay, BACK_QUEUE)

    def carried(self, begin: int, since: int, until: int) -> int:
        """Return the bytes of TCP payload that it could carry from ``since`` to ``until``.

        ns of the clock on which it began to be played at ``begin``.
        """
        played = begin - self.skip
        count = self.trace.first(until, played) - self.trace.first(since, played)
        return round(count * OPPORTUNITY * PAYLOAD)


def found(file: str) -> str:
    """Return where a recording is; OSError where it is in neither place."""
    places = [TRACES, *map(Path, filter(None, [os.environ.get(DIRECTORY)]))]
    for place in places:
        if (path := place / file).exists():
            return str(path)
    raise FileNotFoundError(f"no recording {file}: see lab/traces/README.md")


def play(lab: Lab, recordings: Sequence[Recording], later: int = 0) -> int:
    """Have the links towards b play their recordings from now on, ``later`` ns into them.

    Return when that began, as :meth:`Recording.carried` takes it: ns of CLOCK_MONOTONIC.
    """
    begin = time.monotonic_ns() - later
    for link, recording in zip(lab.names, recordings, strict=True):
        lab.shape(
            link,
            towards=lab.b,
            rate=None,
            queue=recording.queue,
            trace=found(recording.file),
            delays=found(recording.delays) if recording.delays else "",
            begin=begin - recording.skip,
        )
    return begin
