"""duplicate: every packet over several slaves, for what must arrive."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from ipeql.methods.base import ALL, PLAIN, Arrival, Decision, Rules, Scheduler, SlaveParameters

COPIES = 2
"""``copies`` where none are given."""


class Duplicate(Scheduler):
    """Every packet over the ``copies`` slaves that deliver it first; flows are not kept apart.

    Where a slave does not give bandwidth and lag they are the first in the list. Source:
    docs/methods.md, duplicate.
    """

    name: ClassVar[str] = "duplicate"
    parameters: ClassVar[frozenset[str]] = frozenset({"copies"})

    def __init__(
        self, slaves: Sequence[SlaveParameters], rules: Rules = PLAIN, *, copies: int = COPIES
    ) -> None:
        if copies < 1:
            raise ValueError(f"copies is {copies}; expected 1 or more")
        super().__init__(slaves, replace(rules, stripe_unit=PLAIN.stripe_unit))
        self._each = copies
        self.set_usable(ALL)

    def _use(self, slaves: list[int]) -> None:
        """Nothing: every packet looks at all of them."""

    def _choose(self, arrival: Arrival) -> Decision:
        return self._send_copies(arrival, self._each)
