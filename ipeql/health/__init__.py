"""Is a slave usable: pure judgement of what was observed, merged from several sources."""

from ipeql.health.carrier import Carrier
from ipeql.health.merge import Health, Judgement
from ipeql.health.source import Opinion, Seen, Source

SOURCES: tuple[Source, ...] = (Carrier(),)
"""Every source, as it is before it has seen anything. The first one to object gives the reason."""

__all__ = ["SOURCES", "Carrier", "Health", "Judgement", "Opinion", "Seen", "Source"]
