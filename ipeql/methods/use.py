"""Which slaves a method chooses from: those in use, of those that are usable.

Source: docs/methods.md, use. Sets of slaves are masks: bit i is slave i.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ALWAYS, WHEN_FULL, WHEN_DOWN = "always", "when-full", "when-down"
USES = (ALWAYS, WHEN_FULL, WHEN_DOWN)
"""In the order of ``enum ipeql_use``."""


@dataclass(frozen=True, slots=True)
class Reserves:
    """The slaves that are not always in use."""

    when_full: int = 0
    when_down: int = 0

    def __bool__(self) -> bool:
        return bool(self.when_full | self.when_down)

    def always(self, slaves: int) -> int:
        """Return those of ``slaves`` that are always in use."""
        return slaves & ~(self.when_full | self.when_down)

    def candidates(self, usable: int) -> int:
        """Return those that may get a packet while these are usable.

        They are the slaves that are in use, and those that overflow goes to. Where there is none of
        them it is the first that is for that.
        """
        first = usable & ~self.when_down
        return first or usable & -usable

    def expected(self, slaves: int) -> int:
        """Return those of ``slaves``, which are about to be usable, that a method waits for."""
        return slaves & ~self.when_down


def reserves(uses: Iterable[str]) -> Reserves:
    """Return the reserves among slaves with these values of ``use``; ValueError: one is unknown."""
    full = down = 0
    for i, use in enumerate(uses):
        if use not in USES:
            raise ValueError(f"slave {i}: use is {use!r}; expected {', '.join(USES)}")
        full |= (use == WHEN_FULL) << i
        down |= (use == WHEN_DOWN) << i
    return Reserves(full, down)
