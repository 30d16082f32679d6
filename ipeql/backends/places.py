"""Where the slaves of a bundle are counted."""

from collections.abc import Sequence

from ipeql.methods import MAX_SLAVES


def places(staying: Sequence[int | None], before: Sequence[int]) -> tuple[int, ...]:
    """Return a place for each slave: those that stay keep theirs; pure.

    ``staying``: the place of each slave, None where it is new. ``before``: all that were taken. A
    place that was free comes before one that another slave has just left.
    """
    free = iter(sorted(set(range(MAX_SLAVES)) - set(before)) + sorted(set(before) - set(staying)))
    return tuple(next(free) if place is None else place for place in staying)
