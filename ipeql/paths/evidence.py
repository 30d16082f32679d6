"""What the probes of one path have shown: answers, silences, round trips, loss.

All times are ns of the local CLOCK_MONOTONIC.
"""

from collections import deque
from itertools import takewhile
from math import ceil
from statistics import median

_SECOND = 10**9
_MS = 10**6

SHORTEST_LIMIT = 60 * _MS
"""A silence that is shorter than this one never counts."""

LONGEST_LIMIT = _SECOND
"""However long the silences of this path usually are."""

IN_VAIN = 3
"""A silence is one when so many probes are without an answer."""

_LOSS_WINDOW = 10 * _SECOND
_ROUND_TRIP_WINDOW = _SECOND
_FEWEST_ROUND_TRIPS = 3
_RENEW_USUAL = 200 * _MS
"""The median is taken anew so often: to sort at each answer costs too much."""
_LATE = 200 * _MS
"""An answer that is later than the usual round trip and this counts as lost, until it comes."""

_SILENCES = 500
_FEWEST_SILENCES = 20
_RENEW = 25
_MOST_OPEN = 1000


class Evidence:
    """The probes of one path.

    ``heard``: when the last answer came; ``asked``: when the probe that it is to was sent, and with
    it all data before it; ``resumed``: when the answer came that ended the last silence of a
    second, or the first one; 0: never. ``answers``: how many have come. ``open``: the probes sent
    after the last answered one, as (sequence, time). ``usual``: the median round trip of the last
    second, and at least of three answers; 0: none yet.
    """

    def __init__(self) -> None:
        self.heard = 0
        self.asked = 0
        self.resumed = 0
        self.answers = 0
        self.open: deque[tuple[int, int]] = deque()
        self._late = 0
        self._sent: deque[tuple[int, int]] = deque()
        self._unanswered: set[int] = set()
        self._round_trips: deque[tuple[int, int]] = deque()
        self.usual = 0
        self._usual_until = 0
        self._silences: deque[int] = deque(maxlen=_SILENCES)
        self._least_limit = SHORTEST_LIMIT
        self._renew_in = _FEWEST_SILENCES

    def begin_anew(self) -> None:
        """Have sequences begin anew: what was sent until now will not be answered."""
        self.open.clear()
        self._late = 0
        self._sent.clear()
        self._unanswered.clear()

    def sent(self, sequence: int, now: int, late: int) -> None:
        """Note a probe that has been sent, ``late`` ns after its time."""
        if self.open:
            self._late += late
        if len(self.open) < _MOST_OPEN:
            self.open.append((sequence, now))
        self._sent.append((sequence, now))
        self._unanswered.add(sequence)
        while self._sent[0][1] < now - _LOSS_WINDOW:
            self._unanswered.discard(self._sent.popleft()[0])

    def answered(self, sequence: int, received: int, round_trip: int) -> int | None:
        """Note an answer; return the silence that it ended, or None where nobody waits for it."""
        if sequence not in self._unanswered:
            return None
        self._unanswered.remove(sequence)
        open_ = self.open
        ended = self.silence(received, 0) if open_ else 0
        if ended >= LONGEST_LIMIT or not self.heard:
            self.resumed = received
        while open_ and open_[0][0] <= sequence:
            self.asked = open_.popleft()[1]
        self._late = 0
        self.heard = max(self.heard, received)
        self.answers += 1
        if ended < LONGEST_LIMIT:
            self._silences.append(ended)
            self._renew_in -= 1
            if self._renew_in <= 0:
                self._renew_limit()
        self._note_round_trip(received, max(0, round_trip))
        return ended

    def _note_round_trip(self, received: int, round_trip: int) -> None:
        trips = self._round_trips
        trips.append((received, round_trip))
        while len(trips) > _FEWEST_ROUND_TRIPS and trips[0][0] < received - _ROUND_TRIP_WINDOW:
            trips.popleft()
        if received >= self._usual_until or len(trips) <= _FEWEST_ROUND_TRIPS:
            self._usual_until = received + _RENEW_USUAL
            self.usual = int(median([trip for _, trip in trips]))

    def _renew_limit(self) -> None:
        self._renew_in = _RENEW
        ordered = sorted(self._silences)
        usual = ordered[ceil(0.99 * len(ordered)) - 1]
        self._least_limit = max(SHORTEST_LIMIT, min(usual * 3 // 2, LONGEST_LIMIT))

    def silent_from(self) -> int | None:
        """Return when the next answer was due, or None where none is."""
        return max(self.heard, self.open[0][1] + self.usual) + self._late if self.open else None

    def silence(self, now: int, overdue: int) -> int:
        """Return for how long an answer has been due.

        ``overdue``: for how long a probe has been; what was not sent in time is no silence.
        """
        start = self.silent_from()
        return 0 if start is None else max(0, now - overdue - start)

    def in_vain_from(self, now: int) -> int:
        """Return from when on ``IN_VAIN`` probes have had the time to be answered.

        Where fewer are open that is not known: later than any silence from ``now`` on.
        """
        if len(self.open) < IN_VAIN:
            return now + LONGEST_LIMIT
        return self.open[IN_VAIN - 1][1] + self.usual

    def asked_in_vain(self, now: int) -> bool:
        """Return whether so many probes have had the time to be answered."""
        return self.in_vain_from(now) <= now

    def limit(self, interval: int) -> int:
        """Return the silence that is longer than usual.

        60 ms, three intervals, or 1.5 times the 99 % quantile of the silences between answers.
        """
        return max(self._least_limit, 3 * interval)

    def loss(self, now: int) -> float | None:
        """Return the share of the probes of the last ten seconds that have no answer yet."""
        first, last = now - _LOSS_WINDOW, now - self.usual - _LATE
        sent = self._sent
        older = sum(1 for _ in takewhile(lambda each: each[1] < first, sent))
        newer = sum(1 for _ in takewhile(lambda each: each[1] > last, reversed(sent)))
        due = len(sent) - older - newer
        if due <= 0:
            return None
        oldest, newest = sent[older][0], sent[-1 - newer][0]
        return sum(oldest <= each <= newest for each in self._unanswered) / due
