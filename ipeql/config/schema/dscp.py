"""The names of DSCPs: the six bits at the top of the traffic class of IPv6 and the TOS of IPv4.

Sources: RFC 2474 (the field, CS0 to CS7), 2597 (AF), 3246 (EF), 5865 (VOICE-ADMIT), 8622 (LE); all
are in the registry dscp-registry of IANA.
"""

from types import MappingProxyType

MOST = 63
"""The highest DSCP; the lowest is 0."""

_NAMES = MappingProxyType(
    {f"cs{number}": 8 * number for number in range(8)}
    | {f"af{kind}{drop}": 8 * kind + 2 * drop for kind in range(1, 5) for drop in range(1, 4)}
    | {"ef": 46, "va": 44, "le": 1}
)

_OTHERS = MappingProxyType({"voice-admit": 44, "df": 0, "default": 0})

NUMBERS = MappingProxyType(_NAMES | _OTHERS)
"""The number of every DSCP by its names, which are in lower case."""

_SHOWN = MappingProxyType({number: name for name, number in _NAMES.items()})


def name_of(number: int) -> int | str:
    """Return the name of a DSCP in lower case, or the number itself where it has none."""
    return _SHOWN.get(number, number)


def number_of(spelling: int | str) -> int:
    """Return the number of a DSCP that is a number or a name in any case; KeyError: no such."""
    return spelling if isinstance(spelling, int) else NUMBERS[spelling.lower()]


def in_mask(mask: int) -> list[int]:
    """Return the DSCPs in a mask, in which bit d is DSCP d, from the lowest."""
    return [number for number in range(MOST + 1) if mask >> number & 1]
