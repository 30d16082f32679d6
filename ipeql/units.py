"""Rates and times: as people write them (in the units of ``tc``), and as integers.

Inside IPEQL a rate is an int in bit/s, a time an int in nanoseconds. Text is parsed exactly, by
decimal arithmetic: ``28.8kbit`` is 28800 bit/s. Source of the spellings: iproute2 ``tc(8)``,
PARAMETERS; prefixes are powers of 1000 there too.
"""

import re
from decimal import Decimal

_NUMBER = re.compile(r"\A([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\Z")

_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_TIMES = {"us": 10**3, "ms": 10**6, "s": 10**9}


def _parse(text: str, scale: dict[str, int], expected: str) -> int:
    match = _NUMBER.match(text.strip())
    factor = scale.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"expected {expected}")
    value = Decimal(match[1]) * factor
    if value != value.to_integral_value():
        raise ValueError(f"expected {expected}, no finer than one {next(iter(scale))}")
    return int(value)


def parse_rate(text: str) -> int:
    """Return the bit/s that ``text`` names, e.g. ``100Mbit``; ValueError says what was expected."""
    return _parse(text, _RATES, "a rate with its unit, such as 28.8kbit, 100Mbit or 1Gbit")


def parse_time(text: str) -> int:
    """Return the ns that ``text`` names, e.g. ``5ms``; ValueError says what was expected."""
    return _parse(text, _TIMES, "a time with its unit, such as 500us, 20ms or 1s")


def _format(value: int, scale: dict[str, int], names: dict[str, str]) -> str:
    largest_first = sorted(scale.items(), key=lambda item: -item[1])
    name, factor = next((item for item in largest_first if value >= item[1]), largest_first[-1])
    shown = Decimal(value) / factor
    return f"{shown.normalize():f}{names.get(name, name)}"


def format_rate(bits_per_second: int) -> str:
    """Write a rate in the largest fitting unit, exactly: ``parse_rate`` gives the same number."""
    return _format(bits_per_second, _RATES, {"mbit": "Mbit", "gbit": "Gbit", "tbit": "Tbit"})


def format_time(nanoseconds: int) -> str:
    """Write a time in the largest fitting unit, exactly: ``parse_time`` gives the same number."""
    return _format(nanoseconds, _TIMES, {})
