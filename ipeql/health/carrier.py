"""Carrier and admin state, with a hold-off for slaves that come back.

A dead link costs packets at once, so a fault counts at once; a link that has just come back may be
flapping, so it has to stay for :data:`HOLD_OFF` before it carries packets again. The bonding
driver's ``updelay`` is the same idea, its last-resort rule included
(Documentation/networking/bonding.rst: "updelay is ignored" when no link is left).
"""

from collections.abc import Mapping, Sequence

from ipeql.state import Link, Verdict

HOLD_OFF = 10**9
"""How long, in ns, a slave that was lost has to be back before it is used again."""

ADMIN_DOWN = "admin-down"
NO_CARRIER = "no-carrier"
HELD_OFF = "hold-off"

_Key = tuple[str, int]


class CarrierHealth:
    """The judge of carrier: its only state is who was lost and since when who is back.

    Times are ns on one monotonic clock, the caller's.
    """

    def __init__(self) -> None:
        # The time from which a slave may be used; None while a slave that was usable is not.
        self._usable_from: dict[_Key, int | None] = {}
        self._next_change: int | None = None

    @property
    def next_change(self) -> int | None:
        """Return when a verdict will change by itself (ns), as of the last call of ``judge``."""
        return self._next_change

    def judge(self, now: int, members: Mapping[str, Sequence[Link]]) -> dict[_Key, Verdict]:
        """Return the verdict on every slave by (bundle, ifindex).

        ``now`` in ns; ``members``: the links each bundle has now. Asked twice, it answers the same.

        - Admin-down or without carrier: unusable at once.
        - Back after it was lost: held off, and anew each time it is lost again. A slave that has
          not been usable before is not coming back; it is used as soon as it can be.
        - Where only held-off slaves are left in a bundle, the one that has been back the longest is
          released for good, ties in the order of ``members``; the others serve out their time.
        - A slave that is gone is forgotten: if it returns, it is new.
        """
        verdicts: dict[_Key, Verdict] = {}
        usable_from: dict[_Key, int | None] = {}
        for bundle, links in members.items():
            held: dict[_Key, int] = {}
            served = False
            for link in links:
                key = (bundle, link.ifindex)
                fault = _fault(link)
                if fault:
                    if key in self._usable_from:
                        usable_from[key] = None
                    verdicts[key] = Verdict(False, fault)
                    continue
                start = self._usable_from.get(key, now)
                if start is None:
                    start = now + HOLD_OFF
                usable_from[key] = start
                if start > now:
                    held[key] = start
                    verdicts[key] = Verdict(False, HELD_OFF)
                else:
                    served = True
                    verdicts[key] = Verdict(True)
            if held and not served:
                longest_back = min(held, key=held.__getitem__)
                usable_from[longest_back] = now
                verdicts[longest_back] = Verdict(True)
        self._usable_from = usable_from
        self._next_change = min(
            (start for start in usable_from.values() if start is not None and start > now),
            default=None,
        )
        return verdicts


def _fault(link: Link) -> str:
    if not link.up:
        return ADMIN_DOWN
    return "" if link.carrier else NO_CARRIER
