"""A slave's path to the far end: how it is probed, what is known of it, and what follows.

Units: rates bit/s, times ns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import NamedTuple

from ipeql.state.values import Address

LEAST_MEASURED, MOST_MEASURED = 100_000, 10**11
"""bit/s: a measured bandwidth stays within, unless other bounds are configured."""

STAMP_PORT = 862
"""RFC 8762, 4.1: the default port of a Session-Reflector."""


class Measured(NamedTuple):
    """A bandwidth that is measured, and kept within these bounds, bit/s."""

    least: int = LEAST_MEASURED
    most: int = MOST_MEASURED


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """How the far end of a slave is asked.

    ``to``: its address, that of the bundle there. ``by``: stamp, icmp, or auto: STAMP, and ICMP
    echo where nobody answers that. ``interval`` None: by what the slave carries; else the shortest
    one. ``key_file``: the file with the key of the HMAC; empty: none.
    """

    to: Address
    by: str = "auto"
    port: int = STAMP_PORT
    interval: int | None = None
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class ProbeKeys:
    """What a slave has otherwise than its bundle's probe; None: as there."""

    to: Address | None = None
    by: str | None = None
    port: int | None = None
    interval: int | None = None
    key_file: str | None = None

    def over(self, probe: ProbeSpec | None) -> ProbeSpec | None:
        """Return the slave's probe; ``probe``: the bundle's. None: there is no address to ask."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        given = {name: value for name, value in own.items() if value is not None}
        if probe:
            return replace(probe, **given)
        return ProbeSpec(**given) if self.to else None


class Standing(StrEnum):
    """What liveness says of a path.

    ``UNKNOWN``: nobody has answered yet, or nobody is asked; the slave is used. ``SUSPENDED``:
    silent for longer than usual, and out of use until the next answer. ``DOWN``: silent for longer
    than a second; an event, told of, and with a hold-off.
    """

    UNKNOWN = "unknown"
    UP = "up"
    SUSPENDED = "suspended"
    DOWN = "down"


class Learning(StrEnum):
    """What is known of a bandwidth that is measured.

    ``STARTUP``: nothing yet, it is being tried. ``TRACK``: it is followed. ``PAUSE``: the slave
    rests for some hundredths of a second, so that its delay without a queue is seen.
    """

    STARTUP = "startup"
    TRACK = "track"
    PAUSE = "pause"


class Rung(StrEnum):
    """How much the far end tells of a path, the most first."""

    COUNTED = "stamp-counted"
    STAMP = "stamp"
    ICMP = "icmp"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PathReport:
    """What is known of a slave's path.

    ``since``: when it came to its standing, in ns of CLOCK_MONOTONIC. ``why``: in a few words, for
    a path that is not up. ``round_trip``: the median of the last second. ``lag``: how much later
    than over the fastest path of the bundle a packet arrives; ``halved``: taken from the round
    trips. ``loss``: the share of probes without an answer over the last ten seconds, 0 to 1.
    ``suspensions``: in the last hour. ``bandwidth``: measured, bit/s; ``queue``: what stands in
    the path, ns; ``delivered``: what arrived of late, bit/s. None: not known, or not measured.
    """

    standing: Standing = Standing.UNKNOWN
    since: int = 0
    why: str = ""
    rung: Rung = Rung.NONE
    round_trip: int | None = None
    lag: int | None = None
    halved: bool = False
    loss: float | None = None
    suspensions: int = 0
    bandwidth: int | None = None
    queue: int | None = None
    learning: Learning | None = None
    delivered: int | None = None


class Backlog(NamedTuple):
    """The queue of ``delay`` ns that a probe met which was sent at ``asked``, CLOCK_MONOTONIC."""

    asked: int
    delay: int


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What a path says about its slave; None: the slave table's value stays in force.

    ``lost_since``: of a slave that is not usable any more, what it has sent since then may be lost,
    ns of CLOCK_MONOTONIC. A dataplane that still has it sends it again over another slave.
    ``late``: packets should be bound to a slave only when it can take them, since its bandwidth is
    measured; ``backlog``: what is known of its queue. Only where the dataplane binds late.
    """

    usable: bool = True
    bandwidth: int | None = None
    lag: int | None = None
    lost_since: int | None = None
    late: bool = False
    backlog: Backlog | None = None


Adjustments = Mapping[int, Adjusted]
"""By ifindex. A slave that is missing has the slave table's values."""
