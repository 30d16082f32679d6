"""What to write instead of a rate or time in another unit."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([-+]?)([0-9]{1,15}(?:[.,][0-9]{1,9})?)\s*([a-zA-Zµ/]*)")
_PREFIXES = {"": "", "k": "k", "m": "M", "g": "G", "t": "T"}
_BITS = frozenset({"", "b", "bit", "bits", "b/s", "bit/s", "bits/s"})
_BYTES = frozenset({"B", "B/s", "Bps", "byte", "bytes", "byte/s", "bytes/s"})
_TIMES = {
    "ns": ("0.001", "us"), "nsec": ("0.001", "us"), "nsecs": ("0.001", "us"),
    "µs": ("1", "us"), "usec": ("1", "us"), "usecs": ("1", "us"),
    "msec": ("1", "ms"), "msecs": ("1", "ms"), "millis": ("1", "ms"),
    "sec": ("1", "s"), "secs": ("1", "s"), "second": ("1", "s"), "seconds": ("1", "s"),
    "m": ("60", "s"), "min": ("60", "s"), "mins": ("60", "s"),
    "minute": ("60", "s"), "minutes": ("60", "s"), "h": ("3600", "s"), "hour": ("3600", "s"),
}  # fmt: skip


def advise_rate(text: str) -> str:
    """Return the remedy for a rate that ``parse_rate`` does not take or that has no unit."""
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        return "write a rate as tc does: 28.8kbit, 100Mbit, 1Gbit"
    sign, number, unit = match[1], Decimal(match[2].replace(",", ".")), match[3]
    if sign == "-":
        return "a rate is more than 0"
    if not unit:
        if number >= 1000:
            return f"add the unit: {_plain(number)}bit, if bits a second are meant"
        return f"add the unit: {_plain(number)}kbit or {_plain(number)}Mbit"
    has_prefix = unit[0].lower() in _PREFIXES and unit.lower() not in ("bit", "b")
    prefix = _PREFIXES[unit[0].lower()] if has_prefix else ""
    rest = unit[1:] if has_prefix else unit
    in_bits, in_bytes = f"{_plain(number)}{prefix}bit", f"{_plain(number * 8)}{prefix}bit"
    if rest.lower() == "bit" and not _mistyped(match):
        return "write whole bits a second"
    if rest == "bps":
        return f"tc takes bps for bytes a second: write {in_bits}, or {in_bytes} for bytes"
    if rest in _BYTES:
        return f"write {in_bytes} if bytes a second are meant, {in_bits} if bits"
    if rest.lower() in _BITS:
        return f"write {in_bits}"
    return "write a rate as tc does: 28.8kbit, 100Mbit, 1Gbit"


def advise_time(text: str) -> str:
    """Return the remedy for a time that ``parse_time`` does not take or that has no unit."""
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        return "write a time as tc does: 500us, 20ms, 1s"
    sign, number, unit = match[1], Decimal(match[2].replace(",", ".")), match[3].lower()
    if sign == "-":
        return "a time is 0 or more"
    if not unit:
        return f"add the unit: {_plain(number)}ms or {_plain(number)}s"
    if unit in ("us", "ms", "s"):
        right = f"{_plain(number)}{unit}"
        return f"write {right}" if _mistyped(match) else "write whole nanoseconds"
    if unit not in _TIMES:
        return "write a time as tc does: 500us, 20ms, 1s"
    factor, name = _TIMES[unit]
    return f"write {_plain(number * Decimal(factor))}{name}"


def _mistyped(match: re.Match[str]) -> bool:
    """Say whether a known unit follows a number that is not written as ``tc`` does."""
    return bool(match[1]) or "," in match[2]


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
