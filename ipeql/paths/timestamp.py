"""The two formats of a STAMP timestamp, as ns since 1970.

Sources: RFC 8762, 4.2.1; RFC 5905, 6 (NTP: seconds since 1900 and their 2^-32 parts); RFC 8186, 2.1
(truncated PTP: seconds and ns). Only differences of the times of one clock are used, so the leap
seconds of PTP do not matter.
"""

from struct import Struct

PTP = 0x4000
"""Bit Z of the Error Estimate: the timestamp beside it is in the PTP format. RFC 8186, 2.3."""

ERROR_ESTIMATE = 22 << 8 | 1
"""Ours: not synchronised (S = 0), NTP format, 2^-10 s. RFC 4656, 4.1.2: 1 x 2^(22 - 32) s."""

_SECOND = 10**9
_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970. RFC 868."""

_PARTS = Struct(">II")


def encode(time: int) -> bytes:
    """Return ``time`` (ns since 1970) in the NTP format."""
    seconds, rest = divmod(time, _SECOND)
    return _PARTS.pack((seconds + _NTP_EPOCH) & 0xFFFFFFFF, (rest << 32) // _SECOND)


def decode(stamp: bytes, error_estimate: int) -> int:
    """Return the time (ns since 1970) of a timestamp of 8 bytes.

    Exact for what :func:`encode` has written. NTP seconds without their highest bit are those from
    2036 on (RFC 4330, 3).
    """
    seconds, fraction = _PARTS.unpack(stamp)
    if error_estimate & PTP:
        return int(seconds * _SECOND + fraction)
    if not seconds & 0x80000000:
        seconds += 1 << 32
    return int((seconds - _NTP_EPOCH) * _SECOND + ((fraction * _SECOND + (1 << 31)) >> 32))
