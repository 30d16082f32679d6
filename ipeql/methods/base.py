"""What every striping method shares: its slaves, the usable set, the order by lag.

docs/methods.md is the contract; these classes are its reference implementation. All arithmetic is
integer and stays within 64 bits, so that the C versions give the same results. Units: rates bit/s,
times ns, lengths bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

MAX_SLAVES = 32
MIN_BANDWIDTH = 1000
ALL = -1
"""A usable mask with every bit set."""


@dataclass(frozen=True, slots=True)
class SlaveParameters:
    """What a method may know of a slave.

    ``bandwidth`` bit/s (0: not given), ``lag`` one-way delay in ns (None: not given), ``overhead``
    bytes the wire adds to every IP packet.
    """

    bandwidth: int = 0
    lag: int | None = None
    overhead: int = 14


class Arrival(NamedTuple):
    """A packet to be placed.

    ``now`` CLOCK_MONOTONIC in ns; ``length`` of the IP packet in bytes; ``segments`` wire packets
    it becomes, each after the first repeating ``header`` bytes of IP and transport header;
    ``queued`` the packets each slave has not yet sent, where the method reads the queues;
    ``pure_ack`` it is a TCP segment without payload and without SYN, FIN or RST.
    """

    now: int
    length: int
    segments: int = 1
    header: int = 0
    queued: Sequence[int] | None = None
    pure_ack: bool = False


class Decision(NamedTuple):
    """Where a packet goes and when.

    ``slave`` index or None when dropped; ``release`` the time (ns, the caller's clock) at which to
    hand it over; ``reason`` empty, or why it was dropped: ``no_slave`` or ``queue_full``. It may
    also be ``later``: the packet waits, and is to be placed again from ``release`` on.
    """

    slave: int | None
    release: int
    reason: str = ""


class Scheduler(ABC):
    """The state of a striping method over one slave table; slaves are known by their index in it.

    What is particular to a method is data on its class, which every dataplane reads. ``needs``:
    which of ``bandwidth`` and ``lag`` every slave has to give. ``parameters``: the keyword
    arguments the method takes beside the slaves; ``times``: those that are times in ns. ``holds``:
    it may hold packets until their release. ``reads_queues``: ``pick`` needs ``queued``.
    ``binds_late``: it can be told of the real queues, see :meth:`bind_late`.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    parameters: ClassVar[frozenset[str]] = frozenset()
    times: ClassVar[frozenset[str]] = frozenset()
    holds: ClassVar[bool] = False
    reads_queues: ClassVar[bool] = False
    binds_late: ClassVar[bool] = False

    def __init__(self, slaves: Sequence[SlaveParameters]) -> None:
        if len(slaves) > MAX_SLAVES:
            raise ValueError(f"{len(slaves)} slaves; a bundle has at most {MAX_SLAVES}")
        self._check(slaves)
        self._slaves = tuple(slaves)
        self._mask = ALL
        self._expected = 0

    def _check(self, slaves: Sequence[SlaveParameters]) -> None:
        for i, slave in enumerate(slaves):
            if "bandwidth" in self.needs and slave.bandwidth < MIN_BANDWIDTH:
                raise ValueError(
                    f"{self.name}: slave {i} needs a bandwidth of {MIN_BANDWIDTH} bit/s or more"
                )
            if "lag" in self.needs and slave.lag is None:
                raise ValueError(f"{self.name}: slave {i} needs a lag")

    def set_usable(self, mask: int, expected: int = 0) -> None:
        """Stripe from now on over the slaves whose bit is set: bit i is slave i.

        ``expected``: slaves that are about to be usable, their next hop being asked for. They get
        no packet, but a method that makes packets wait for the slowest path waits for them too.
        """
        every = (1 << len(self._slaves)) - 1
        mask, expected = mask & every, expected & every & ~mask
        if (mask, expected) != (self._mask, self._expected):
            self._mask, self._expected = mask, expected
            self._use(self._usable_slaves())

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
        self._use(self._usable_slaves())

    def bind_late(self, empty: Sequence[int | None] | None) -> None:  # noqa: B027  most do not
        """Place a packet only when a slave can take it soon, so that ``pick`` says ``later``.

        ``empty``: for each slave when its real queue is empty, by what has been measured and what
        it was given since, ns of the caller's clock; None where that is not known, and the virtual
        queue is believed. None instead of the sequence: place every packet at once again.
        """

    def _usable_slaves(self) -> list[int]:
        return [i for i in range(len(self._slaves)) if self._mask >> i & 1]

    def _derive(self) -> None:  # noqa: B027  most methods have nothing to derive
        """Find what follows from the slaves' parameters by division."""

    @abstractmethod
    def _use(self, usable: list[int]) -> None:
        """Prepare for ``usable``, ascending: at the start, and for another set or parameters."""

    @abstractmethod
    def pick(self, arrival: Arrival) -> Decision:
        """Place one packet and account for it."""

    def tick(self, now: int) -> None:  # noqa: B027  most methods have nothing to do
        """Do the housekeeping that is due every poll-interval."""

    def inherit(self, previous: "Scheduler", origins: Sequence[int | None]) -> None:  # noqa: B027
        """Take over from ``previous``, whose table this one replaces, the state that outlives it.

        ``origins[i]`` is the index slave i had there, None where it is new.
        """


def lag_order(slaves: Sequence[SlaveParameters]) -> list[int]:
    """Return the slaves' indices by ascending lag, or as listed unless every slave gives one."""
    lags = [slave.lag for slave in slaves if slave.lag is not None]
    order = range(len(slaves))
    return sorted(order, key=lags.__getitem__) if len(lags) == len(slaves) else list(order)
