"""What the worker must know of a packet: where it goes, and what it becomes on the wire."""

import struct
from typing import NamedTuple

from ipeql.backends.tun.device import GSO_NONE, VNET_HEADER

IPV4_HEADER = 20
IPV6_HEADER = 40
_IPV4_DESTINATION = struct.Struct("16x4s")
_IPV6_DESTINATION = struct.Struct("24x16s")
_GSO_TCP = frozenset((1, 4))
_GSO_ECN = 0x80
_UDP_HEADER = 8


class Packet(NamedTuple):
    """``destination`` 4 or 16 bytes; ``segments`` wire packets, each with ``header`` bytes.

    ``header`` is the IP and transport header that every further segment repeats (0 without GSO).
    """

    destination: bytes
    segments: int
    header: int


def parse(buffer: bytearray, length: int) -> Packet | None:
    """Read the packet of ``length`` bytes that follows the vnet header in ``buffer``.

    Returns None where it is not an IP packet or its headers do not fit. ``hdr_len`` of the vnet
    header is only a hint (it counts the linear part of the kernel's buffer), so the header's length
    is taken from the transport header, which ``csum_start`` points to on every GSO train.
    """
    start = VNET_HEADER.size
    version = buffer[start] >> 4 if length else 0
    if version == 4 and length >= IPV4_HEADER:
        (destination,) = _IPV4_DESTINATION.unpack_from(buffer, start)
    elif version == 6 and length >= IPV6_HEADER:
        (destination,) = _IPV6_DESTINATION.unpack_from(buffer, start)
    else:
        return None
    gso_type = buffer[1]
    if gso_type == GSO_NONE:
        return Packet(destination, 1, 0)
    _, _, _, gso_size, transport, _ = VNET_HEADER.unpack_from(buffer)
    if gso_type & ~_GSO_ECN in _GSO_TCP:
        if transport + 20 > length:
            return None
        header = transport + (buffer[start + transport + 12] >> 4) * 4
    else:
        header = transport + _UDP_HEADER
    if not gso_size or header >= length:
        return None
    return Packet(destination, -(-(length - header) // gso_size), header)
