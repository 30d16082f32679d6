"""The TLVs behind a STAMP packet: read one after the other, and their flags in an answer.

Source: RFC 8972, 4: one byte of flags, one of type, two of length, the value. A sender sets U. The
reflector clears it where it knows the type, and sets M where a length is wrong.
"""

import hmac
from struct import Struct
from typing import Final, NamedTuple

UNKNOWN = 0x80
MALFORMED = 0x40

HEADER = Struct(">BBH")
DIGEST_SIZE = 16
"""HMAC-SHA-256, cut to 128 bits. RFC 8972, 4.8."""


PADDING: Final = 1
DIRECT_MEASUREMENT: Final = 5
HMAC: Final = 8
MICRO_SESSION: Final = 11
DELIVERY: Final = 240
"""The types that are understood here. ``DELIVERY`` is ours, of the experimental range."""

LENGTHS = {DIRECT_MEASUREMENT: 12, HMAC: DIGEST_SIZE, MICRO_SESSION: 4, DELIVERY: 20}
"""Bytes of the value; of padding any number. RFC 8972, 4.5 and 4.8; RFC 9534, 3.1."""


class Tlv(NamedTuple):
    """One TLV: ``at`` is the offset of its first byte in the packet.

    ``flags``: those of an answer to it. With M it is not to be understood; where it is longer than
    the packet, its value is what is left of that.
    """

    flags: int
    type: int
    at: int
    value: bytes


def read(packet: bytes, start: int) -> list[Tlv]:
    """Return the TLVs from offset ``start`` to the end of the packet.

    Zeros where the first one begins are padding as in TWAMP (RFC 5357), no TLVs.
    """
    size = len(packet)
    tlvs: list[Tlv] = []
    if not any(packet[start : start + HEADER.size]):
        return tlvs
    while start < size:
        if size - start < HEADER.size:
            tlvs.append(Tlv(MALFORMED, 0, start, b""))
            break
        _, kind, length = HEADER.unpack_from(packet, start)
        value = start + HEADER.size
        end = value + length
        tlvs.append(Tlv(_flags(kind, length, end, size), kind, start, packet[value:end]))
        start = end
    return tlvs


def _flags(kind: int, length: int, end: int, size: int) -> int:
    known = kind in LENGTHS or kind == PADDING
    wrong = end > size or LENGTHS.get(kind, length) != length
    misplaced = kind == HMAC and end != size
    return (0 if known else UNKNOWN) | (MALFORMED if wrong or misplaced else 0)


def write(kind: int, value: bytes, flags: int = UNKNOWN) -> bytes:
    """Return a TLV, with the flags of a sender unless others are given."""
    return HEADER.pack(flags, kind, len(value)) + value


def digest(key: bytes, packet: bytes | bytearray, start: int, end: int) -> bytes:
    """Return the HMAC of a packet: of its sequence number and the TLVs from ``start`` to ``end``.

    Source: RFC 8972, 4.8.
    """
    return hmac.digest(key, bytes(packet[:4]) + packet[start:end], "sha256")[:DIGEST_SIZE]


def is_authentic(key: bytes, packet: bytes, start: int) -> bool:
    """Return whether the packet ends with the right HMAC of the TLVs before it.

    It is looked for at the end, without reading them: what is forged should cost little.
    """
    at = len(packet) - HEADER.size - DIGEST_SIZE
    if at < start or HEADER.unpack_from(packet, at)[1:] != (HMAC, DIGEST_SIZE):
        return False
    return hmac.compare_digest(digest(key, packet, start, at), packet[-DIGEST_SIZE:])
