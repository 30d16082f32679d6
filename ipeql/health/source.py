"""The interface of a health source.

A source is a frozen value; its state is in its fields. Judging returns the next value and changes
nothing, so a dry run judges and discards the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from ipeql.state import Link, PathReport

Slave = tuple[str, int]
"""A slave by its bundle and its ifindex."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the sources judge. ``slaves``: the links that each bundle has now, in its order.

    ``paths``: what probes have shown last of the slaves that have one. ``uplinks``: of the slaves
    that have ``over``, its name and the link; None: there is no such link.
    """

    slaves: Mapping[str, Sequence[Link]]
    paths: Mapping[Slave, PathReport] = field(default_factory=dict)
    uplinks: Mapping[Slave, tuple[str, Link | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opinion:
    """The objection of a source to one slave.

    ``reason``: one word for programs, the slave's state in ``ipeql status``. ``detail``: the same
    in a few words for people. ``until``: when the objection ends by itself, ns, or None.
    ``last_resort``: the slave may be used if its bundle has no other; needs ``until``.
    """

    reason: str
    detail: str
    until: int | None = None
    last_resort: bool = False


class Source(Protocol):
    """One reason to leave a slave out, such as its carrier."""

    def judge(self, now: int, seen: Seen) -> tuple[Self, dict[Slave, Opinion]]:
        """Return the source as it is after this, and the slaves it objects to.

        ``now``: ns on one monotonic clock, the caller's. Two calls with the same ``now`` give the
        same result.
        """
        ...
