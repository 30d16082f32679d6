"""A packet as the worker handles it: its bytes, where it goes, what it becomes on the wire."""

import struct
from functools import lru_cache, partial
from typing import NamedTuple

from ipeql.backends.tun.device import GSO_NONE, VNET_HEADER

_IPV4 = struct.Struct("=BBHHHH16x4s")
_IPV6 = struct.Struct("=BBHHHH24x16s")
"""The vnet header and, of the IP header behind it, the destination."""

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
        """Return it with a body of its own rather than a view of the read buffer."""
        return self._replace(body=bytes(self.body))


_packet = partial(tuple.__new__, Packet)
"""Packet() without the Python function that a named tuple's constructor is."""


def parse(buffer: bytearray, length: int, body: memoryview) -> Packet | None:
    """Read the ``length`` bytes, vnet header included, in ``buffer``; ``body`` views the packet.

    Returns None where it is not an IP packet or its headers do not fit. ``hdr_len`` of the vnet
    header is only a hint (it counts the linear part of the kernel's buffer), so the header's length
    is taken from the transport header, which ``csum_start`` points to on every GSO train.
    """
    version = buffer[_VERSION] >> 4
    if version == 4 and length >= _IPV4.size:
        _, gso_type, _, gso_size, transport, _, destination = _IPV4.unpack_from(buffer)
    elif version == 6 and length >= _IPV6.size:
        _, gso_type, _, gso_size, transport, _, destination = _IPV6.unpack_from(buffer)
    else:
        return None
    vnet = bytes(buffer[:_VERSION])
    if gso_type == GSO_NONE:
        return _packet((vnet, body, destination, 1, 0, UNMARKED))
    offset = _VERSION + transport + _TCP_DATA_OFFSET
    if offset >= length:
        return None
    segments, header = _train(gso_type, gso_size, transport, buffer[offset] >> 4, len(body))
    return _packet((vnet, body, destination, segments, header, UNMARKED)) if segments else None


@lru_cache
def _train(
    gso_type: int, gso_size: int, transport: int, data_offset: int, length: int
) -> tuple[int, int]:
    """Return the segments of a GSO train and their header's length; 0 segments: it makes no sense.

    A flow's trains are mostly alike, and at 20 Gbit/s a microsecond for each counts.
    """
    is_tcp = gso_type & ~_GSO_ECN in _GSO_TCP
    header = transport + (max(_TCP_HEADER, data_offset * 4) if is_tcp else _UDP_HEADER)
    if not gso_size or header >= length:
        return 0, 0
    return -(-(length - header) // gso_size), header
