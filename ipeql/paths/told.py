"""What the dataplane is told of a bundle's slaves: not every change, and not too often."""

from collections.abc import Callable, Mapping

TOLD_EVERY = 20 * 10**6
"""ns."""

_NEVER = 1 << 63


class Told:
    """``values``: what was told last, by ifindex.

    ``differs`` says of the value told and another one whether that is worth telling.
    """

    def __init__(self, differs: Callable[[int, int], bool]) -> None:
        self.values: dict[int, int] = {}
        self._differs = differs
        self._at = 0

    def is_due(self, ifindex: int, value: int, now: int) -> bool:
        """Say whether ``value`` is to be told now."""
        return now >= self._at + TOLD_EVERY and self._is_worth_it(ifindex, value)

    def update(self, now: int, wanted: Mapping[int, int]) -> int:
        """Tell what has changed, if it is time; return when to do it again, in ns."""
        self.values = {slave: each for slave, each in self.values.items() if slave in wanted}
        changed = {slave: each for slave, each in wanted.items() if self._is_worth_it(slave, each)}
        if not changed:
            return _NEVER
        if now < self._at + TOLD_EVERY:
            return self._at + TOLD_EVERY
        self.values |= changed
        self._at = now
        return _NEVER

    def _is_worth_it(self, ifindex: int, value: int) -> bool:
        told = self.values.get(ifindex)
        return told is None or self._differs(told, value)
