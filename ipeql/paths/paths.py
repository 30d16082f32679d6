"""All paths of one bundle: what was sent, heard and carried goes in, and what follows comes out.

Local times are ns of CLOCK_MONOTONIC, those of the far end ns of its own clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ipeql.paths.cadence import TURN, Pace, Schedule
from ipeql.paths.evidence import IN_VAIN
from ipeql.paths.lag import ANEW_AFTER, Delays, note
from ipeql.paths.lags import Lags
from ipeql.paths.life import DOWN_AFTER, Life
from ipeql.paths.liveness import due, judge
from ipeql.paths.path import Answer, Parameters, Path
from ipeql.paths.rate.law import SentBytes
from ipeql.paths.told import Told
from ipeql.state.path import Adjusted, Adjustments, Backlog, PathReport, Standing

_OFTEN_AFTER_LOSS = 60 * 10**9
"""For so long a path that is out of use is probed as often as the busiest of the bundle."""

_JUDGED_EVERY, _JUDGED_AGAIN = 250 * 10**6, 20 * 10**6
"""Where all is well, and at the soonest if nothing comes."""

_RATE_WORTH_TELLING = 0.03
"""A rate that has moved by a smaller part is not told."""

_PAUSED = 10 * 10**6
"""A slave that rests is looked at so often, ns: it should not rest for longer than it has to."""


@dataclass(frozen=True, slots=True)
class Change:
    """A slave came from one standing to another; ``why`` in a few words."""

    ifindex: int
    before: Standing
    after: Standing
    why: str


def rate_differs(told: int, rate: int) -> bool:
    """Say whether the dataplane should be told of a rate, bit/s, instead of the one it was told."""
    return abs(rate - told) >= _RATE_WORTH_TELLING * told


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows at this time.

    ``adjustments``: for the dataplane, all of them. ``changes``: since the last call.
    """

    adjustments: Adjustments
    changes: tuple[Change, ...]


class Paths:
    """The paths of one bundle's slaves, by ifindex. What is not known (any more) is ignored.

    ``seed``: of the jitter; different for each bundle and start. What has arrived has to be told
    before :meth:`judge` is called: it takes what it has not been told for silence.
    """

    def __init__(self, seed: int) -> None:
        self._paths: dict[int, Path] = {}
        self._delays: list[Delays] = []
        self._schedule = Schedule(seed)
        self._hurry = False
        self._soon = 0
        self._lags = Lags()
        self._rates = Told(rate_differs)
        self._backlogs: dict[int, Backlog | None] = {}
        self._stalled: set[int] = set()

    def keep(self, slaves: Mapping[int, Parameters]) -> None:
        """Have exactly these slaves; what is known of those that stay is kept.

        One that has another far end is a new one.
        """
        kept: dict[int, Path] = {}
        for ifindex, parameters in slaves.items():
            path = self._paths.get(ifindex)
            if path is None or path.parameters.far != parameters.far:
                path = Path(parameters, Life(parameters.far), Delays(parameters.far))
            path.configure(parameters)
            kept[ifindex] = path
        self._paths = kept
        self._delays = [path.delays for path in kept.values()]
        self._schedule.keep(kept)
        self._backlogs = {slave: each for slave, each in self._backlogs.items() if slave in kept}

    def begin_anew(self, ifindex: int) -> None:
        """Note that the slave's sequences begin anew: what was sent will not be answered."""
        if path := self._paths.get(ifindex):
            path.life.evidence.begin_anew()

    def next_probe(self, ifindex: int, now: int) -> int:
        """Return when to send the next probe over this slave: later than ``now``.

        To be asked after each attempt to send, and after each judgement: it may come earlier.
        """
        path = self._paths[ifindex]
        if path.law:
            path.life.interval = path.interval(Pace.BUSY)
        pace = self._pace(path, now)
        interval = path.life.interval if pace is Pace.BUSY else path.interval(pace)
        return self._schedule.next(ifindex, now, interval)

    def _pace(self, path: Path, now: int) -> Pace:
        if self._hurry:
            return Pace.BUSY
        own = path.traffic.pace(now)
        if own is Pace.BUSY and path.life.in_use:
            return own
        paces = [each.traffic.pace(now) for each in self._paths.values()]
        if path.life.in_use:
            return min(own, Pace.WITNESS) if paces.count(Pace.BUSY) == 1 else own
        busiest = min(paces)
        return busiest if now - path.life.since < _OFTEN_AFTER_LOSS else max(busiest, Pace.QUIET)

    def sent(self, ifindex: int, sequence: int, now: int, bytes_: SentBytes | None = None) -> None:
        """Note that a probe has really been sent. Sequences of a slave rise.

        ``bytes_``: what the slave has sent, of its own counter, with this probe.
        """
        if path := self._paths.get(ifindex):
            path.traffic.own += 1
            evidence = path.life.evidence
            evidence.sent(sequence, now, self._schedule.sent(ifindex, now))
            if len(evidence.open) <= IN_VAIN:
                path.expect(now)
            if path.law and bytes_:
                path.law.asked(sequence, now, bytes_)

    def answered(self, ifindex: int, answer: Answer) -> bool:
        """Note an answer; return whether to judge at once. Unknown and second ones are ignored."""
        path = self._paths.get(ifindex)
        if path is None:
            return False
        evidence, law, received = path.life.evidence, path.law, answer.received
        in_vain = law is not None and evidence.asked_in_vain(received)
        ended = evidence.answered(answer.sequence, received, answer.round_trip)
        if ended is None:
            return False
        path.expect(received)
        path.rung = answer.rung
        if ended > ANEW_AFTER:
            path.delays.start_anew()
        queue, is_news = 0, path.life.standing is not Standing.UP
        if law:
            longer = law.longer
            queue = law.answered(
                answer.sequence,
                received,
                answer.far_received,
                answer.counted,
                silence=ended if in_vain else 0,
                may_pause=self._may_pause(path),
            )
            if law.longer > longer:
                path.delays.start_anew()
            is_news |= self._rates.is_due(ifindex, law.rate, received) or path.is_followed(received)
        note(path.delays, self._delays, answer, queue)
        return is_news

    def _may_pause(self, path: Path) -> bool:
        """Say whether others carry the load meanwhile; one rests at a time."""
        rest = [each for each in self._paths.values() if each is not path]
        return any(each.life.in_use for each in rest) and not any(each.is_paused for each in rest)

    def asked(self, ifindex: int, now: int) -> bool:
        """Note that a probe of the far end came over this slave and was answered.

        Returns as :meth:`answered`.
        """
        path = self._paths.get(ifindex)
        if path is None:
            return False
        path.traffic.own += 1
        path.life.asks.append(now)
        return path.life.standing is Standing.DOWN

    def carried(self, ifindex: int, now: int, packets: int) -> None:
        """Note the packets that the slave has sent so far, of its own counter, probes included."""
        if path := self._paths.get(ifindex):
            path.traffic.carried(now, packets)

    def is_followed(self, now: int) -> bool:
        """Say whether the dataplane should know at once what an answer says."""
        return any(path.is_followed(now) for path in self._paths.values() if path.law)

    def due(self, now: int) -> int:
        """Return when to judge at the latest, as far as is known now; 0: at once. ns."""
        return min([self._soon, now + DOWN_AFTER, *[path.due for path in self._paths.values()]])

    def judge(self, now: int) -> Judgement:
        """Return what follows from all that has been told until ``now``."""
        lives = {ifindex: path.life for ifindex, path in self._paths.items()}
        for ifindex, life in lives.items():
            life.since = life.since or now
            life.overdue = self._schedule.overdue(ifindex, now)
        before = {ifindex: life.standing for ifindex, life in lives.items()}
        judge(lives, now)
        for path in self._paths.values():
            path.due = max(due(path.life, now), now + _JUDGED_AGAIN)
        self._stalled = self._find_stalled(now)
        self._hurry = any(life.is_in_doubt(now) for life in lives.values())
        self._soon = min(
            now + _JUDGED_EVERY,
            self._tell_lags(now),
            self._tell_rates(now),
            self._tell_backlogs(now),
        )
        for path in self._paths.values():
            if (full := path.life.returned + path.ramp) > now:
                self._soon = min(self._soon, full)
        return Judgement(
            {ifindex: self._adjusted(ifindex, path, now) for ifindex, path in self._paths.items()},
            tuple(
                Change(ifindex, before[ifindex], life.standing, life.why)
                for ifindex, life in lives.items()
                if life.standing is not before[ifindex]
            ),
        )

    def _tell_lags(self, now: int) -> int:
        return self._lags.update(
            now,
            {ifindex: path.delays for ifindex, path in self._paths.items()},
            {
                ifindex
                for ifindex, path in self._paths.items()
                if path.life.standing is not Standing.DOWN
            },
            {ifindex: path.parameters.lag for ifindex, path in self._paths.items()},
        )

    def _tell_rates(self, now: int) -> int:
        rates = {ifindex: path.law.rate for ifindex, path in self._paths.items() if path.law}
        again = self._rates.update(now, rates)
        if any(path.is_paused for path in self._paths.values()):
            again = min(again, now + _PAUSED)
        return again

    def _find_stalled(self, now: int) -> set[int]:
        """Return the slaves whose paths deliver nothing just now, while another one does.

        What such a path has is given to another one before TCP misses it. Links with base stations
        stall many times a minute: that is no suspension.
        """
        stalled = {
            ifindex
            for ifindex, path in self._paths.items()
            if path.law and path.is_followed(now) and path.law.is_stalled(now)
        }
        in_use = {ifindex for ifindex, path in self._paths.items() if path.life.in_use}
        return stalled if in_use - stalled else set()

    def _tell_backlogs(self, now: int) -> int:
        again = now + DOWN_AFTER
        for ifindex, path in self._paths.items():
            if path.law and path.is_followed(now):
                self._backlogs[ifindex] = path.law.backlog(now)
                if (overdue := path.law.overdue_at()) is not None:
                    again = min(again, max(overdue, now + TURN))
        return again

    def _adjusted(self, ifindex: int, path: Path, now: int) -> Adjusted:
        rate, life = path.parameters.rate, path.life
        returning = rate and life.returned and now < life.returned + path.ramp
        bandwidth = rate // 2 if returning else None
        usable = life.in_use and ifindex not in self._stalled
        return Adjusted(
            usable=usable,
            bandwidth=self._rates.values.get(ifindex) if path.law else bandwidth,
            lag=self._lags.told.get(ifindex) if path.parameters.lag is None else None,
            lost_since=None if usable else life.evidence.asked or None,
            late=path.law is not None and path.law.late,
            backlog=self._backlogs.get(ifindex) if path.law and path.law.late else None,
        )

    def end_pauses(self) -> None:
        """Let no slave rest any more."""
        for path in self._paths.values():
            if path.law:
                path.law.end_pause()

    def reports(self, now: int) -> dict[int, PathReport]:
        """Return what is known of each slave's path."""
        return {
            ifindex: PathReport(
                path.life.standing,
                path.life.since,
                path.life.why,
                path.rung,
                path.life.evidence.usual if path.life.standing is Standing.UP else None,
                self._lags.measured.get(ifindex),
                path.delays.far in self._lags.halved,
                path.life.evidence.loss(now),
                path.life.suspensions(now),
                path.law.capacity if path.law else None,
                path.law.queue if path.law else None,
                path.law.state if path.law else None,
                path.law.delivered if path.law and path.life.standing is Standing.UP else None,
            )
            for ifindex, path in self._paths.items()
        }
