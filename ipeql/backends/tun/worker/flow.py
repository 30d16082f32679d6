"""What flow and what class a packet belongs to."""

from ipeql.methods import BUCKETS

_PORTS = frozenset((6, 17, 33, 132, 136))
"""TCP, UDP, DCCP, SCTP, UDP-Lite: their header begins with the ports."""


def flow_of(body: bytes | memoryview) -> bytes:
    """Return what the packets of one flow have in common: protocol, addresses, and ports.

    Fragments have no ports. In IPv6 the flow label stands for ports behind extension headers.
    """
    if body[0] >> 4 == 4:
        begin = (body[0] & 15) * 4
        whole = not (body[6] & 0x3F or body[7])
        ports = body[begin : begin + 4] if whole and body[9] in _PORTS else b""
        return b"".join((body[9:10], body[12:20], ports))
    ports = body[40:44] if body[6] in _PORTS else bytes((body[1] & 15, body[2], body[3]))
    return b"".join((body[6:7], body[8:40], ports))


def bucket_of(body: bytes | memoryview) -> int:
    """Return the bucket of a packet's flow, by a hash that is another in every worker."""
    return hash(flow_of(body)) % BUCKETS


def dscp_of(body: bytes | memoryview) -> int:
    """Return a packet's DSCP, 0 to 63. Source: RFC 2474, section 3; RFC 8200, section 3."""
    if body[0] >> 4 == 4:
        return body[1] >> 2
    return (body[0] & 15) << 2 | body[1] >> 6
