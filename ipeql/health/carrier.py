"""Carrier and admin state, with a hold-off for slaves that come back.

A failed link loses packets at once, so a failure counts at once. A link that has just come back may
be flapping, so it has to stay up for :data:`HOLD_OFF` before it is used again. The bonding driver's
``updelay`` does the same, with the same last-resort rule
(Documentation/networking/bonding.rst: "updelay is ignored" when no link is left).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from ipeql.health.source import Opinion, Seen, Slave
from ipeql.state import Link

HOLD_OFF = 10**9
"""How long, in ns, a slave that was lost has to be up before it is used again."""

ADMIN_DOWN = Opinion("admin-down", "the link is set down")
NO_CARRIER = Opinion("no-carrier", "no signal on the link")
HELD_OFF = "hold-off"


def objection(link: Link) -> Opinion | None:
    """Return what the link's own state says against its use, if anything."""
    if not link.up:
        return ADMIN_DOWN
    return None if link.carrier else NO_CARRIER


@dataclass(frozen=True, slots=True)
class Carrier:
    """The source for the carrier.

    - Admin-down or without carrier: not usable, at once.
    - Back after it was lost: held off, each time again. A slave that has not been usable before is
      not coming back; it is used at once.
    - A slave that is gone is forgotten: if it returns, it is new.

    ``usable_from``: the time (ns) from which a slave may be used; None while it is lost.
    """

    usable_from: Mapping[Slave, int | None] = field(default_factory=dict)

    def judge(self, now: int, seen: Seen) -> tuple[Self, dict[Slave, Opinion]]:
        """Return the next value, and the objections."""
        usable_from: dict[Slave, int | None] = {}
        opinions: dict[Slave, Opinion] = {}
        for bundle, links in seen.slaves.items():
            for link in links:
                slave = (bundle, link.ifindex)
                if against := objection(link):
                    opinions[slave] = against
                    if slave in self.usable_from:
                        usable_from[slave] = None
                    continue
                start = self.usable_from.get(slave, now)
                usable_from[slave] = start = now + HOLD_OFF if start is None else start
                if start > now:
                    opinions[slave] = _held_off(start)
        return type(self)(usable_from), opinions


def _held_off(until: int) -> Opinion:
    return Opinion(HELD_OFF, "back for less than a second", until, last_resort=True)
