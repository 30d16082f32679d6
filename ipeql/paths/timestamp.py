"""The two formats of a STAMP timestamp, a number of 64 bits, as ns since 1970.

Sources: RFC 8762, 4.2.1; RFC 5905, 6 (NTP: seconds since 1900 and their 2^-32 parts); RFC 8186, 2.1
(truncated PTP: seconds and ns). Only differences of the times of one clock are used, so the leap
seconds of PTP do not matter.
"""

PTP = 0x4000
"""Bit Z of the Error Estimate: the timestamp beside it is in the PTP format. RFC 8186, 2.3."""

ERROR_ESTIMATE = 22 << 8 | 1
"""Ours: not synchronised (S = 0), NTP format, 2^-10 s. RFC 4656, 4.1.2: 1 x 2^(22 - 32) s."""

_SECOND = 10**9
_WORD = 0xFFFFFFFF
_HALF = 1 << 31
_ERA = 1 << 64

_NTP_EPOCH = 2_208_988_800 << 32
"""1970 as an NTP timestamp: seconds since 1900. RFC 868."""


def encode(time: int) -> int:
    """Return ``time`` (ns since 1970) in the NTP format."""
    return ((time << 32) // _SECOND + _NTP_EPOCH) % _ERA


def decode(stamp: int, error_estimate: int) -> int:
    """Return the time (ns since 1970) of a timestamp.

    Exact for what :func:`encode` has written. NTP seconds without their highest bit are those from
    2036 on (RFC 4330, 3).
    """
    if error_estimate & PTP:
        return (stamp >> 32) * _SECOND + (stamp & _WORD)
    if stamp < _ERA >> 1:
        stamp += _ERA
    return ((stamp - _NTP_EPOCH) * _SECOND + _HALF) >> 32
