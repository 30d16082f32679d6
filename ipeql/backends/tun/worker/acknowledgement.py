"""Recognises pure acknowledgements, which ``bw_lag_eq`` does not hold.

Sources: RFC 791, section 3.1; RFC 8200, section 4; RFC 9293, section 3.1.
"""

LONGEST = 160
"""Bytes of the longest packet that is looked at: 120 are 60 of IPv4 and 60 of TCP, and 40 are left
for what IPv6 adds."""

_IPV4, _IPV6 = 20, 40
_PROTOCOL, _NEXT_HEADER = 9, 6
_FRAGMENT, _FRAGMENT_BITS = slice(6, 8), 0x3FFF
"""More fragments, and the fragment's offset."""

_TCP, _TCP_HEADER = 6, 20
_DATA_OFFSET, _FLAGS = 12, 13
_FIN_SYN_RST = 0x07
_EXTENSIONS = frozenset((0, 43, 60))
"""Hop-by-hop options, routing and destination options, whose length is in their second byte."""


def is_pure_ack(packet: bytes | memoryview) -> bool:
    """Say whether an IP packet is a TCP segment without payload and without SYN, FIN or RST.

    A fragment is none, nor is a segment behind another extension header than those of options and
    routing, or one that is cut off.
    """
    length = len(packet)
    if not _IPV4 <= length <= LONGEST:
        return False
    if packet[0] >> 4 == 4:
        protocol, at = packet[_PROTOCOL], (packet[0] & 15) * 4
        if int.from_bytes(packet[_FRAGMENT], "big") & _FRAGMENT_BITS:
            return False
    else:
        protocol, at = packet[_NEXT_HEADER] if length >= _IPV6 else 0, _IPV6
        while protocol in _EXTENSIONS and at + 2 <= length:
            protocol, at = packet[at], at + 8 + packet[at + 1] * 8
    if protocol != _TCP or at + _TCP_HEADER > length:
        return False
    ends = at + (packet[at + _DATA_OFFSET] >> 4) * 4
    return ends == length and not packet[at + _FLAGS] & _FIN_SYN_RST
