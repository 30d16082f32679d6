"""One path, and where it stands: what it has come through."""

from collections import deque
from dataclasses import dataclass, field

from ipeql.paths.evidence import Evidence
from ipeql.state.path import Standing

_SECOND = 10**9

DOWN_AFTER = _SECOND
"""The silence after which a path is down."""

FIRST_ANSWER = DOWN_AFTER * 3 // 10
"""A path that has never been answered is silent after so long: its round trip is not known."""

BACK_AFTER = 3
"""Answers after which it is not, and asks of the far end where that is all one hears."""

FIRST_HOLD_OFF = _SECOND // 5
LONGEST_HOLD_OFF = 10 * _SECOND
REPEATED_WITHIN = 60 * _SECOND
"""A path that goes down again within this time after its return is held off, twice as long each
time."""

NEVER = "no answer so far"

_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE


@dataclass(slots=True)
class Life:
    """One path, and where it stands.

    ``probed``: whether it is probed from here; if not, it is taken for one that works.
    ``interval``: between two probes, when it matters. ``overdue``: for how long a probe should have
    been sent already. ``far``: names the far end. ``asks``: when its last probes came.
    ``returned``: when it was last used again after a silence, ``recovered``: after it was down; 0:
    never.
    """

    far: str
    probed: bool = True
    interval: int = 0
    overdue: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    asks: deque[int] = field(default_factory=lambda: deque(maxlen=BACK_AFTER))
    standing: Standing = Standing.UNKNOWN
    since: int = 0
    why: str = NEVER
    returned: int = 0
    recovered: int = 0
    repeats: int = 0
    answers_before: int = 0
    asks_after: int = 0
    back_from: int = 0
    suspended: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def in_use(self) -> bool:
        """Whether the slave may be used."""
        return self.standing in (Standing.UP, Standing.UNKNOWN)

    def silence(self, now: int) -> int:
        """Return for how long an answer has been due, in ns."""
        return self.evidence.silence(now, self.overdue)

    def is_silent(self, now: int) -> bool:
        """Return whether that is longer than usual."""
        evidence = self.evidence
        return evidence.asked_in_vain(now) and self.silence(now) >= evidence.limit(self.interval)

    def is_dead(self, now: int) -> bool:
        """Return whether that is longer than any path is silent that is alive."""
        return self.is_silent(now) and self.silence(now) >= DOWN_AFTER

    def is_in_doubt(self, now: int) -> bool:
        """Return whether the next answers decide how it stands: it should be probed quickly."""
        if not self.in_use:
            return self.standing is Standing.SUSPENDED or self.back_from > 0
        return (
            self.standing is Standing.UP
            and self.silence(now) >= self.evidence.limit(self.interval) // 2
        )

    def suspensions(self, now: int) -> int:
        """Return how many there were in the last hour, to the minute."""
        while self.suspended and self.suspended[0][0] < now - _HOUR:
            self.suspended.popleft()
        return sum(count for _, count in self.suspended)

    def come(self, standing: Standing, now: int, why: str = "") -> None:
        """Come to another standing."""
        if standing is Standing.SUSPENDED:
            if self.suspended and self.suspended[-1][0] > now - _MINUTE:
                minute, count = self.suspended.pop()
                self.suspended.append((minute, count + 1))
            else:
                self.suspended.append((now, 1))
        elif standing is Standing.DOWN:
            again = self.recovered and now - self.recovered < REPEATED_WITHIN
            self.repeats = self.repeats + 1 if again else 0
            self.asks_after = now
            self.back_from = 0
        elif not self.in_use:
            self.returned = now
            if self.standing is Standing.DOWN:
                self.recovered = now
        self.answers_before = self.evidence.answers
        self.standing, self.since, self.why = standing, now, why

    @property
    def hold_off(self) -> int:
        """For how long it has to answer before it is used again, in ns."""
        if not self.repeats:
            return 0
        return min(FIRST_HOLD_OFF << min(self.repeats - 1, 10), LONGEST_HOLD_OFF)
