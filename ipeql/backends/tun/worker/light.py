"""Recognises light packets, which ``bw_lag_eq`` does not hold.

Sources: RFC 791, section 3.1; RFC 792; RFC 4443, section 4; RFC 8200, section 4; RFC 9293, section
3.1.
"""

LONGEST_ACK = 160
"""Bytes of the longest packet in which an acknowledgement is looked for: 120 are 60 of IPv4 and 60
of TCP, and 40 are left for what IPv6 adds."""

_IPV4, _IPV6 = 20, 40
_PROTOCOL, _NEXT_HEADER = 9, 6
_FRAGMENT, _FRAGMENT_BITS = slice(6, 8), 0x3FFF
"""More fragments, and the fragment's offset."""

_TCP, _TCP_HEADER = 6, 20
_DATA_OFFSET, _FLAGS = 12, 13
_FIN_SYN_RST = 0x07
_EXTENSIONS = frozenset((0, 43, 60))
"""Hop-by-hop options, routing and destination options, whose length is in their second byte."""

_ECHOES = frozenset(((1, 0), (1, 8), (58, 128), (58, 129)))
"""Protocol and type of ICMP's and ICMPv6's echo requests and replies."""
_ICMP = frozenset((1, 58))


def is_light(packet: bytes | memoryview) -> bool:
    """Say whether an IP packet is an ICMP echo or a TCP segment that carries nothing.

    That is one without payload and without SYN, FIN or RST. A fragment is neither, nor is a packet
    that is cut off, or behind another extension header than those of options and routing. In a
    packet of more than ``LONGEST_ACK`` bytes an echo has to follow the fixed header of IPv6.
    """
    length = len(packet)
    if length < _IPV4:
        return False
    if packet[0] >> 4 == 4:
        protocol, at = packet[_PROTOCOL], (packet[0] & 15) * 4
        if length > LONGEST_ACK and protocol not in _ICMP:
            return False
        if int.from_bytes(packet[_FRAGMENT], "big") & _FRAGMENT_BITS:
            return False
    else:
        protocol, at = packet[_NEXT_HEADER] if length >= _IPV6 else 0, _IPV6
        if length > LONGEST_ACK:
            return protocol in _ICMP and (protocol, packet[at]) in _ECHOES
        while protocol in _EXTENSIONS and at + 2 <= length:
            protocol, at = packet[at], at + 8 + packet[at + 1] * 8
    if protocol in _ICMP:
        return at < length and (protocol, packet[at]) in _ECHOES
    if protocol != _TCP or at + _TCP_HEADER > length:
        return False
    ends = at + (packet[at + _DATA_OFFSET] >> 4) * 4
    return ends == length and not packet[at + _FLAGS] & _FIN_SYN_RST
