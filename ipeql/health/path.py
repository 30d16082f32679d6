"""Paths that are down: probes to the far end have had no answer for longer than a second.

``ipeql.paths`` decides this and when such a path is back; this source passes it on. A path that is
only suspended is not objected to: the dataplane has been told of it already, and it is mostly back
before a pass has run.
"""

from dataclasses import dataclass
from typing import Self

from ipeql.health.source import Opinion, Seen, Slave
from ipeql.state import Standing

PATH_DOWN = "path-down"


@dataclass(frozen=True, slots=True)
class Path:
    """The source for the path to the far end. It has no state of its own."""

    def judge(self, now: int, seen: Seen) -> tuple[Self, dict[Slave, Opinion]]:
        """Return the source, and the objections."""
        opinions: dict[Slave, Opinion] = {}
        for bundle, links in seen.slaves.items():
            for link in links:
                report = seen.paths.get((bundle, link.ifindex))
                if report and report.standing is Standing.DOWN:
                    detail = report.why or "the far end does not answer"
                    opinions[bundle, link.ifindex] = Opinion(PATH_DOWN, detail)
        return self, opinions
