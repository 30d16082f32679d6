"""One path: what is configured of it, how it is probed, what is known of it.

Local times are ns of CLOCK_MONOTONIC, those of the far end ns of its own clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from ipeql.paths.cadence import SHARE_OF_MEASURED, Pace, Traffic, interval
from ipeql.paths.lag import Delays
from ipeql.paths.life import Life
from ipeql.paths.liveness import due
from ipeql.paths.rate.law import Law
from ipeql.paths.rate.unseen import Count
from ipeql.state.path import Measured, Rung, Standing

_SHORTEST_RAMP = 20 * 10**6


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is configured of a slave's path.

    ``far``: names the far end; only paths of one far end have comparable lags. ``interval``: the
    shortest between two probes, ns, or None. ``rate``: of the slave, bit/s; 0: not known. ``lag``:
    as configured, ns, or None where it is measured. ``measured``: the bounds of a bandwidth that is
    measured; ``rate`` is assumed before that. ``late``: the dataplane binds packets late then.
    ``probed``: from here; the far end may ask all the same.
    """

    far: str = ""
    interval: int | None = None
    rate: int = 0
    lag: int | None = None
    measured: Measured | None = None
    late: bool = False
    probed: bool = True


class Answer(NamedTuple):
    """An answer to a probe. Local: when the probe was ``sent``, and the answer ``received``.

    ``far_received``, ``far_sent``: when the far end had the probe and sent the answer, by its own
    clock; None where it does not say. ``counted``: what it has counted of the data; None likewise.
    """

    sequence: int
    sent: int
    received: int
    rung: Rung
    far_received: int | None = None
    far_sent: int | None = None
    counted: Count | None = None

    @property
    def round_trip(self) -> int:
        """The time on the way, without that at the far end where it is known. RFC 8762, 4."""
        if self.far_received is None or self.far_sent is None:
            return self.received - self.sent
        return self.received - self.sent - (self.far_sent - self.far_received)


@dataclass(slots=True)
class Path:
    """A path of a bundle's slave. ``due``: when to judge for its sake, ns."""

    parameters: Parameters
    life: Life
    delays: Delays
    traffic: Traffic = field(default_factory=Traffic)
    rung: Rung = Rung.NONE
    law: Law | None = None
    due: int = 0

    def configure(self, parameters: Parameters) -> None:
        """Take over other parameters for the same path."""
        self.parameters = parameters
        self.life.probed = parameters.probed
        if parameters.measured is None:
            self.law = None
        elif self.law is None:
            self.law = Law(parameters.measured, late=parameters.late)
        else:
            self.law.late = parameters.late
            self.law.bound(parameters.measured)
        self.life.interval = self.interval(Pace.BUSY)

    def interval(self, pace: Pace) -> int:
        """Return the time between two probes at this pace, ns."""
        shortest = self.parameters.interval
        if self.law:
            return interval(pace, shortest, self.law.capacity, SHARE_OF_MEASURED)
        return interval(pace, shortest, self.parameters.rate)

    def expect(self, now: int) -> None:
        """Find out when to judge, since something has been sent or has come.

        While the path is not up, it is looked at in equal times.
        """
        if self.life.standing is Standing.UP:
            self.due = due(self.life, now)

    @property
    def is_paused(self) -> bool:
        """Whether the slave rests, so that its delay without a queue is seen."""
        return self.law is not None and self.law.is_paused

    def is_followed(self, now: int) -> bool:
        """Say whether the dataplane is told of the path's queue: it binds late, and has traffic."""
        return self.law is not None and self.law.late and self.traffic.pace(now) is Pace.BUSY

    @property
    def ramp(self) -> int:
        """For how long a path that has returned is used at half its rate: one round trip, in ns."""
        return max(self.life.evidence.usual, _SHORTEST_RAMP)
