"""Whether a slave is usable: decided from the observed state by several sources. Pure."""

from ipeql.health.carrier import Carrier
from ipeql.health.merge import Health, Judgement
from ipeql.health.path import Path
from ipeql.health.source import Opinion, Seen, Source

SOURCES: tuple[Source, ...] = (Carrier(), Path())
"""Every source in its initial state. The first one that objects gives the reason."""

__all__ = ["SOURCES", "Carrier", "Health", "Judgement", "Opinion", "Path", "Seen", "Source"]
