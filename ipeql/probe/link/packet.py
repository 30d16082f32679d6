"""Probes as packets: IP, UDP and ICMP headers around them, and back.

Source: RFC 791, RFC 8200 (IP), RFC 768 (UDP), RFC 792 and RFC 4443 (echo), RFC 1071 (checksum). All
packets that are sent have a TTL of 255, as RFC 8762, 4.1.1, has it, and DSCP 0: they take the same
way and queues as the data.
"""

import struct
from typing import NamedTuple

ETHERTYPES = {4: 0x0800, 16: 0x86DD}
"""By length of an address (include/uapi/linux/if_ether.h)."""

TTL = 255
UDP = 17
_IPV4, _IPV6, _UDP_HEADER, _ECHO = (
    struct.Struct(f"!{form}") for form in ("BBHHHBBH4s4s", "IHBB16s16s", "HHHH", "BBHHH")
)
_PLAIN = struct.Struct("!BxH4xBB2x4s4sHHHH")
"""The headers of IPv4 without options and of UDP: nearly all packets are read in one step."""
_DONT_FRAGMENT = 0x4000
ICMP = {4: 1, 16: 58}
_ECHO_REQUEST = {4: 8, 16: 128}
_ECHO_REPLY = {4: 0, 16: 129}
_ONES = 0xFFFF


class Datagram(NamedTuple):
    """What a probe's packet says; addresses packed. ``ttl``: as it arrived, or hop limit.

    Of an echo reply ``source_port`` is 0 and ``port`` its identifier; ``protocol`` tells.
    """

    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    port: int
    ttl: int
    payload: bytes


class Flow:
    """Makes the packets of one pair of addresses and ports; only the payload differs."""

    def __init__(self, source: bytes, destination: bytes, source_port: int, port: int) -> None:
        self.ethertype = ETHERTYPES[len(source)]
        self._addresses = source + destination
        self._ports = source_port, port
        self._length = -1
        self._headers = b""
        self._sum = 0

    def packet(self, payload: bytes) -> bytes:
        """Return the packet that carries ``payload``, its checksums complete."""
        if len(payload) != self._length:
            self._measure(len(payload))
        checksum = _ONES - (self._sum + _sum(payload)) % _ONES
        return self._headers + checksum.to_bytes(2) + payload

    def _measure(self, length: int) -> None:
        size = _UDP_HEADER.size + length
        header = _UDP_HEADER.pack(*self._ports, size, 0)
        self._sum = int.from_bytes(self._addresses + header) + UDP + size
        self._headers = ip_header(self._addresses, UDP, size) + header[:-2]
        self._length = length


def echo_request(
    source: bytes, destination: bytes, identifier: int, sequence: int, payload: bytes
) -> bytes:
    """Return an echo request of ICMP or ICMPv6; ``sequence``: its low 16 bits are sent."""
    kind = _ECHO_REQUEST[len(source)]
    body = _ECHO.pack(kind, 0, 0, identifier, sequence & _ONES) + payload
    checksum = (_ONES - _icmp_sum(source, destination, body)).to_bytes(2)
    packed = source + destination
    return ip_header(packed, ICMP[len(source)], len(body)) + body[:2] + checksum + body[4:]


def ip_header(addresses: bytes, protocol: int, length: int) -> bytes:
    """Return the IP header for ``length`` bytes; ``addresses``: source and destination."""
    half = len(addresses) // 2
    source, destination = addresses[:half], addresses[half:]
    if half == 16:
        return _IPV6.pack(6 << 28, length, protocol, TTL, source, destination)
    fields = (0x45, 0, _IPV4.size + length, 0, _DONT_FRAGMENT, TTL, protocol)
    checksum = _ONES - int.from_bytes(_IPV4.pack(*fields, 0, source, destination)) % _ONES
    return _IPV4.pack(*fields, checksum, source, destination)


def parse(packet: bytes, *, complete: bool = True) -> Datagram | None:
    """Return what a packet says, None where it is no probe, or its checksum is wrong.

    ``complete``: the checksum is there; it is not yet where the packet's own host left that to its
    device. The filter has let through no fragment.
    """
    if len(packet) >= _PLAIN.size:
        first, size, ttl, protocol, source, destination, source_port, port, length, checksum = (
            _PLAIN.unpack_from(packet)
        )
        end = _IPV4.size + length
        if first == 0x45 and protocol == UDP and _PLAIN.size <= end <= size <= len(packet):
            if complete and checksum and (_sum(packet[12:end]) + UDP + length) % _ONES:
                return None
            payload = packet[_PLAIN.size : end]
            return Datagram(UDP, source, destination, source_port, port, ttl, payload)
    if len(packet) < _IPV4.size:
        return None
    if packet[0] >> 4 == 4:
        begin, end = 4 * (packet[0] & 15), int.from_bytes(packet[2:4])
        protocol, ttl, source, destination = packet[9], packet[8], packet[12:16], packet[16:20]
        if begin < _IPV4.size:
            return None
    elif packet[0] >> 4 == 6 and len(packet) >= _IPV6.size:
        begin, end = _IPV6.size, _IPV6.size + int.from_bytes(packet[4:6])
        protocol, ttl, source, destination = packet[6], packet[7], packet[8:24], packet[24:40]
    else:
        return None
    body = packet[begin:end]
    if end > len(packet) or len(body) < _UDP_HEADER.size:
        return None
    if protocol == UDP:
        return _udp(source, destination, ttl, body, complete)
    return _echo_reply(protocol, source, destination, ttl, body)


def _udp(
    source: bytes, destination: bytes, ttl: int, body: bytes, complete: bool
) -> Datagram | None:
    source_port, port, length, checksum = _UDP_HEADER.unpack_from(body)
    if not _UDP_HEADER.size <= length <= len(body):
        return None
    if complete and (checksum or len(source) == 16):
        total = _sum(source + destination) + UDP + length + _sum(body[:length])
        if total % _ONES or not checksum:
            return None
    payload = body[_UDP_HEADER.size : length]
    return Datagram(UDP, source, destination, source_port, port, ttl, payload)


def _echo_reply(
    protocol: int, source: bytes, destination: bytes, ttl: int, body: bytes
) -> Datagram | None:
    kind, code, _, identifier, _ = _ECHO.unpack_from(body)
    if protocol != ICMP[len(source)] or kind != _ECHO_REPLY[len(source)] or code:
        return None
    if _icmp_sum(source, destination, body):
        return None
    return Datagram(protocol, source, destination, 0, identifier, ttl, body[_ECHO.size :])


def _icmp_sum(source: bytes, destination: bytes, body: bytes) -> int:
    """Return the sum of RFC 1071 over the message, and over the pseudo header of ICMPv6."""
    total = _sum(body)
    if len(source) == 16:
        total += _sum(source + destination) + len(body) + ICMP[16]
    return total % _ONES


def _sum(data: bytes) -> int:
    """Return what is, modulo ``_ONES``, the sum of RFC 1071: 2^16 is 1 there."""
    total = int.from_bytes(data)
    return total << 8 if len(data) & 1 else total
