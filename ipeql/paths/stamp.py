"""STAMP packets: a request built and read, an answer built and read. No I/O, and no exceptions.

All numbers are big endian. Sources: RFC 8762, 4.2 and 4.3 (unauthenticated mode, 44 bytes);
RFC 8972, 3 (SSID) and 4 (TLVs); RFC 9534, 3 (micro-sessions); RFC 5357, appendix I (TWAMP Light,
whose requests may be as short as 14 bytes, and whose answers end at byte 41).
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from ipeql.paths import tlv
from ipeql.paths.timestamp import ERROR_ESTIMATE, decode, encode
from ipeql.paths.tlv import HEADER, UNKNOWN, Tlv

BASE_SIZE = 44
_SHORTEST_REQUEST = 14
_SHORTEST_ANSWER = 41
MAX_SIZE = 1 << 11
"""Bytes of the largest request that is answered: more than any probe of ours, and one frame."""

_REQUEST = Struct(">IQHH28x")
"""Sequence, T1, Error Estimate, SSID, zeros. RFC 8972, 3, figure 1."""

_SENDER = Struct(">IQH")

_ANSWER = Struct(">IQHHQIQH2xB3x")
"""Sequence, T3, Error Estimate, SSID, T2, then of the request: sequence, T1, Error Estimate, TTL.
RFC 8972, 3, figure 2."""

_COUNTERS = Struct(">III")
"""Packets: sent by the sender, received and sent by the reflector. RFC 8972, 4.5."""

_COUNTERS_THERE = Struct(">II")

_MEMBERS = Struct(">HH")
"""The slave's number at the sender and at the reflector. RFC 9534, 3.1."""

_MARK = b"IPQL"
_DELIVERY = Struct(">4sQQ")
"""Ours: a mark, the bytes that the reflector has received over the slave, when the last came."""

_WORD = 0xFFFFFFFF

_OWN = Struct(">IHHIIIII4sQQ")
"""The TLVs of a probe of ours without a key: each one's header, then its value. Nearly all packets
have them, and are read and written in one step."""

_OWN_SIZE = BASE_SIZE + _OWN.size
_OWN_ORDER = (tlv.MICRO_SESSION, tlv.DIRECT_MEASUREMENT, tlv.DELIVERY)
_ANSWERED, _ASKED = (
    (*(flags << 24 | kind << 16 | tlv.LENGTHS[kind] for kind in _OWN_ORDER), _MARK)
    for flags in (0, UNKNOWN)
)
"""What such TLVs have in an answer, and in a request: their headers, and the mark."""


class Counted(NamedTuple):
    """A slave's counters: packets and bytes without those of the probes, if they can be told.

    ``last``: when the last packet was received, ns since 1970 by the clock of that end; 0: never.
    """

    sent: int = 0
    received: int = 0
    bytes_received: int = 0
    last: int = 0


class Request(NamedTuple):
    """A probe as it arrived.

    ``stamp`` and ``error_estimate``: T1. ``member``: the slave's number there. ``tlvs`` None: those
    of a probe of ours without a key; then ``packets`` have been sent over the slave.
    """

    packet: bytes
    sequence: int
    stamp: int
    error_estimate: int
    ssid: int
    member: int | None
    wanted_member: int
    packets: int = 0
    tlvs: Sequence[Tlv] | None = None

    @property
    def sent(self) -> int:
        """T1, ns since 1970."""
        return decode(self.stamp, self.error_estimate)


class Reply(NamedTuple):
    """An answer as it arrived.

    ``sequence``: the reflector's own. ``received``, ``sent``: T2 and T3, ns since 1970 there.
    ``asked``, ``asked_at``: sequence and T1 of the request. ``ttl``: with which that arrived there.
    ``members``: the slave's numbers here and there. ``counted``: what came over the slave there,
    and was sent; None where the far end does not count; ``bytes_received`` and ``last`` are 0
    where it is not IPEQL.
    """

    sequence: int
    received: int
    sent: int
    ssid: int
    asked: int
    asked_at: int
    ttl: int
    members: tuple[int, int] | None
    counted: Counted | None


def build_request(
    *, sequence: int, sent: int, ssid: int, member: int, packets_sent: int, key: bytes = b""
) -> bytes:
    """Return a probe that asks for all counters.

    ``sent``: T1, ns since 1970. ``member``: the slave's number, 1 to 65535. ``packets_sent``: over
    the slave. With a ``key`` the HMAC follows.
    """
    first, second, third, mark = _ASKED
    packets = packets_sent & _WORD
    packet = _REQUEST.pack(sequence & _WORD, encode(sent), ERROR_ESTIMATE, ssid)
    packet += _OWN.pack(first, member, 0, second, packets, 0, 0, third, mark, 0, 0)
    if key:
        packet += tlv.write(tlv.HMAC, tlv.digest(key, packet, BASE_SIZE, len(packet)))
    return packet


def parse_request(packet: bytes, key: bytes = b"") -> Request | None:
    """Return the request in the payload of a UDP datagram, or None where there is none to answer.

    With a ``key`` there is one only with the right HMAC.
    """
    if not key and len(packet) == _OWN_SIZE:
        first, member, wanted, second, packets, _, _, third, mark, _, _ = _OWN.unpack_from(
            packet, BASE_SIZE
        )
        if (first, second, third, mark) == _ASKED:
            number, time, estimate, ssid = _REQUEST.unpack_from(packet)
            return Request(packet, number, time, estimate, ssid, member, wanted, packets)
    if not _SHORTEST_REQUEST <= len(packet) <= MAX_SIZE:
        return None
    if key and not tlv.is_authentic(key, packet, BASE_SIZE):
        return None
    number, time, estimate = _SENDER.unpack_from(packet)
    ssid = int.from_bytes(packet[14:16], "big") if len(packet) >= BASE_SIZE else 0
    tlvs = tlv.read(packet, BASE_SIZE)
    member, wanted = _members(tlvs) or (None, 0)
    return Request(packet, number, time, estimate, ssid, member, wanted, tlvs=tlvs)


def reflect(
    request: Request,
    *,
    sequence: int,
    received: int,
    sent: int,
    ttl: int,
    member: int,
    counted: Counted,
    key: bytes = b"",
) -> bytes | None:
    """Return the answer, as long as the request; None where that is for another slave.

    ``sequence``: of the answers to this session. ``received``, ``sent``: T2 and T3, ns since 1970.
    ``ttl``: of the request as it arrived. ``member``: the number here of the slave that it came
    over. RFC 9534, 3.2: a request that names another one is discarded.
    """
    if request.wanted_member not in (0, member):
        return None
    base = _ANSWER.pack(
        sequence & _WORD,
        encode(sent),
        ERROR_ESTIMATE,
        request.ssid,
        encode(received),
        request.sequence,
        request.stamp,
        request.error_estimate,
        ttl,
    )
    if request.tlvs is None:
        first, second, third, mark = _ANSWERED
        asking, packets = request.member, request.packets
        there, back = counted.received & _WORD, counted.sent & _WORD
        size, last = counted.bytes_received, encode(counted.last) if counted.last else 0
        return base + _OWN.pack(
            first, asking, member, second, packets, there, back, third, mark, size, last
        )
    asked = request.packet
    answer = bytearray(asked)
    size = min(len(asked), BASE_SIZE)
    answer[:size] = base[:size]
    for found in request.tlvs:
        _fill(answer, found, member, counted, key)
    return bytes(answer)


def _fill(answer: bytearray, found: Tlv, member: int, counted: Counted, key: bytes) -> None:
    at, value = found.at, found.at + HEADER.size
    flags = found.flags
    if not flags:
        if found.type == tlv.MICRO_SESSION:
            answer[value + 2 : value + 4] = member.to_bytes(2, "big")
        elif found.type == tlv.DIRECT_MEASUREMENT:
            _COUNTERS_THERE.pack_into(
                answer, value + 4, counted.received & _WORD, counted.sent & _WORD
            )
        elif found.type == tlv.DELIVERY and found.value.startswith(_MARK):
            last = encode(counted.last) if counted.last else 0
            _DELIVERY.pack_into(answer, value, _MARK, counted.bytes_received, last)
        elif found.type == tlv.HMAC and key:
            answer[value:] = tlv.digest(key, answer, BASE_SIZE, at)
        elif found.type in (tlv.DELIVERY, tlv.HMAC):
            flags = UNKNOWN
    answer[at] = flags


def parse_reply(packet: bytes, key: bytes = b"") -> Reply | None:
    """Return the answer in the payload of a UDP datagram, or None where it is none.

    With a ``key`` it is one only with the right HMAC, and with TLVs that the far end has changed:
    a request that is sent back as it was is none.
    """
    if not _SHORTEST_ANSWER <= len(packet) <= MAX_SIZE:
        return None
    told = _told(packet, key)
    if told is None:
        return None
    members, counted = told
    if len(packet) < BASE_SIZE:
        packet = packet.ljust(BASE_SIZE, b"\0")
    sequence, sent, estimate, ssid, received, asked, asked_at, asked_estimate, ttl = (
        _ANSWER.unpack_from(packet)
    )
    return Reply(
        sequence,
        decode(received, estimate),
        decode(sent, estimate),
        ssid,
        asked,
        decode(asked_at, asked_estimate),
        ttl,
        members,
        counted,
    )


def _told(packet: bytes, key: bytes) -> tuple[tuple[int, int] | None, Counted | None] | None:
    """Return what the TLVs of an answer say, None where the HMAC is missing or wrong."""
    if not key and len(packet) == _OWN_SIZE:
        first, member, other, second, _, there, back, third, mark, size, last = _OWN.unpack_from(
            packet, BASE_SIZE
        )
        if (first, second, third, mark) == _ANSWERED:
            return (member, other), _delivered(back, there, size, last)
    tlvs = tlv.read(packet, BASE_SIZE)
    understood = [found for found in tlvs if not (found.flags or packet[found.at])]
    members = _members(understood)
    if key and not (members and tlv.is_authentic(key, packet, BASE_SIZE)):
        return None
    return members, _counted(understood)


def _members(tlvs: list[Tlv]) -> tuple[int, int] | None:
    for found in tlvs:
        if found.type == tlv.MICRO_SESSION and not found.flags:
            sender, reflector = _MEMBERS.unpack(found.value)
            return sender, reflector
    return None


def _counted(tlvs: list[Tlv]) -> Counted | None:
    counted = None
    for found in tlvs:
        if found.type == tlv.DIRECT_MEASUREMENT:
            _, received, sent = _COUNTERS.unpack(found.value)
            counted = Counted(sent, received)
        elif found.type == tlv.DELIVERY and counted and found.value.startswith(_MARK):
            _, size, last = _DELIVERY.unpack(found.value)
            counted = _delivered(counted.sent, counted.received, size, last)
    return counted


def _delivered(sent: int, received: int, size: int, last: int) -> Counted:
    return Counted(sent, received, size, decode(last, 0) if last else 0)
