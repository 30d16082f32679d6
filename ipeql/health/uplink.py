"""Uplinks of tunnels: what ``over`` names is not there, or carries nothing.

A tunnel does not see what its uplink is like, and has a carrier without it.
"""

from dataclasses import dataclass
from typing import Self

from ipeql.health.carrier import objection
from ipeql.health.source import Opinion, Seen, Slave

NO_UPLINK = "no-uplink"


@dataclass(frozen=True, slots=True)
class Uplink:
    """The source for the uplink. It has no state of its own."""

    def judge(self, now: int, seen: Seen) -> tuple[Self, dict[Slave, Opinion]]:
        """Return the source, and the objections."""
        opinions: dict[Slave, Opinion] = {}
        for slave, (name, link) in seen.uplinks.items():
            if link is None:
                opinions[slave] = Opinion(NO_UPLINK, f"{name} is not there")
            elif against := objection(link):
                opinions[slave] = Opinion(NO_UPLINK, f"{name}: {against.detail}")
        return self, opinions
