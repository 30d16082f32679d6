"""Answers STAMP requests: a stateful Session-Reflector of RFC 8762, bounded in all it does.

An answer is as large as its request, goes to the address it came from, and leaves by the slave that
it came by. Who is answered at all, the filter of the receiving socket has decided.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from ipeql.paths import stamp
from ipeql.probe.clock import Clock
from ipeql.probe.link.packet import Datagram, Flow

MOST_SESSIONS = 1024
"""Sessions that are remembered of each far end, and of all others together; the one that was used
longest ago is forgotten."""

FAR_END_RATE, OTHERS_RATE = 4000, 1000
"""Answers per second to each far end (32 slaves asked every 15 ms are 2133), and to all others
together."""

_SECOND = 10**9


@dataclass(slots=True)
class _Session:
    """What is remembered of a session: what makes its packets, and how many it was sent."""

    flow: Flow
    answers: int = 0


@dataclass(slots=True)
class _Asker:
    """A far end, or all others. ``allowance``: how many answers it may have at ``time``, ns."""

    rate: int
    allowance: float = 0
    time: int = 0
    sessions: OrderedDict[tuple[bytes, int, int], _Session] = field(default_factory=OrderedDict)

    def may(self, now: int) -> bool:
        """Count an answer, if it is allowed now: a tenth of a second's may come at once."""
        gained = (now - self.time) * self.rate / _SECOND
        self.allowance = min(self.allowance + gained, self.rate / 10)
        self.time = now
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True

    def session(self, asked: Datagram, ssid: int) -> _Session:
        """Return the session of a request; a new one takes the place of the oldest."""
        key = asked.source, asked.source_port, ssid
        session = self.sessions.get(key)
        if session is None:
            if len(self.sessions) >= MOST_SESSIONS:
                self.sessions.popitem(last=False)
            back = asked.destination, asked.source, asked.port, asked.source_port
            session = self.sessions[key] = _Session(Flow(*back))
        self.sessions.move_to_end(key)
        return session


class Reflector:
    """The reflector of one bundle. ``far_ends``: their addresses, packed. ``key``: or empty.

    ``flooded``: others than far ends have asked more than they are answered.
    """

    def __init__(self, far_ends: frozenset[bytes], key: bytes, clock: Clock) -> None:
        self.made_of = far_ends, key
        self._key = key
        self._clock = clock
        self._far = {each: _Asker(FAR_END_RATE) for each in far_ends}
        self._others = _Asker(OTHERS_RATE)
        self.flooded = False

    def is_far_end(self, source: bytes) -> bool:
        """Say whether requests from ``source`` tell of a path of ours."""
        return source in self._far

    def answer(
        self, asked: Datagram, received: int, number: int, counted: stamp.Counted
    ) -> bytes | None:
        """Return the answer to a request as a packet, None where there is none.

        ``received``: when it came, ns of CLOCK_MONOTONIC. ``number`` and ``counted``: of the slave
        that it came by.
        """
        request = None
        if self._key and (request := stamp.parse_request(asked.payload, self._key)) is None:
            return None  # what is forged does not count against the far end
        asker = self._far.get(asked.source, self._others)
        if not asker.may(received):
            self.flooded |= asker is self._others
            return None
        request = request or stamp.parse_request(asked.payload)
        if request is None:
            return None
        session = asker.session(asked, request.ssid)
        payload = stamp.reflect(
            request,
            sequence=session.answers,
            received=self._clock.on_wire(received),
            sent=self._clock.on_wire_now(),
            ttl=asked.ttl,
            member=number,
            counted=counted,
            key=self._key,
        )
        if payload is None:
            return None
        session.answers += 1
        return session.flow.packet(payload)
