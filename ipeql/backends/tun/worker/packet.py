"""A packet in the worker: its bytes, its destination, its packets on the wire."""

import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from ipeql.backends.tun.device import GSO_NONE, NEEDS_CSUM, VNET_HEADER
from ipeql.backends.tun.worker.marks import TAG, TAG_AT, TAG_BYTES

_IPV4 = struct.Struct("=BBHHHH12x2s2x4s")
_IPV6 = struct.Struct("=BBHHHH12x2s10x16s")
"""The vnet header, a possible tag, and the destination in the IP header."""

_LENGTH = struct.Struct("!H")
_VERSION = VNET_HEADER.size
_GSO_TCP = frozenset((1, 4))
_GSO_ECN = 0x80
_TCP_HEADER = 20
_TCP_DATA_OFFSET = 12
_UDP_HEADER = 8


UNMARKED = (0, 0)


class Packet(NamedTuple):
    """``vnet`` as read from the TUN device, ``body`` from the IP header on.

    ``destination`` has 4 or 16 bytes. ``segments``: the wire packets it becomes, each with its own
    copy of the first ``header`` bytes, IP and transport header (0 where it is one packet).
    ``marks`` are its mark and its priority (socket(7), SO_MARK and SO_PRIORITY).
    """

    vnet: bytes
    body: bytes | memoryview
    destination: bytes
    segments: int = 1
    header: int = 0
    marks: tuple[int, int] = UNMARKED

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
    """Read the ``length`` bytes, vnet header included, in ``buffer``; ``body`` views the packet.

    Returns None where it is not an IP packet or its headers do not fit. ``hdr_len`` of the vnet
    header is only a hint (it counts the linear part of the kernel's buffer), so the header's length
    is taken from the transport header, which ``csum_start`` points to on every GSO train. ``marks``
    has the mark and priority of a tag (``marks.py``).
    """
    version = buffer[_VERSION] >> 4
    if version == 4 and length >= _IPV4.size:
        _, gso_type, _, gso_size, transport, _, tag, destination = _IPV4.unpack_from(buffer)
    elif version == 6 and length >= _IPV6.size:
        _, gso_type, _, gso_size, transport, _, tag, destination = _IPV6.unpack_from(buffer)
    else:
        return None
    if tag == TAG and _is_tagged(body, version):
        return _untagged(body, buffer, marks)
    vnet = bytes(buffer[:_VERSION])
    if gso_type == GSO_NONE:
        return _packet((vnet, body, destination, 1, 0, UNMARKED))
    offset = _VERSION + transport + _TCP_DATA_OFFSET
    if offset >= length:
        return None
    segments, header = _train(gso_type, gso_size, transport, buffer[offset] >> 4, len(body))
    return _packet((vnet, body, destination, segments, header, UNMARKED)) if segments else None


def _is_tagged(body: memoryview, version: int) -> bool:
    """Say whether there is a tag: the packet is longer than its header says, by a tag's length."""
    stated = (
        _LENGTH.unpack_from(body, 2)[0] if version == 4 else _LENGTH.unpack_from(body, 4)[0] + 40
    )
    return bool(stated + TAG_BYTES == len(body))


def _untagged(
    body: memoryview, buffer: bytearray, marks: Callable[[int], tuple[int, int]]
) -> Packet | None:
    flags, gso_type, linear, gso_size, start, offset = VNET_HEADER.unpack_from(buffer)
    if flags & NEEDS_CSUM:
        start = max(0, start - TAG_BYTES)
    plain = bytearray(VNET_HEADER.pack(flags, gso_type, linear, gso_size, start, offset))
    plain += body[:TAG_AT]
    plain += body[TAG_AT + TAG_BYTES :]
    packet = parse(plain, len(plain), memoryview(plain)[_VERSION:])
    row = _LENGTH.unpack_from(body, TAG_AT + len(TAG))[0]
    return packet and packet._replace(marks=marks(row))


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
