"""A packet in the worker: its bytes, its destination, its packets on the wire."""

import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from ipeql.backends.tun.device import GSO_NONE, NEEDS_CSUM, VNET_HEADER
from ipeql.backends.tun.worker.light import is_light
from ipeql.backends.tun.worker.marks import TAG, TAG_AT, TAG_BYTES
from ipeql.state import ETHERNET_HEADER

IPV4_TYPE, IPV6_TYPE = b"\x08\x00", b"\x86\xdd"

_IPV4 = struct.Struct("=BBHHHH12x2s16x4s")
_IPV6 = struct.Struct("=BBHHHH12x2s24x16s")
"""The vnet header, the ethertype, and the destination in the IP header."""

_ROW = struct.Struct("!H")
_TYPE_AT = VNET_HEADER.size + TAG_AT
BODY_AT = VNET_HEADER.size + ETHERNET_HEADER
"""Where the IP header is in a buffer."""

_GSO_TCP = frozenset((1, 4))
_GSO_ECN = 0x80
_TCP_HEADER = 20
_TCP_DATA_OFFSET = 12
_UDP_HEADER = 8


UNMARKED = (0, 0)


class Packet(NamedTuple):
    """``vnet`` as read from the device, for the frame; ``body`` from the IP header on.

    ``destination`` has 4 or 16 bytes. ``segments``: the wire packets it becomes, each with its own
    copy of the first ``header`` bytes, IP and transport header (0 where it is one packet).
    ``marks`` are its mark and its priority (socket(7), SO_MARK and SO_PRIORITY). ``light``: it
    is a TCP segment that carries nothing. ``again``: it was sent once already, and may be lost.
    """

    vnet: bytes
    body: bytes | memoryview
    destination: bytes
    segments: int = 1
    header: int = 0
    marks: tuple[int, int] = UNMARKED
    light: bool = False
    again: bool = False

    def owned(self) -> "Packet":
        """Return it with a copy of the body instead of a view of the read buffer."""
        return self._replace(body=bytes(self.body))


_packet = partial(tuple.__new__, Packet)
"""Packet(), but faster: without the constructor in Python."""


def _unmarked(_row: int) -> tuple[int, int]:
    return UNMARKED


def parse(
    buffer: bytearray,
    length: int,
    body: memoryview,
    marks: Callable[[int], tuple[int, int]] = _unmarked,
) -> Packet | None:
    """Read the ``length`` bytes in ``buffer``: vnet header, frame; ``body`` views the IP packet.

    Returns None where it is not an IP packet or its headers do not fit. ``hdr_len`` of the vnet
    header is only a hint (it counts the linear part of the kernel's buffer), so the header's length
    is taken from the transport header, which ``csum_start`` points to on every GSO train. ``marks``
    has the mark and priority of a tag (``marks.py``).
    """
    if length < _IPV4.size:
        return None
    _, gso_type, _, gso_size, transport, _, kind, destination = _IPV4.unpack_from(buffer)
    if kind == IPV6_TYPE and length >= _IPV6.size:
        destination = _IPV6.unpack_from(buffer)[-1]
    elif kind == TAG:
        return _untagged(buffer, length, marks)
    elif kind != IPV4_TYPE:
        return None
    if buffer[BODY_AT] >> 4 != (4 if kind == IPV4_TYPE else 6):
        return None
    vnet = bytes(buffer[: VNET_HEADER.size])
    if gso_type == GSO_NONE:
        return _packet((vnet, body, destination, 1, 0, UNMARKED, is_light(body), False))
    offset = VNET_HEADER.size + transport + _TCP_DATA_OFFSET
    if transport < ETHERNET_HEADER or offset >= length:
        return None
    transport -= ETHERNET_HEADER
    segments, header = _train(gso_type, gso_size, transport, buffer[offset] >> 4, len(body))
    if not segments:
        return None
    return _packet((vnet, body, destination, segments, header, UNMARKED, False, False))


def _untagged(
    buffer: bytearray, length: int, marks: Callable[[int], tuple[int, int]]
) -> Packet | None:
    flags, gso_type, linear, gso_size, start, offset = VNET_HEADER.unpack_from(buffer)
    if flags & NEEDS_CSUM:
        start = max(0, start - TAG_BYTES)
    plain = bytearray(VNET_HEADER.pack(flags, gso_type, linear, gso_size, start, offset))
    plain += buffer[VNET_HEADER.size : _TYPE_AT]
    plain += buffer[_TYPE_AT + TAG_BYTES : length]
    if plain[_TYPE_AT : _TYPE_AT + len(TAG)] == TAG:
        return None
    packet = parse(plain, len(plain), memoryview(plain)[BODY_AT:])
    row = _ROW.unpack_from(buffer, _TYPE_AT + len(TAG))[0]
    return packet and packet._replace(marks=marks(row))


def framed(buffer: bytearray, length: int) -> int:
    """Give a packet without link header, read to ``BODY_AT``, what a frame has before it.

    Return the length with the link header. ``length`` is what was read.
    """
    buffer[_TYPE_AT:BODY_AT] = IPV6_TYPE if buffer[BODY_AT] >> 4 == 6 else IPV4_TYPE
    flags, gso_type, linear, gso_size, start, offset = VNET_HEADER.unpack_from(buffer)
    if flags & NEEDS_CSUM:
        start += ETHERNET_HEADER
        VNET_HEADER.pack_into(buffer, 0, flags, gso_type, linear, gso_size, start, offset)
    return length + ETHERNET_HEADER


@lru_cache
def _train(
    gso_type: int, gso_size: int, transport: int, data_offset: int, length: int
) -> tuple[int, int]:
    """Return the segments of a GSO train and their header's length; 0 segments: it is not valid.

    A flow's trains are mostly alike, and at 20 Gbit/s a microsecond for each counts.
    """
    is_tcp = gso_type & ~_GSO_ECN in _GSO_TCP
    header = transport + (max(_TCP_HEADER, data_offset * 4) if is_tcp else _UDP_HEADER)
    if not gso_size or header >= length:
        return 0, 0
    return -(-(length - header) // gso_size), header
