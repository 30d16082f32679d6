"""Measured figures as people read them: three digits and a unit."""

_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def milliseconds(time: int | None, sign: str = "") -> str:
    """Write a measured time, ns, in milliseconds with two or three digits; None: ``-``."""
    if time is None:
        return "-"
    value = time / 1e6
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:{sign}.{digits}f} ms"


def rate(bits_per_second: int) -> str:
    """Write a measured rate in three digits, e.g. ``48.2 Mbit/s``."""
    value, unit = float(bits_per_second), "bit/s"
    for larger in ("kbit/s", "Mbit/s", "Gbit/s"):
        if value >= 999.5:
            value, unit = value / 1000, larger
    digits = 0 if unit == "bit/s" or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def age(time: int) -> str:
    """Write a time that has passed, ns, in its largest unit."""
    seconds = time // 10**9
    length, unit = next((each for each in _AGES if seconds >= each[0]), _AGES[-1])
    return f"{seconds // length} {unit}"
