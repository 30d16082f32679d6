"""The probes over one slave to its far end, and which answers are to them."""

from ipeql.paths import stamp
from ipeql.paths.path import Answer
from ipeql.paths.rate.unseen import Count
from ipeql.probe.clock import Clock
from ipeql.probe.link.packet import Datagram, Flow, echo_request
from ipeql.state import Address, ProbeSpec, Rung

REMEMBERED = 512
"""Probes whose answer is awaited: those of the last 8 s at the shortest interval."""

_MAGIC = b"IPEQL\0"
"""What the payload of an echo request begins with; then session and sequence follow."""


class Session:
    """A Session-Sender of RFC 8762, or as many echo requests.

    ``number``: the SSID of RFC 8972, which tells the slaves of a bundle apart. ``source``: the
    bundle's own address; ``port``: where answers go, and the identifier of echo requests.
    """

    def __init__(
        self, number: int, spec: ProbeSpec, source: Address, *, port: int, key: bytes, clock: Clock
    ) -> None:
        self.number = number
        self.spec = spec
        self.far = spec.to.packed
        self.made_of = spec, source, port, key
        self._source = source.packed
        self._port = port
        self._key = key
        self._clock = clock
        self._flow = Flow(self._source, self.far, port, spec.port)
        self._next = 0
        self._sent: dict[int, int] = {}

    def request(self, now: int, packets: int) -> bytes:
        """Return the next request as a packet, to be sent ``now``.

        ``packets``: data packets that the slave has sent.
        """
        return self._flow.packet(
            stamp.build_request(
                sequence=self._next,
                sent=self._clock.on_wire(now),
                ssid=self.number,
                member=self.number,
                packets_sent=packets,
                key=self._key,
            )
        )

    def echo(self) -> bytes:
        """Return the next echo request as a packet."""
        payload = b"%b%b%b" % (_MAGIC, self.number.to_bytes(2), self._next.to_bytes(4))
        return echo_request(self._source, self.far, self._port, self._next, payload)

    def sent(self, now: int) -> int:
        """Note that the next probe has been sent, and return its sequence."""
        sequence = self._next
        self._next = (sequence + 1) % 2**32
        self._sent[sequence] = now
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return sequence

    def answered(self, payload: bytes, received: int) -> Answer | None:
        """Return what an answer says, None where it is to no request that awaits one.

        The far end's times are left out where they contradict ours: it cannot have had the request
        for longer than we waited.
        """
        reply = stamp.parse_reply(payload, self._key)
        sent = self._sent.get(reply.asked) if reply else None
        if reply is None or sent is None:
            return None
        if received < sent or reply.asked_at != self._clock.on_wire(sent):
            return None
        del self._sent[reply.asked]
        rung = Rung.STAMP if reply.counted is None else Rung.COUNTED
        if 0 <= reply.sent - reply.received <= received - sent:
            count = _count(reply.counted)
            return Answer(reply.asked, sent, received, rung, reply.received, reply.sent, count)
        return Answer(reply.asked, sent, received, rung)

    def echoed(self, sequence: int, received: int) -> Answer | None:
        """Return what an echo reply says, None where it is to no request of ours."""
        sent = self._sent.pop(sequence, None)
        if sent is None or received < sent:
            return None
        return Answer(sequence, sent, received, Rung.ICMP)


def _count(counted: stamp.Counted | None) -> Count | None:
    return Count(counted.bytes_received, counted.last) if counted and counted.last else None


def session_of(payload: bytes) -> int:
    """Return the SSID of an answer; 0: a plain reflector of RFC 8762 leaves it out."""
    return int.from_bytes(payload[14:16])


def echo_of(reply: Datagram) -> tuple[int, int] | None:
    """Return session and sequence of an echo reply, None where it is not to a probe."""
    payload = reply.payload
    if len(payload) != len(_MAGIC) + 6 or not payload.startswith(_MAGIC):
        return None
    return int.from_bytes(payload[-6:-4]), int.from_bytes(payload[-4:])
