"""What every striping method shares: its slaves, the usable set, the order by lag.

docs/methods.md is the contract; these classes are its reference implementation. All arithmetic is
integer and stays within 64 bits, so that the C versions give the same results. Units: rates bit/s,
times ns, lengths bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ipeql.methods.flows import UNITS, Flows
from ipeql.methods.use import ALWAYS, reserves

MAX_SLAVES = 32
MIN_BANDWIDTH = 1000
ALL = -1
"""A usable mask with every bit set."""

NSPB_SHIFT = 16
OVERFLOW_AFTER_NS = 20 * 10**6
"""``overflow_after`` where none is given."""

CLASS_COPIES = 2
"""Over so many slaves a packet of a class is sent that is duplicated."""


@dataclass(frozen=True, slots=True)
class SlaveParameters:
    """What a method may know of a slave.

    ``bandwidth`` bit/s (0: not given), ``lag`` one-way delay in ns (None: not given), ``overhead``
    bytes the wire adds to every IP packet. ``use``: when it gets packets, of :data:`use.USES`.
    """

    bandwidth: int = 0
    lag: int | None = None
    overhead: int = 14
    use: str = ALWAYS


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides beside the method, and is the same for every method.

    ``stripe_unit``: ``flow`` and ``flowlet`` keep the packets of a flow to one slave.
    ``overflow_after`` ns of virtual queue on every slave that is always in use let packets go to
    those that are in use when these are full. ``light_dscps`` and ``duplicate_dscps`` are masks,
    bit d is DSCP d: a packet with one of these is sent over the slave, or over the two, that
    deliver it first.
    """

    stripe_unit: str = "burst"
    overflow_after: int = OVERFLOW_AFTER_NS
    light_dscps: int = 0
    duplicate_dscps: int = 0


PLAIN = Rules()


class Arrival(NamedTuple):
    """A packet to be placed.

    ``now`` CLOCK_MONOTONIC in ns; ``length`` of the IP packet in bytes; ``segments`` wire packets
    it becomes, each after the first repeating ``header`` bytes of IP and transport header;
    ``queued`` the packets each slave has not yet sent, where the method reads the queues;
    ``light`` it is a pure acknowledgement or an ICMP echo; ``flow`` the
    bucket of its flow, where the stripe unit keeps flows together; ``dscp`` what it carries.
    """

    now: int
    length: int
    segments: int = 1
    header: int = 0
    queued: Sequence[int] | None = None
    light: bool = False
    flow: int = 0
    dscp: int = 0


class Decision(NamedTuple):
    """Where a packet goes and when.

    ``slave`` index or None when dropped; ``release`` the time (ns, the caller's clock) at which to
    hand it over; ``reason`` empty, or why it was dropped: ``no_slave`` or ``queue_full``. It may
    also be ``later``: the packet waits, and is to be placed again from ``release`` on. ``also``:
    the slaves that get a copy, at once.
    """

    slave: int | None
    release: int
    reason: str = ""
    also: tuple[int, ...] = ()


class Scheduler(ABC):
    """The state of a striping method over one slave table; slaves are known by their index in it.

    What is particular to a method is data on its class, which every dataplane reads. ``needs``:
    which of ``bandwidth`` and ``lag`` every slave has to give. ``parameters``: the keyword
    arguments the method takes beside the slaves; ``times``: those that are times in ns. ``holds``:
    it may hold packets until their release. ``reads_queues``: ``pick`` needs ``queued``.
    ``has_queues``: it keeps the slaves' virtual queues, the times (ns) at which they drain
    (``busy_i`` and ``nspb_i``). ``binds_late``: it can be told of the real queues, see
    :meth:`bind_late`.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    parameters: ClassVar[frozenset[str]] = frozenset()
    times: ClassVar[frozenset[str]] = frozenset()
    holds: ClassVar[bool] = False
    reads_queues: ClassVar[bool] = False
    has_queues: ClassVar[bool] = False
    binds_late: ClassVar[bool] = False

    def __init__(self, slaves: Sequence[SlaveParameters], rules: Rules = PLAIN) -> None:
        if len(slaves) > MAX_SLAVES:
            raise ValueError(f"{len(slaves)} slaves; a bundle has at most {MAX_SLAVES}")
        self._reserves = reserves(slave.use for slave in slaves)
        self._check(slaves)
        self._slaves = tuple(slaves)
        self._rules = rules
        self._flows = Flows(rules.stripe_unit) if rules.stripe_unit in UNITS else None
        self._ruled = bool(
            self._flows or self._reserves or rules.light_dscps | rules.duplicate_dscps
        )
        self._candidates = self._among = ALL
        self._expected = 0
        self._busy = [0] * len(slaves)
        self._derive()

    def _check(self, slaves: Sequence[SlaveParameters]) -> None:
        always = self._reserves.always(ALL) if self._reserves.when_full else 0
        for i, slave in enumerate(slaves):
            if "bandwidth" in self.needs and slave.bandwidth < MIN_BANDWIDTH:
                raise ValueError(
                    f"{self.name}: slave {i} needs a bandwidth of {MIN_BANDWIDTH} bit/s or more"
                )
            if "lag" in self.needs and slave.lag is None:
                raise ValueError(f"{self.name}: slave {i} needs a lag")
            if always >> i & 1 and slave.bandwidth < MIN_BANDWIDTH:
                raise ValueError(f"slave {i} needs a bandwidth: another is used when it is full")

    def set_usable(self, mask: int, expected: int = 0) -> None:
        """Stripe from now on over the slaves whose bit is set: bit i is slave i.

        ``expected``: slaves that are about to be usable, their next hop being asked for. They get
        no packet, but a method that makes packets wait for the slowest path waits for them too.
        """
        every = (1 << len(self._slaves)) - 1
        mask, expected = mask & every, expected & every & ~mask
        if self._reserves:
            mask = self._reserves.candidates(mask)
            expected = self._reserves.expected(expected)
        if (mask, expected) != (self._candidates, self._expected):
            if mask != self._candidates:
                self._begin()
            self._candidates, self._expected, self._among = mask, expected, mask
            self._use(self._chosen_from())

    def adjust(self, slaves: Sequence[SlaveParameters]) -> None:
        """Take over other rates and lags of the same slaves; the state stays.

        So do the priorities of bw_load and bw_poll, whatever set the next packet is placed over.
        ValueError, and nothing has changed: as ``create``, or their number is another.
        """
        if len(slaves) != len(self._slaves):
            raise ValueError(f"{len(slaves)} slaves; the table has {len(self._slaves)}")
        self._check(slaves)
        self._slaves = tuple(slaves)
        self._derive()
        self._use(self._chosen_from())

    def first(self) -> int | None:
        """Return the first slave that may get a packet now; None: there is none.

        It gets what goes to a group, which the method does not place.
        """
        lowest = self._candidates & -self._candidates
        return lowest.bit_length() - 1 if lowest else None

    def bind_late(self, empty: Sequence[int | None] | None) -> None:  # noqa: B027  most do not
        """Place a packet only when a slave can take it soon, so that ``pick`` says ``later``.

        ``empty``: for each slave when its real queue is empty, by what has been measured and what
        it was given since, ns of the caller's clock; None where that is not known, and the virtual
        queue is believed. None instead of the sequence: place every packet at once again.
        """

    def pick(self, arrival: Arrival) -> Decision:
        """Place one packet and account for it."""
        if not self._ruled:
            return self._choose(arrival)
        self._admit(self._in_use(arrival.now))
        if copies := self._copies(arrival):
            decision = self._send_copies(arrival, copies)
        else:
            decision = self._place(arrival)
        if decision.reason == "later" and self._among != self._candidates:
            self._admit(self._candidates)
            decision = self._place(arrival)
        if decision.slave is not None and self._reserves.when_full and not self.has_queues:
            for i in (decision.slave, *decision.also):
                self._queue(i, arrival)
        return decision

    def _copies(self, arrival: Arrival) -> int:
        """Return over how many slaves the packet is sent at once; 0: it is placed as all are."""
        if self._rules.light_dscps >> arrival.dscp & 1:
            return 1
        return CLASS_COPIES if self._rules.duplicate_dscps >> arrival.dscp & 1 else 0

    def _send_copies(self, arrival: Arrival, copies: int) -> Decision:
        """Send a packet at once over the slaves that deliver it first."""
        if not self._among:
            return Decision(None, arrival.now, "no_slave")
        slaves = self._open(arrival.now)
        if self._is_timed:
            slaves.sort(key=lambda i: self._tx(i, arrival) + (self._slaves[i].lag or 0))
        if not slaves:
            return Decision(None, arrival.now, "queue_full")
        first, *others = slaves[:copies]
        if self.has_queues:
            for i in others:
                self._queue(i, arrival)
        return self._charge(arrival, first)._replace(also=tuple(others))

    def _open(self, now: int) -> list[int]:
        """Return the slaves, ascending, that may be sent one more packet."""
        return self._chosen_from()

    def _place(self, arrival: Arrival) -> Decision:
        """Place a packet on the slave that its flow is kept to, or on one that is chosen for it."""
        if self._flows is None:
            return self._choose(arrival)
        kept = self._flows.kept(arrival.flow, arrival.now, self._spread)
        if kept is None or not self._among >> kept & 1:
            decision = self._choose(arrival)
        else:
            decision = self._charge(arrival, kept)
        if decision.slave is not None:
            self._flows.keep(arrival.flow, arrival.now, decision.slave)
        return decision

    def _in_use(self, now: int) -> int:
        """Return the slaves to choose from: overflow has to wait until all others are full."""
        if not self._reserves.when_full:
            return self._candidates
        always = self._reserves.always(self._candidates)
        bound = now + self._rules.overflow_after
        if any(always >> i & 1 and drained <= bound for i, drained in enumerate(self._busy)):
            return always
        return self._candidates

    def _admit(self, slaves: int) -> None:
        if slaves != self._among:
            self._among = slaves
            self._use(self._chosen_from())

    def _chosen_from(self) -> list[int]:
        return [i for i in range(len(self._slaves)) if self._among >> i & 1]

    def _queue(self, i: int, arrival: Arrival) -> None:
        """Put a packet into slave i's virtual queue."""
        self._busy[i] = max(self._busy[i], arrival.now) + self._tx(i, arrival)

    def _tx(self, i: int, arrival: Arrival) -> int:
        """Return how long a packet takes slave i, ns."""
        size = arrival.length + (arrival.segments - 1) * arrival.header
        charge = size + arrival.segments * self._slaves[i].overhead
        return charge * self._nspb[i] >> NSPB_SHIFT

    def _derive(self) -> None:
        """Find what follows from the slaves' parameters by division."""
        self._nspb = [nanoseconds_per_byte(slave.bandwidth) for slave in self._slaves]
        self._is_timed = all(each.bandwidth and each.lag is not None for each in self._slaves)

    @property
    def _spread(self) -> int:
        """The largest difference of the lags, ns, of slaves that may get a packet."""
        lags = [each.lag or 0 for i, each in enumerate(self._slaves) if self._candidates >> i & 1]
        return max(lags, default=0) - min(lags, default=0)

    def _begin(self) -> None:  # noqa: B027  most methods have nothing to begin
        """Begin anew what is of the candidates, where these are others now."""

    @abstractmethod
    def _use(self, slaves: list[int]) -> None:
        """Prepare for choosing from ``slaves``, ascending: of another set, or other parameters."""

    @abstractmethod
    def _choose(self, arrival: Arrival) -> Decision:
        """Choose a slave for a packet, and account for it."""

    def _charge(self, arrival: Arrival, i: int) -> Decision:
        """Account for a packet that slave i gets, whatever the method would choose."""
        return Decision(i, arrival.now)

    def tick(self, now: int) -> None:  # noqa: B027  most methods have nothing to do
        """Do the housekeeping that is due every poll-interval."""

    def inherit(self, previous: "Scheduler", origins: Sequence[int | None]) -> None:
        """Take over from ``previous``, whose table this one replaces, the state that outlives it.

        ``origins[i]`` is the index slave i had there, None where it is new.
        """
        if self._flows and previous._flows:
            self._flows.inherit(previous._flows, origins)
        if self.has_queues and previous.has_queues:
            for i, origin in enumerate(origins):
                if origin is not None:
                    self._busy[i] = previous._busy[origin]


def nanoseconds_per_byte(bandwidth: int) -> int:
    """Return the time one byte takes at ``bandwidth`` bit/s: ns in 16.16 fixed point."""
    return (8 * 10**9 << NSPB_SHIFT) // bandwidth if bandwidth else 0


def lag_order(slaves: Sequence[SlaveParameters]) -> list[int]:
    """Return the slaves' indices by ascending lag, or as listed unless every slave gives one."""
    lags = [slave.lag for slave in slaves if slave.lag is not None]
    order = range(len(slaves))
    return sorted(order, key=lags.__getitem__) if len(lags) == len(slaves) else list(order)
