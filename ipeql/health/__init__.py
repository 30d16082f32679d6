"""Whether a slave is usable: decided from the observed state by several sources. Pure."""

from ipeql.health.carrier import Carrier
from ipeql.health.merge import Health, Judgement
from ipeql.health.path import Path
from ipeql.health.source import Opinion, Seen, Source
from ipeql.health.uplink import Uplink

SOURCES: tuple[Source, ...] = (Carrier(), Uplink(), Path())
"""Every source in its initial state. The first one that objects gives the reason."""

__all__ = [
    "SOURCES",
    "Carrier",
    "Health",
    "Judgement",
    "Opinion",
    "Path",
    "Seen",
    "Source",
    "Uplink",
]
