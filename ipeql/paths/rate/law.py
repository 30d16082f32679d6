"""The control law of one path: from what its probes show to the rate that it is sent.

It keeps a small queue in the path, TARGET, as a sign that the path is full, and believes what
arrives while that queue stands (BBR, CACM 60(2), 2017: a delivery rate is the capacity only while
there is a queue). Steps, at every answer:

    startup   2.5 times what arrives, until a queue stands throughout a window
    track     a queue throughout: what arrives is what the path carries
              none, and the path is used to the full: what was sent, and a little more
    pause     nothing is sent until the queue must be empty: what is measured then is the base
    silence   after more than 100 ms of it: less than before

A path that is not used to the full keeps its estimate. Times are ns, rates bit/s.
"""

from collections import deque
from typing import NamedTuple

from ipeql.paths.rate.base import Base, Jitter
from ipeql.paths.rate.pause import LONGEST_QUEUE, Pause
from ipeql.paths.rate.unseen import COUNTED_EVERY, Count, Unseen
from ipeql.paths.rate.window import SHORTEST, Passage, Window
from ipeql.state.path import Backlog, Learning, Measured

_MS = 10**6
_SECOND = 10**9

START = 10 * 10**6
"""Nothing is known of the path yet."""

TARGET = 15 * _MS
"""The queue that is aimed at."""

STANDING = 9 * _MS
"""A queue of at least this throughout a window is one."""

_PACKET = 8 * 1514 * _SECOND
"""On a slow path a packet more is no sign of a queue. Bits, times ns."""

PLACED = 200 * _MS
"""A dataplane that binds a packet when it comes goes on for about so long as it was told before:
what it has placed is placed."""

_FEEDBACK = 30 * _MS
"""A measure is older than its round trip by half a window."""

RAISE_OVER = 1.5
"""The queue that is missing to TARGET is made up for in so many rounds: round trip, PLACED and
_FEEDBACK, after which a rate shows."""

HASTE_AFTER = 1
"""After so many rounds without a queue the steps double with each, up to FASTEST."""

FASTEST = 1.25
SLOWEST_STEP = 2 * _MS

FULL_USE = 0.9
"""A path that is sent this part of its rate is used to the full: counters differ by headers."""

DRAIN_OVER = 2
"""The queue above TARGET goes in so many rounds. Faster corrections would swing."""

DRAIN_LEAST = 0.25
GAIN = 0.3
"""Of the difference to what arrives, at each answer."""

SHRUNK = 10 * _MS
"""A window in which the delay grows by this shows a path that carries less than it is sent."""

MEANT, MEANT_LATE = 0.95, 0.7
"""A queue is that of a path that is sent this part of its rate. A dataplane that binds late sends
less while the queue is there."""

MEANT_BYTES = 3000
STARTUP_BYTES = 6000
STARTUP_GAIN = 2.5
"""What arrives was sent a round ago, and slow start doubles each round trip. With less it meets our
limit, takes it for a queue (HyStart), and ends."""

OVERSHOOT = 100 * _MS
"""But what is sent too much until the queue shows, a round trip and SHORTEST later, should take no
longer than this to drain: TCP takes what is later still for lost."""

OVERDUE = 20 * _MS
"""An answer that is later than the queue and this shows that the queue is at least as long."""

STALLED = 60 * _MS
"""One that is later than the queue and this shows a path that delivers nothing for a while."""

STALL = 100 * _MS
LOSS_OF_PATH = _SECOND
AFTER_STALL, AFTER_LOSS = 0.7, 0.5
STALLS_EVERY = _SECOND
"""A long queue that grows makes one answer after the other come late: that is one stall."""

LEAST_LATE = 10**6
"""A dataplane that binds late takes the slave that has sent the packet first. It should choose a
slow one sometimes, and its queue then says what it carries: a packet takes 12 ms, less than the
queues of the others."""

PAUSED = 20_000
"""The rate during a pause: a packet takes 0.6 s, more than any other slave's queue has."""

LOSS_OVER = 128
"""The loss of probes is that of about so many."""

_QUIET_BYTES = 400
_QUIET_SHARE = 20
"""Probes, and a twentieth of the rate, are no load."""

_IDLE = 100 * _MS
IDLE_PROBES, IDLE_SPAN = 3, 30 * _MS
"""So many probes that met no load, and arrived over so long, show the path's own delay."""

_REMEMBERED = 512
_UNBOUND = Measured()


class SentBytes(NamedTuple):
    """What a slave has sent so far: all bytes, and those of IP packets that are no probes."""

    total: int
    data: int = 0


def start(bounds: Measured) -> int:
    """Return the rate that a path has before anything is known of it."""
    return _within(START, bounds)


def _within(rate: int, bounds: Measured) -> int:
    return min(max(rate, bounds.least), bounds.most)


class Law:
    """The law of one path.

    ``capacity``: what it is believed to carry, bit/s. ``queue``: what stood in it when the last
    answered probe was sent, ns. ``longer``: how often it was seen that the path takes longer for
    good. ``late``: the dataplane binds packets late, and keeps the queue as
    it should be by itself, from :meth:`backlog`.
    """

    def __init__(self, bounds: Measured = _UNBOUND, *, late: bool = False) -> None:
        self.late = late
        self._bounds = bounds
        self.capacity = start(bounds)
        self.queue = 0
        self.longer = 0
        self._is_known = False
        self._window = Window()
        self._base = Base()
        self._jitter = Jitter()
        self._pause = Pause()
        self._unseen = Unseen()
        self._believed = 0
        self._full_since = 0
        self._capacities: deque[tuple[int, int]] = deque()
        self._earlier = self.capacity
        self._stalled_at = 0
        self._open: dict[int, tuple[int, int, bool]] = {}
        self._last: tuple[int, int] | None = None
        self._latest: Passage | None = None
        self._idle: deque[Passage] = deque(maxlen=IDLE_PROBES)
        self._quiet_since: int | None = None
        self._has_far_clock = False
        self._loss = 0.0

    @property
    def state(self) -> Learning:
        """What the law does now."""
        if self._pause.on:
            return Learning.PAUSE
        return Learning.TRACK if self._is_known else Learning.STARTUP

    @property
    def is_paused(self) -> bool:
        """Whether the slave rests, so that its delay without a queue is seen."""
        return self._pause.on

    @property
    def rate(self) -> int:
        """What the slave should be sent, bit/s: less than it carries while its queue is long."""
        if self._pause.on:
            return min(PAUSED, self.capacity)
        if self.late:
            return max(self.capacity, min(LEAST_LATE, self._bounds.most))
        excess = self.queue - self._target
        if excess <= 0:
            return self.capacity
        share = 1 - excess / (DRAIN_OVER * self._round)
        return max(int(self.capacity * max(share, DRAIN_LEAST)), self._bounds.least)

    @property
    def delivered(self) -> int | None:
        """What arrived in the last window, probes included, bit/s; None: it is not long enough."""
        return self._window.arrival_rate if self._window.is_full else None

    def bound(self, bounds: Measured) -> None:
        """Keep within other bounds from now on."""
        self._bounds = bounds
        self._set(self.capacity)

    def overdue_at(self) -> int | None:
        """Return when the next answer is so late that it shows a queue, ns; None: none is due."""
        if not self._open or not self._is_known:
            return None
        asked, _, _ = next(iter(self._open.values()))
        return asked + self._base.round_trip + self.queue + OVERDUE

    def is_stalled(self, now: int) -> bool:
        """Say whether the path delivers nothing for the time being."""
        overdue = self.overdue_at()
        return overdue is not None and now >= overdue - OVERDUE + STALLED

    def backlog(self, now: int) -> Backlog | None:
        """Return what is known of the queue; None: nothing, and the path is to be tried."""
        if not self._is_known or self._latest is None:
            return None
        overdue = self.overdue_at()
        if overdue is not None and now >= overdue:
            asked, _, _ = next(iter(self._open.values()))
            return Backlog(asked, now - asked - self._base.round_trip)
        met = self._latest.delay - self._base.delay - self._jitter.value
        return Backlog(self._latest.sent, max(0, met))

    def end_pause(self) -> None:
        """Send again what the path carries."""
        self._pause.on = False

    def asked(self, sequence: int, now: int, bytes_: SentBytes) -> None:
        """Note a probe, and what the slave has sent, this probe included."""
        sent = bytes_.total
        self._unseen.asked(now, bytes_.data)
        if self._last:
            then, before = self._last
            quiet = _QUIET_BYTES + self.capacity * (now - then) // (8 * _SECOND * _QUIET_SHARE)
            if not 0 <= sent - before <= quiet:
                self._quiet_since = None
            elif self._quiet_since is None:
                self._quiet_since = then
        self._last = now, sent
        since = self._quiet_since
        idle = since is not None and now - since >= _IDLE + self.queue and not self._pause.on
        self._open[sequence] = now, sent, idle
        if len(self._open) > _REMEMBERED:
            del self._open[next(iter(self._open))]
        self._pause.asked(now, since)

    def answered(
        self,
        sequence: int,
        received: int,
        arrived: int | None = None,
        count: Count | None = None,
        *,
        silence: int = 0,
        may_pause: bool = False,
    ) -> int:
        """Take an answer; return what of its probe's delay was the queue, ns; 0: not known.

        ``arrived``: when the far end had the probe, by its clock; None: it does not say. Then round
        trips serve, and queues on the way back are in them. ``silence``: that it ended, in which
        several probes were asked in vain. ``may_pause``: others carry the load meanwhile.
        """
        if sequence not in self._open:
            return 0
        sent, size, idle = self._open.pop(sequence)
        if (arrived is not None) != self._has_far_clock:
            self._has_far_clock = arrived is not None
            self._start_anew()
        if silence > STALL and received - self._stalled_at > STALLS_EVERY:
            self._return(silence)
            self._stalled_at = received
        passage = Passage(sent, received if arrived is None else arrived, received, size)
        if self._base.add(passage):
            self._window.clear()
        shown = self._shown(passage, count, idle=idle, may_pause=may_pause)
        if shown is not None:
            if not self._window.add(shown):
                return 0
            self._latest = shown
            self.queue = max(0, self._window.latest_delay - self._base.delay)
        lost = [each for each in self._open if each < sequence]
        for earlier in lost:
            del self._open[earlier]
        self._loss += (len(lost) - self._loss * (len(lost) + 1)) / LOSS_OVER
        if idle:
            self._jitter.add(passage.delay - self._base.delay)
            self._idle.append(passage)
        else:
            self._idle.clear()
        if self._is_longer():
            self._rebase(min(self._idle, key=lambda each: each.delay))
            return 0
        if empty := self._pause.shows(passage):
            self._unseen.emptied(received)
            self._learn(empty)
        elif shown is not None and not self._pause.on and self._window.is_full:
            self._judge(received, may_pause)
        return 0 if self._unseen.on else self.queue

    def _shown(
        self, passage: Passage, count: Count | None, *, idle: bool, may_pause: bool
    ) -> Passage | None:
        """Return what shows the queue; None: nothing new does."""
        was_on = self._unseen.on
        met = passage.delay - self._base.delay
        queued = met > STANDING + self._allowance
        shown = self._unseen.shown(
            passage,
            count,
            base=self._base.delay,
            capacity=self.capacity,
            loss=self._loss,
            queued=queued,
            idle=idle,
        )
        if self._unseen.on is not was_on:
            self._window.clear()
        if self._unseen.on and not was_on:
            self._is_known, self._believed = True, self._unseen.arrived
            self._set(min(self.capacity, self._believed))
            if may_pause:  # how long the queue is, only its end shows
                self._pause.begin(passage.received, LONGEST_QUEUE + COUNTED_EVERY)
        return shown

    def _judge(self, now: int, may_pause: bool) -> None:
        window = self._window
        self._note_capacity(now)
        standing = window.least_delay - self._base.delay
        if not self._is_known:
            self._start(standing)
        elif standing > STANDING + self._allowance:
            self._full_since = 0
            self._follow()
        else:
            self._raise(now)
        unseen = self._unseen.on
        queue = max(self.queue, self._target) if unseen else self.queue  # counts are too coarse
        if self._pause.is_due(now, queue, standing, self._target, self._round) and may_pause:
            self._believed = window.arrival_rate if standing > STANDING else self.capacity
            self._pause.begin(now, queue + (COUNTED_EVERY if unseen else 0))

    def _note_capacity(self, now: int) -> None:
        """Know what was believed a round ago: that is what is being sent now."""
        self._capacities.append((now, self.capacity))
        while self._capacities[0][0] < now - self._round:
            _, self._earlier = self._capacities.popleft()

    def _start(self, standing: int) -> None:
        """Send more than arrives until a queue stands."""
        arrives = self._window.arrival_rate
        if (
            standing > STANDING + self._allowance
            and self.queue > self._target
            and self._window.bytes >= STARTUP_BYTES
        ):
            self._is_known = True
            self._set(arrives)
        else:
            unseen = self._base.round_trip + SHORTEST
            gain = min(STARTUP_GAIN, 1 + OVERSHOOT / unseen) if self.late else STARTUP_GAIN
            self._set(max(self.capacity, int(gain * arrives)))

    def _follow(self) -> None:
        """Believe what arrives, since a queue stood throughout.

        But where less was sent than the path carries and as much arrives, it may be no queue.
        """
        window, arrives = self._window, self._window.arrival_rate
        full = window.sent_rate >= (MEANT_LATE if self.late else MEANT) * self.capacity
        shrunk = window.growth > SHRUNK + self._jitter.value
        if window.bytes >= MEANT_BYTES and (full or shrunk or arrives > self.capacity):
            self._set(self.capacity + int((arrives - self.capacity) * GAIN))

    def _raise(self, now: int) -> None:
        """No queue throughout: where the path is used to the full it may carry more."""
        sent = min(self._window.sent_rate, self._window.arrival_rate)
        if sent < FULL_USE * min(self.capacity, self._earlier):
            self._full_since = 0
            return
        self._full_since = self._full_since or now
        missing = max(SLOWEST_STEP, self._target - self.queue)
        step = missing / (RAISE_OVER * self._round)
        rounds = (now - self._full_since) / self._round
        step *= 2 ** min(max(0.0, rounds - HASTE_AFTER), 10)
        self._set(max(self.capacity, int(sent * min(1 + step, FASTEST))))

    def _is_longer(self) -> bool:
        """Say whether the path takes longer than before, where nothing was sent but probes.

        A base station that served nobody for a while delivers some probes at once: they are one.
        """
        idle = self._idle
        return (
            len(idle) == idle.maxlen
            and idle[-1].arrived - idle[0].arrived >= IDLE_SPAN
            and all(self._has_risen(each) for each in idle)
        )

    def _has_risen(self, shown: Passage) -> bool:
        return shown.delay > self._base.delay + TARGET // 2 + self._jitter.value

    def _rebase(self, shown: Passage) -> None:
        self.longer += 1
        self._start_anew()
        self._base.add(shown)

    def _learn(self, shown: Passage) -> None:
        """Take over what was measured with an empty queue."""
        risen = self._has_risen(shown)
        if risen:
            self._rebase(shown)
        else:
            self._set(min(self.capacity, self._believed))
        self._pause.ended(shown.received, risen=risen)

    def _return(self, silence: int) -> None:
        """After a silence: carefully, and after a long one over what may be another path."""
        if silence > LOSS_OF_PATH:
            self._start_anew()
        if self._is_known:
            self._window.clear()
            self._set(int(self.capacity * (AFTER_LOSS if silence > LOSS_OF_PATH else AFTER_STALL)))

    def _start_anew(self) -> None:
        self._latest = None
        self._idle.clear()
        self._base.clear()
        self._window.clear()
        self._unseen.clear()
        self.queue = 0

    @property
    def _round(self) -> int:
        """The time after which a rate shows in what is measured."""
        return self._base.round_trip + (0 if self.late else PLACED) + _FEEDBACK

    @property
    def _allowance(self) -> int:
        """What is no queue: jitter, and one packet."""
        return self._jitter.value + _PACKET // self.capacity

    @property
    def _target(self) -> int:
        return TARGET + self._allowance

    def _set(self, rate: int) -> None:
        self.capacity = _within(rate, self._bounds)
