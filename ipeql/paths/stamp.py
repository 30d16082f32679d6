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

_REQUEST = Struct(">I8sHH28x")
"""Sequence, T1, Error Estimate, SSID, zeros. RFC 8972, 3, figure 1."""

_SENDER = Struct(">I8sH")

_ANSWER = Struct(">I8sHH8sI8sH2xB3x")
"""Sequence, T3, Error Estimate, SSID, T2, then of the request: sequence, T1, Error Estimate, TTL.
RFC 8972, 3, figure 2."""

_COUNTERS = Struct(">III")
"""Packets: sent by the sender, received and sent by the reflector. RFC 8972, 4.5."""

_COUNTERS_THERE = Struct(">II")

_MEMBERS = Struct(">HH")
"""The slave's number at the sender and at the reflector. RFC 9534, 3.1."""

_MARK = b"IPQL"
_DELIVERY = Struct(">4sQ8s")
"""Ours: a mark, the bytes that the reflector has received over the slave, when the last came."""

_WORD = 0xFFFFFFFF

_OWN = Struct(">44xIHHIIIII4sQ8s")
"""The TLVs of a probe of ours without a key: each one's header, then its value. Nearly all packets
have them, and are read in one step."""

_OWN_PACKET = Struct(_REQUEST.format + _OWN.format.removeprefix(">44x"))
"""The whole probe."""

_OWN_ORDER = (tlv.MICRO_SESSION, tlv.DIRECT_MEASUREMENT, tlv.DELIVERY)
_OWN_ANSWER, _OWN_REQUEST = (
    (*(flags << 24 | kind << 16 | tlv.LENGTHS[kind] for kind in _OWN_ORDER), _MARK)
    for flags in (0, UNKNOWN)
)
_OWN_TLVS = (
    Tlv(0, tlv.MICRO_SESSION, 44, b""),
    Tlv(0, tlv.DIRECT_MEASUREMENT, 52, b""),
    Tlv(0, tlv.DELIVERY, 68, _MARK),
)
"""Of such a request: what :func:`reflect` asks of them."""


class Counted(NamedTuple):
    """A slave's counters: packets and bytes without those of the probes, if they can be told.

    ``last``: when the last packet was received, ns since 1970 by the clock of that end; 0: never.
    """

    sent: int = 0
    received: int = 0
    bytes_received: int = 0
    last: int = 0


class Request(NamedTuple):
    """A probe as it arrived. ``sent``: T1, ns since 1970. ``member``: the slave's number there."""

    packet: bytes
    sequence: int
    sent: int
    ssid: int
    tlvs: Sequence[Tlv]
    member: int | None
    wanted_member: int


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
    micro_session, direct_measurement, delivery, mark = _OWN_REQUEST
    packet = _OWN_PACKET.pack(
        *(sequence & _WORD, encode(sent), ERROR_ESTIMATE, ssid),
        *(micro_session, member, 0),
        *(direct_measurement, packets_sent & _WORD, 0, 0),
        *(delivery, mark, 0, bytes(8)),
    )
    if key:
        packet += tlv.write(tlv.HMAC, tlv.digest(key, packet, BASE_SIZE, len(packet)))
    return packet


def parse_request(packet: bytes, key: bytes = b"") -> Request | None:
    """Return the request in the payload of a UDP datagram, or None where there is none to answer.

    With a ``key`` there is one only with the right HMAC.
    """
    if not _SHORTEST_REQUEST <= len(packet) <= MAX_SIZE:
        return None
    sequence, sent, error_estimate = _SENDER.unpack_from(packet)
    ssid = int.from_bytes(packet[14:16], "big") if len(packet) >= BASE_SIZE else 0
    time = decode(sent, error_estimate)
    if not key and (own := _own(packet, _OWN_REQUEST)):
        return Request(packet, sequence, time, ssid, _OWN_TLVS, *own[:2])
    if key and not tlv.is_authentic(key, packet, BASE_SIZE):
        return None
    tlvs = tlv.read(packet, BASE_SIZE)
    member, wanted = _members(tlvs) or (None, 0)
    return Request(packet, sequence, time, ssid, tlvs, member, wanted)


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
    asked = request.packet
    answer = bytearray(asked)
    base = _ANSWER.pack(
        sequence & _WORD,
        encode(sent),
        ERROR_ESTIMATE,
        request.ssid,
        encode(received),
        request.sequence,
        asked[4:12],
        int.from_bytes(asked[12:14], "big"),
        ttl,
    )
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
            last = encode(counted.last) if counted.last else bytes(8)
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
    sequence, sent, estimate, ssid, received, asked, asked_at, asked_estimate, ttl = (
        _ANSWER.unpack_from(packet.ljust(BASE_SIZE, b"\0"))
    )
    told = _told(packet, key)
    if told is None:
        return None
    members, counted = told
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
    if not key and (own := _own(packet, _OWN_ANSWER)):
        member, other, _, received, sent, size, last = own
        return (member, other), _delivered(Counted(sent, received), size, last)
    tlvs = tlv.read(packet, BASE_SIZE)
    understood = [found for found in tlvs if not (found.flags or packet[found.at])]
    members = _members(understood)
    if key and not (members and tlv.is_authentic(key, packet, BASE_SIZE)):
        return None
    return members, _counted(understood)


def _own(
    packet: bytes, headers: tuple[object, ...]
) -> tuple[int, int, int, int, int, int, bytes] | None:
    """Return the values of TLVs as ours, None where ``headers`` or the mark differ."""
    if len(packet) != _OWN.size:
        return None
    first, one, other, second, asked, received, sent, third, mark, size, last = _OWN.unpack(packet)
    if (first, second, third, mark) != headers:
        return None
    return one, other, asked, received, sent, size, last


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
            counted = _delivered(counted, *_DELIVERY.unpack(found.value)[1:])
    return counted


def _delivered(counted: Counted, size: int, last: bytes) -> Counted:
    return Counted(counted.sent, counted.received, size, decode(last, 0) if any(last) else 0)
