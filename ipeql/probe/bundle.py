"""One bundle: when its slaves are probed, what their paths are like, and what follows."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ipeql.errors import Problem
from ipeql.paths.path import Answer, Parameters
from ipeql.paths.paths import Paths
from ipeql.paths.rate.law import SentBytes
from ipeql.probe.adjuster import Adjust, Adjuster
from ipeql.probe.channel.task import BundleTask, SlaveTask
from ipeql.probe.clock import Clock
from ipeql.probe.inlet import Inlet
from ipeql.probe.link.counters import Counters, Devices
from ipeql.probe.link.next_hops import NextHops
from ipeql.probe.link.packet import ETHERTYPES, UDP, Datagram, parse
from ipeql.probe.link.tap import Arrival
from ipeql.probe.session import echo_of, session_of
from ipeql.probe.slave import Slave
from ipeql.probe.slaves import Slaves
from ipeql.state import PathReport

PING_S = 1.0
"""How long the answer to a ping is waited for."""


class Bundle:
    """The prober's part of a bundle. Belongs to one event loop.

    ``due``: when ``turn`` is to be called next, ns of CLOCK_MONOTONIC. ``changed`` is called when a
    path comes to another standing.
    """

    def __init__(
        self,
        task: BundleTask,
        clock: Clock,
        next_hops: NextHops,
        adjust: Adjust,
        *,
        devices: Devices,
        inlet: Inlet,
        changed: Callable[[], None],
    ) -> None:
        self.due = 0
        self.slaves = Slaves(clock, next_hops, devices)
        self._task = BundleTask(task.bundle, "")
        self._clock = clock
        self._inlet = inlet
        self._changed = changed
        self._paths = Paths(secrets.randbits(63))
        self._plan: dict[int, int] = {}
        self._is_urgent = True
        self._pings: dict[tuple[int, int], asyncio.Future[Answer]] = {}
        self._watched: dict[int, Slave] = {}
        self._adjuster = Adjuster(task.bundle, adjust)
        self._adjusting = asyncio.create_task(self._adjuster.run())
        self.update(task)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what hinders the probes, or their effect."""
        return (*self.slaves.problems, *self._adjuster.problems)

    def update(self, task: BundleTask) -> None:
        """Do what ``task`` says from now on; tell the dataplane again in any case."""
        if task != self._task:
            self._task = task
            self.renew()
            self._paths.keep({each.ifindex: _parameters(each, task.late) for each in task.slaves})
        self._adjuster.backend = task.backend
        self._adjuster.again()

    def renew(self) -> None:
        """Make the sockets and sessions that the task takes, and read its key files again."""
        before = {number: each.session for number, each in self.slaves.by_session.items()}
        self._inlet.drop(self._watched)
        self.slaves.update(self._task)
        self._watched = {each.tap.fileno(): each for each in self.slaves.by_ifindex.values()}
        self._inlet.put(
            {number: partial(self._take, each) for number, each in self._watched.items()}
        )
        for number, slave in self.slaves.by_session.items():
            if slave.session is not before.get(number):
                self._paths.begin_anew(slave.task.ifindex)
        kept = self.slaves.by_ifindex
        self._plan = {ifindex: due for ifindex, due in self._plan.items() if ifindex in kept}
        self._is_urgent, self.due = True, 0

    def turn(self, now: int) -> None:
        """Send the probes that are due; judge the paths, if it is time.

        What has arrived until now has been taken before.
        """
        for ifindex, due in self._plan.items():
            if due <= now:
                self._ask(self.slaves.by_ifindex[ifindex], now)
                self._plan[ifindex] = self._paths.next_probe(ifindex, now)
        due = self._paths.due(now)
        if self._is_urgent or now >= due:
            self._judge(now)
            due = self._paths.due(now)
        self.due = min((due, *self._plan.values()))

    def is_followed(self, now: int) -> bool:
        """Say whether answers are to be taken as soon as they come."""
        return self._paths.is_followed(now)

    def count(self, counters: Mapping[int, Counters], now: int) -> None:
        """Take over what the kernel counts of the links."""
        self.slaves.shed_no_more(now)
        for ifindex, slave in self.slaves.by_ifindex.items():
            if found := counters.get(ifindex):
                slave.count(found, self._clock.on_wire(now))
                self._paths.carried(ifindex, now, found.sent.packets)

    def reports(self, now: int) -> dict[tuple[str, int], PathReport]:
        """Return what is known of the path of each probed slave."""
        probed = {each.task.ifindex for each in self.slaves.by_session.values()}
        return {
            (self._task.bundle, ifindex): report
            for ifindex, report in self._paths.reports(now).items()
            if ifindex in probed
        }

    async def ping(self) -> list[dict[str, Any]]:
        """Send one probe over each probed slave; return what became of each."""
        waiting: list[tuple[Slave, asyncio.Future[Answer] | None]] = []
        now = self._clock.look()
        for number, slave in self.slaves.by_session.items():
            sequence = self._ask(slave, now)
            answer: asyncio.Future[Answer] | None = None
            if sequence is not None:
                answer = asyncio.get_running_loop().create_future()
                self._pings[number, sequence] = answer
            waiting.append((slave, answer))
        answers = [answer for _, answer in waiting if answer]
        if answers:
            await asyncio.wait(answers, timeout=PING_S)
        self._pings = {key: each for key, each in self._pings.items() if each not in answers}
        return [_pinged(slave, answer) for slave, answer in waiting]

    async def close(self, *, keep: bool) -> None:
        """End; ``keep``: what was measured stays in force, and every slave is used."""
        self._inlet.drop(self._watched)
        self._paths.end_pauses()
        self._judge(self._clock.look())
        self.slaves.close()
        self._adjusting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._adjusting
        await self._adjuster.release(keep=keep)

    def _judge(self, now: int) -> None:
        found = self._paths.judge(now)
        measured = {each.ifindex for each in self._task.slaves if each.measures_lag}
        self._adjuster.want(
            {
                ifindex: each if ifindex in measured else replace(each, lag=None)
                for ifindex, each in found.adjustments.items()
            }
        )
        self._is_urgent = False
        self._plan = {
            ifindex: self._paths.next_probe(ifindex, now)
            for ifindex, slave in self.slaves.by_ifindex.items()
            if slave.session
        }
        if found.changes:
            self._changed()

    def _ask(self, slave: Slave, now: int) -> int | None:
        far_end, ifindex = slave.far_end, slave.task.ifindex
        if far_end is None:
            return None
        sent = slave.sent() if slave.task.measured else None
        probes = slave.tap.sent if sent else None
        if far_end.by_icmp and far_end.tries(ifindex, now):
            slave.ask(now, by_icmp=False)
        sequence = slave.ask(now, by_icmp=far_end.by_icmp)
        if sequence is not None:
            bytes_ = None
            if sent and probes:
                total = sent.bytes + slave.tap.sent.bytes - probes.bytes
                bytes_ = SentBytes(total, slave.data(sent, probes))
            self._paths.sent(ifindex, sequence, now, bytes_)
            if not far_end.by_icmp:
                far_end.asked(now)
        return sequence

    def _take(self, slave: Slave) -> None:
        """Take a packet that has arrived, if there is one."""
        arrival = slave.tap.receive()
        datagram = parse(arrival.packet, complete=arrival.complete) if arrival else None
        if arrival is None or datagram is None:
            return
        received = self._clock.received(arrival.time)
        if datagram.protocol != UDP:
            is_news = self._echoed(datagram, received)
        elif datagram.port == self.slaves.port:
            is_news = self._answered(datagram, received)
        else:
            is_news = self._requested(slave, arrival, datagram, received)
        if is_news:
            self._is_urgent, self.due = True, 0

    def _echoed(self, datagram: Datagram, received: int) -> bool:
        number, sequence = echo_of(datagram) or (0, 0)
        slave = self.slaves.by_session.get(number)
        if slave is None or slave.session is None or datagram.source != slave.session.far:
            return False
        answer = slave.session.echoed(sequence, received)
        return answer is not None and self._deliver(slave, answer)

    def _answered(self, datagram: Datagram, received: int) -> bool:
        """Take over an answer to STAMP: its session says of which slave, wherever it came in."""
        number = session_of(datagram.payload)
        known = self.slaves.by_session
        for slave in (known.get(number),) if number else tuple(known.values()):
            session = slave.session if slave else None
            if slave is None or session is None or datagram.source != session.far:
                continue
            if answer := session.answered(datagram.payload, received):
                if slave.far_end:
                    slave.far_end.answered()
                return self._deliver(slave, answer)
        return False

    def _deliver(self, slave: Slave, answer: Answer) -> bool:
        if self._pings:
            waiting = self._pings.get((slave.number, answer.sequence))
            if waiting and not waiting.done():
                waiting.set_result(answer)
        self.due = 0
        return self._paths.answered(slave.task.ifindex, answer)

    def _requested(self, slave: Slave, arrival: Arrival, datagram: Datagram, received: int) -> bool:
        """Answer a request, by the slave and to the neighbour that it came by."""
        reflector = self.slaves.reflector
        if reflector is None:
            return False
        answer = reflector.answer(datagram, received, slave.number, slave.counted)
        if answer is None:
            if reflector.flooded:
                self.slaves.shed(received)
            return False
        slave.tap.send(answer, ETHERTYPES[len(datagram.source)], arrival.sender)
        if not reflector.is_far_end(datagram.source):
            return False
        self.slaves.heard(datagram.source, received)
        return self._paths.asked(slave.task.ifindex, received)


def _parameters(task: SlaveTask, late: bool) -> Parameters:
    probe = task.probe
    return Parameters(
        far=str(probe.to) if probe else "",
        interval=probe.interval if probe else None,
        rate=task.bandwidth,
        lag=task.lag,
        measured=task.measured,
        late=late,
        probed=probe is not None,
    )


def _pinged(slave: Slave, answer: asyncio.Future[Answer] | None) -> dict[str, Any]:
    came = answer.result() if answer and answer.done() else None
    why = "" if came else "no answer within 1 s" if answer else "it could not be sent"
    return {
        "name": slave.task.name,
        "ifindex": slave.task.ifindex,
        "to": str(slave.session.spec.to) if slave.session else "",
        "rung": came.rung.value if came else "none",
        "round_trip_ns": came.round_trip if came else None,
        "reason": why,
    }
