"""One slave: its tap, its next hops, and what the kernel counts of it."""

import socket

from ipeql.paths import stamp
from ipeql.probe.channel.task import SlaveTask
from ipeql.probe.far_end import FarEnd
from ipeql.probe.link.counters import Count, Counters, Devices
from ipeql.probe.link.next_hops import NextHops
from ipeql.probe.link.packet import ETHERTYPES
from ipeql.probe.link.tap import Tap
from ipeql.probe.session import Session
from ipeql.state import ETHERNET_HEADER

RESOLVING = 10**9
"""A next hop that is not known after so long, ns, is one that does not answer."""

FULL = 2 * 10**8
"""A link whose own queue drops every probe for so long, ns, carries nothing. One that is full of
data takes a probe now and then."""


class Slave:
    """A slave; it is probed if it has a ``session`` with a ``far_end``.

    ``number`` tells the slaves of a bundle apart, 1 to 65535. ``name`` as the kernel writes it.
    ``counted``: the packets that are not probes. Raises OSError where the link does not exist.
    """

    def __init__(self, task: SlaveTask, number: int, next_hops: NextHops, devices: Devices) -> None:
        self.task = task
        self.number = number
        self.name = socket.if_indextoname(task.ifindex).encode(errors="surrogateescape")
        self.tap = Tap(task.ifindex, task.arphrd, bytes.fromhex(task.mac.replace(":", "")))
        self.counted = stamp.Counted()
        self.session: Session | None = None
        self.far_end: FarEnd | None = None
        self._next_hops = next_hops
        self._devices = devices
        self._vain_since = 0

    def next_hop(self, far: bytes) -> bytes:
        """Return the neighbour that packets to ``far`` are given to; addresses packed."""
        via = self.task.via if len(far) == 4 else self.task.via6
        return via.packed if via else far

    def ask(self, now: int, *, by_icmp: bool) -> int | None:
        """Send a probe of the session; return its sequence, None where it could not be sent.

        The link took none then, or its next hop has only just been asked for. A next hop that has
        been silent for ``RESOLVING``, or a queue that has been full for ``FULL``, counts as a path
        that is silent.
        """
        session, tap = self.session, self.tap
        if session is None:
            return None
        lladdr = b""
        if tap.has_link_header:
            lladdr = self._next_hops.lladdr(self.task.ifindex, self.next_hop(session.far))
            if not lladdr:
                return self._in_vain(session, now, RESOLVING)
        packet = session.echo() if by_icmp else session.request(now, self.counted.sent)
        if tap.send(packet, ETHERTYPES[len(session.far)], lladdr):
            self._vain_since = 0
            return session.sent(now)
        return self._in_vain(session, now, FULL) if tap.is_full else None

    def _in_vain(self, session: Session, now: int, bearable: int) -> int | None:
        """Count a probe as sent that could not be, if none could for longer than ``bearable``."""
        self._vain_since = self._vain_since or now
        return session.sent(now) if now - self._vain_since > bearable else None

    def sent(self) -> Count | None:
        """Return what the link has sent so far; None: it has gone."""
        return self._devices.sent(self.name)

    def data(self, all_: Count, probes: Count) -> int:
        """Return the bytes of IP packets in what a link has carried, without those of the probes.

        Both ends count so, whatever headers their links have.
        """
        header = ETHERNET_HEADER if self.tap.has_link_header else 0
        return max(0, all_.bytes - probes.bytes - header * (all_.packets - probes.packets))

    def count(self, found: Counters, clock_time: int) -> None:
        """Take over what the kernel counts of the link; ``clock_time``: now, as on the wire."""
        sent, received = self.tap.sent, self.tap.received
        packets = max(0, found.received.packets - received.packets)
        self.counted = stamp.Counted(
            sent=max(0, found.sent.packets - sent.packets),
            received=packets,
            bytes_received=self.data(found.received, received),
            last=clock_time if packets > self.counted.received else self.counted.last,
        )

    def close(self) -> None:
        """Close the sockets."""
        self.tap.close()
