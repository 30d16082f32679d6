"""The smallest of the values of the last seconds."""

from collections import deque


class Least:
    """The smallest value of the last ``parts`` times ``part`` ns, of which each part has its own.

    ``value``: None where there is none.
    """

    def __init__(self, part: int, parts: int) -> None:
        self._part = part
        self._parts = parts
        self._buckets: deque[tuple[int, int]] = deque()
        self.value: int | None = None

    def clear(self) -> None:
        """Forget all."""
        self._buckets.clear()
        self.value = None

    def add(self, now: int, value: int) -> None:
        """Note a value of the time ``now``, both ns."""
        buckets, number = self._buckets, now // self._part
        if buckets and self.value is not None and buckets[-1][0] == number:
            if value < buckets[-1][1]:
                buckets[-1] = number, value
                self.value = min(self.value, value)
            return
        buckets.append((number, value))
        while buckets[0][0] <= number - self._parts:
            buckets.popleft()
        self.value = min([least for _, least in buckets])

    def shift(self, by: int) -> None:
        """Move all values by ``by`` ns."""
        self._buckets = deque((number, least + by) for number, least in self._buckets)
        if self.value is not None:
            self.value += by
