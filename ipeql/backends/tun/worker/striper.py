"""Sends every packet by the slave that the method picks, now or when it is due."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from time import monotonic_ns

from ipeql.backends import table as tables
from ipeql.backends.rates import Sample, rates
from ipeql.backends.tun.worker.events import Events
from ipeql.backends.tun.worker.flow import bucket_of, dscp_of
from ipeql.backends.tun.worker.neighbours import DESTINATIONS
from ipeql.backends.tun.worker.packet import Packet
from ipeql.backends.tun.worker.rtnl import (
    Event,
    Link,
    LostEvents,
    Neighbour,
    Requests,
    RouteChanged,
)
from ipeql.backends.tun.worker.sender import IPV4
from ipeql.backends.tun.worker.slave import LinkGoneError, Slave
from ipeql.backends.tun.worker.waiting import Waiting
from ipeql.methods import METHODS, QUEUE_LIMIT_NS, Arrival, Scheduler, create, keeps_flows
from ipeql.state import BundleStatistics, BundleTable
from ipeql.state.path import Adjusted, Adjustments

GROUPS, GROUP6 = 0xE0, 0xFF
"""First byte of a multicast or broadcast address: from GROUPS on in IPv4, GROUP6 in IPv6."""


class Striper:
    """The slaves of one bundle and the method that chooses among them.

    ``table`` is what ``configure`` was given last, None before. A packet leaves ``place`` sent,
    held, waiting for its next hop or for a slave that can take it, or counted as dropped; the
    packets that a slave has not sent when it leaves the set are placed again. ``_settled`` are the
    destinations whose next hop every usable slave knows.
    """

    def __init__(self, bundle_ifindex: int, requests: Requests, events: Events) -> None:
        self.table: BundleTable | None = None
        self.dropped: Counter[str] = Counter()
        self._bundle_ifindex = bundle_ifindex
        self._requests = requests
        self._events = events
        self._slaves: list[Slave] = []
        self._adjustments: Adjustments = {}
        self._scheduler: Scheduler = create("round_robin", [])
        self._reads_queues = self._keeps_flows = False
        self._classes = 0
        self._usable = 0
        self._settled: set[bytes] = set()
        self._waiting = Waiting()
        self._bind_at = 0
        self._sample: Sample | None = None
        self._rates: dict[int, int] = {}

    def configure(self, table: BundleTable) -> None:
        """Replace the slave table; staying slaves keep queues, counters and scheduler state.

        Raises OSError where a slave's link does not exist and ValueError or TypeError where the
        method cannot work with the table; nothing has changed then.
        """
        known = {slave.row.ifindex: index for index, slave in enumerate(self._slaves)}
        staying = [row.ifindex for row in table.slaves if row.ifindex in known]
        adjustments = tables.kept(self._adjustments, staying)
        rows = tables.adjusted(table, adjustments).slaves
        scheduler = tables.scheduler(replace(table, slaves=rows))
        added: dict[int, Slave] = {}
        self._events.watch({*known, *(row.ifindex for row in table.slaves)})
        try:
            for row in table.slaves:
                if row.ifindex not in known:
                    added[row.ifindex] = Slave(row, self._bundle_ifindex, self._requests)
        except OSError:
            _close(added.values())
            self._events.watch(known)
            raise
        origins = [known.get(row.ifindex) for row in table.slaves]
        scheduler.inherit(self._scheduler, origins)
        before = self._slaves
        self._slaves = [
            added[row.ifindex] if origin is None else before[origin]
            for row, origin in zip(table.slaves, origins, strict=True)
        ]
        self._scheduler, self.table, self._adjustments = scheduler, table, adjustments
        self._reads_queues = METHODS[table.method].reads_queues
        self._classes = table.light_dscps | table.duplicate_dscps
        self._keeps_flows = keeps_flows(table.method, table.stripe_unit)
        waiting = [
            packet
            for slave, row in zip(self._slaves, rows, strict=True)
            for packet in slave.set_row(row)
        ]
        freed = [slave for index, slave in enumerate(before) if index not in origins]
        waiting += _taken(freed)
        _close(freed)
        self._events.watch(row.ifindex for row in table.slaves)
        self._bind_late()
        self._update_usable(waiting)

    def adjust(self, adjustments: Adjustments) -> None:
        """Adjust the slaves there are, instead of all earlier adjustments.

        ValueError where a rate or a lag cannot be; nothing has changed then.
        """
        if self.table is None:
            return
        found = tables.kept(adjustments, (row.ifindex for row in self.table.slaves))
        rows = tables.adjusted(self.table, found).slaves
        self._scheduler.adjust([tables.slave_parameters(row) for row in rows])
        lost: list[Packet] = []
        for slave, row in zip(self._slaves, rows, strict=True):
            by = found.get(row.ifindex)
            if by and by.lost_since is not None and slave.row.usable:
                lost += slave.take_sent(by.lost_since)
            slave.keep_sent(by is not None)
            slave.adjust(row)
        self._adjustments = found
        self._bind_late()
        self._update_usable(lost)

    def place(self, packet: Packet) -> None:
        """Choose a slave for one packet and send or hold it; have it wait, or drop it."""
        destination = packet.destination
        if destination[0] >= GROUPS and (len(destination) == IPV4 or destination[0] == GROUP6):
            self._place_first(packet)
            return
        waits = self._waiting and not packet.light and not self._is_of_class(self._dscp(packet))
        if (waits or not self._bind(packet)) and (dropped := self._waiting.put(packet)):
            self.dropped["queue_full"] += dropped

    def _bind(self, packet: Packet) -> bool:
        """Do so; False: no slave can take it before ``_bind_at``."""
        _, body, destination, segments, header, _, light, _ = packet
        length = len(body)
        flow = bucket_of(body) if self._keeps_flows else 0
        dscp = self._dscp(packet)
        while True:
            now = monotonic_ns()
            queued = [each.queued_bytes() for each in self._slaves] if self._reads_queues else None
            ready = self._usable if destination in self._settled else self._ready(destination)
            if ready != self._usable:
                self._scheduler.set_usable(ready, expected=self._usable)
            index, release, reason, also = self._scheduler.pick(
                Arrival(now, length, segments, header, queued, light, flow, dscp)
            )
            if ready != self._usable:
                self._scheduler.set_usable(self._usable)
            if index is None:
                if reason == "later":
                    self._bind_at = release
                    return False
                self.dropped[reason] += segments
                return True
            self._send_copies(packet, also)
            slave = self._slaves[index]
            slave.picks += 1
            if release > now or (slave.held and not light and not self._is_of_class(dscp)):
                slave.hold(release, packet)
                return True
            try:
                slave.send(packet)
            except LinkGoneError:
                self._lost(slave)
            else:
                return True

    def _dscp(self, packet: Packet) -> int:
        """Return the packet's DSCP; 0 where there are no classes."""
        return dscp_of(packet.body) if self._classes else 0

    def _is_of_class(self, dscp: int) -> bool:
        return bool(self._classes >> dscp & 1)

    def _send_copies(self, packet: Packet, slaves: Iterable[int]) -> None:
        for slave in [self._slaves[index] for index in slaves]:
            slave.picks += 1
            try:
                slave.send(packet)
            except LinkGoneError:
                self._lost(slave)

    def _bind_waiting(self) -> None:
        while self._waiting:
            packet = self._waiting.take()
            if not self._bind(packet):
                self._waiting.put_back(packet)
                return

    def _bind_late(self) -> None:
        """Tell the method what is known of the real queues, if bandwidths are measured."""
        assert self.table
        late, empty = False, list[int | None]()
        for slave in self._slaves:
            by = self._adjustments.get(slave.row.ifindex, Adjusted())
            slave.count_sent(by.late)
            empty.append(slave.empty_at(by.backlog))
            late |= by.late
        self._scheduler.bind_late(empty if late else None)
        rate = sum(slave.row.bandwidth for slave in self._slaves if slave.usable)
        limit = int(dict(self.table.parameters).get("queue_limit", QUEUE_LIMIT_NS))
        self._waiting.bound(monotonic_ns(), rate, limit)
        self._bind_at = 0

    def _place_first(self, packet: Packet) -> None:
        """Send a packet to a group on the first slave in use: several paths would reorder it."""
        while (first := self._scheduler.first()) is not None:
            slave = self._slaves[first]
            slave.picks += 1
            try:
                slave.send(packet)
            except LinkGoneError:
                self._lost(slave)
            else:
                return
        self.dropped["no_slave"] += packet.segments

    def _ready(self, destination: bytes) -> int:
        """Return the usable slaves that know their next hop; if none does, all usable slaves.

        Every slave is queried, so each resolves its next hop from the first packet on. A packet
        that waited a round trip for that would be late, and TCP would take it for lost.
        """
        ready = sum(
            1 << index
            for index, slave in enumerate(self._slaves)
            if slave.usable and slave.knows_way(destination)
        )
        if ready == self._usable:
            if len(self._settled) >= DESTINATIONS:
                self._settled.clear()
            self._settled.add(destination)
        return ready or self._usable

    def release(self, now: int) -> int | None:
        """Send the held packets that are due, and bind those that wait where that is due.

        Return when the next one is, ns; None: none is held, and none waits.
        """
        if self._waiting and now >= self._bind_at:
            self._bind_waiting()
        holding = [slave for slave in self._slaves if slave.held]
        for slave in holding:
            try:
                slave.release(now)
            except LinkGoneError:
                self._lost(slave)
        if not holding and not self._waiting:
            return None
        dues = [slave.held[0][0] for slave in self._slaves if slave.held]
        if self._waiting:
            dues.append(self._bind_at)
        return min(dues, default=None)

    def react(self, event: Event) -> None:
        """Handle events of the kernel: links, neighbours, routes, or lost events."""
        match event:
            case Link():
                for slave in self._slaves:
                    if slave.row.ifindex == event.ifindex and slave.follow(event):
                        self._update_usable([])
            case Neighbour():
                for slave in self._slaves:
                    if slave.row.ifindex == event.ifindex:
                        self._learn(slave, event)
            case RouteChanged():
                self._update_usable(self._forget_neighbours())
            case LostEvents():
                for slave in self._slaves:
                    slave.look()
                self._update_usable(self._forget_neighbours())

    def every_second(self, now: int) -> None:
        """Measure rates, confirm neighbours, and check links that seem down; ``now``: ns."""
        sample = Sample(now, {slave.row.ifindex: slave.bytes for slave in self._slaves})
        self._rates, self._sample = rates(self._sample, sample), sample
        down = [slave for slave in self._slaves if not slave.running]
        if sum(slave.look() for slave in down):
            self._update_usable([])
        for slave in self._slaves:
            for event in slave.every_second():
                self._learn(slave, event)

    def every_poll_interval(self, now: int) -> None:
        """Let the method do its housekeeping."""
        self._scheduler.tick(now)

    def statistics(self) -> BundleStatistics:
        """Return the counters of the slaves and of what reached none."""
        return BundleStatistics(
            slaves=tuple(
                slave.statistics(self._rates.get(slave.row.ifindex, 0)) for slave in self._slaves
            ),
            dropped=dict(self.dropped),
        )

    def _learn(self, slave: Slave, event: Neighbour) -> None:
        self._settled.clear()
        try:
            slave.learn(event)
        except LinkGoneError:
            self._lost(slave)

    def _lost(self, slave: Slave) -> None:
        slave.running = False
        self._update_usable([])

    def _update_usable(self, waiting: list[Packet]) -> None:
        """Give the method the usable slaves, and place again what the other slaves had not sent."""
        self._settled.clear()
        self._usable = sum(1 << index for index, slave in enumerate(self._slaves) if slave.usable)
        self._scheduler.set_usable(self._usable)
        waiting += _taken(slave for slave in self._slaves if not slave.usable)
        if waiting:
            for packet in waiting + self._waiting.clear():
                self.place(packet)

    def _forget_neighbours(self) -> list[Packet]:
        return [packet for slave in self._slaves for packet in slave.forget_neighbours()]


def _taken(slaves: Iterable[Slave]) -> list[Packet]:
    """Return what these slaves have not sent, the oldest first."""
    taken = [each for slave in slaves for each in slave.take_all()]
    return [packet for _, packet in sorted(taken, key=itemgetter(0))]


def _close(slaves: Iterable[Slave]) -> None:
    for slave in slaves:
        slave.close()
