"""The single values of the file: what each may be and, where it is not, what to write instead.

Every checker takes what the reader found and returns it as it will be used, or raises a fault.
"""

import re
from collections.abc import Callable, Iterable

from pydantic_core import PydanticCustomError

from ipeql.config.schema.advice import advise_rate, advise_time
from ipeql.config.schema.dscp import MOST, NUMBERS, name_of
from ipeql.config.yaml.reader import Surprise
from ipeql.config.yaml.wording import MAX_QUOTED, nearest, shorten, shown
from ipeql.errors import Code
from ipeql.methods import MIN_BANDWIDTH
from ipeql.units import format_rate, format_time, parse_rate, parse_time

VERSION = 1
"""Of the configuration's schema."""

MAX_BANDWIDTH = 10 * 10**12
"""bit/s. More than any link, and little enough for 64-bit weights (docs/methods.md)."""

MAX_NAME = 15
"""Bytes: IFNAMSIZ - 1, include/uapi/linux/if.h."""

MAX_PATTERN = 60
"""Characters: a name of 15 with a class such as [ab] in place of each. Long globs match slowly."""

MAX_PATH = 4095
"""Bytes: PATH_MAX - 1, include/uapi/linux/limits.h."""

_RESERVED = frozenset({".", "..", "all", "default", "lo"})
"""Not names (dev_valid_name), not directories of settings of their own (sysctl), not a link."""

Checker = Callable[[object], object]


def fault(code: Code, message: str, advice: str = "") -> PydanticCustomError:
    """Return the error that carries a code, a sentence and a remedy through pydantic."""
    context = {"message": message, "advice": advice}
    return PydanticCustomError(code.value, "{message}", context)


def word(value: object, what: str) -> str:
    """Return ``value`` if it is text; ``what`` names what is expected, with its article."""
    if isinstance(value, Surprise):
        advice = f'quote it: "{shorten(value.text)}"'
        raise fault(Code.YAML_SURPRISE, f"`{shorten(value.text)}` {value.meaning}", advice)
    if isinstance(value, bool | int):
        advice = f'quote it if it is meant: "{str(value).lower()}"'
        raise fault(Code.WRONG_TYPE, f"expected {what}, found {shown(value)}", advice)
    if not isinstance(value, str) or not value:
        raise fault(Code.WRONG_TYPE, f"expected {what}, found {shown(value)}", f"write {what}")
    return value


def label(value: object, what: str) -> str:
    """Return ``value`` if it is text that can name something to a person."""
    text = word(value, what)
    if not text.isprintable():
        message = f"{shown(text)} has a character in it that cannot be shown"
        raise fault(Code.BAD_VALUE, message, f"write {what}")
    return text


def link_name(value: object) -> str:
    """Accept a name the kernel takes. Source: dev_valid_name, net/core/dev.c."""
    name = word(value, "the name of an interface")
    size = len(name.encode())
    if any(character in name for character in "*?["):
        advice = f'for all links with such names write match: {{name: "{shorten(name)}"}}'
        raise fault(Code.BAD_VALUE, f"`{shorten(name)}` is a pattern, not a name", advice)
    bad = next((c for c in name if c in "/:%" or c.isspace() or not c.isprintable()), None)
    if bad is not None:
        message = f"an interface name cannot contain {bad!r}"
        raise fault(Code.BAD_VALUE, message, "use letters, digits, `-`, `_` and `.`")
    if size > MAX_NAME:
        message = f"an interface name has at most {MAX_NAME} bytes, this one has {size}"
        raise fault(Code.BAD_VALUE, message, "shorten it")
    if name in _RESERVED:
        raise fault(Code.BAD_VALUE, f"`{name}` cannot be used here", "choose another name")
    return name


def uplink(value: object) -> str:
    """Accept the name of the one link that a tunnel leaves by."""
    if isinstance(value, str) and any(character in value for character in "*?["):
        message = f"`{shorten(value)}` is a pattern, and a tunnel leaves by one link"
        raise fault(Code.BAD_VALUE, message, "write its name, or an alternative name of it")
    return link_name(value)


def pattern(value: object) -> str:
    """Accept a shell glob for interface names."""
    glob = label(value, "a pattern for interface names, such as wwan*")
    if "/" in glob or any(character.isspace() for character in glob):
        message = "no interface name has a `/` or white space in it"
        raise fault(Code.BAD_VALUE, message, "one pattern an entry, such as wwan*")
    if len(glob) > MAX_PATTERN:
        message = f"a pattern has at most {MAX_PATTERN} characters, this one has {len(glob)}"
        raise fault(Code.BAD_VALUE, message, "shorten it")
    return glob


def driver(value: object) -> str:
    """Accept the name of a driver."""
    return label(value, "the name of a driver, such as cdc_mbim")


def slave_label(value: object) -> str:
    """Accept what names an entry of ``slaves``: its name, or the pattern, MAC or driver matched."""
    return label(value, "the name of a slave, such as eth1")


def path(value: object) -> str:
    """Accept the place of a file."""
    text = label(value, "the absolute path of a file")
    if not text.startswith("/") or len(text.encode()) > MAX_PATH:
        message = f"`{shorten(text)}` is not the absolute path of a file"
        raise fault(Code.BAD_VALUE, message, "write it like /etc/ipeql/probe.key")
    return text


def mac(value: object) -> str:
    """Accept a MAC address; return it in lower case."""
    text = word(value, "a MAC address, such as 02:00:5e:10:00:01")
    digits = re.sub(r"[-:.]", "", text).lower()
    written = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
    if not re.fullmatch(r"[0-9a-f]{12}", digits):
        advice = "write six pairs of digits: 02:00:5e:10:00:01"
        raise fault(Code.BAD_VALUE, f"`{shorten(text)}` is not a MAC address", advice)
    if text.lower() != written:
        raise fault(Code.BAD_VALUE, "a MAC address is written with colons", f"write {written}")
    return written


def one_of(options: Iterable[str], what: str) -> Checker:
    """Return a checker that accepts one of ``options``."""
    known = tuple(options)

    def check(value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        found = value.text if isinstance(value, Surprise) else value
        meant = nearest(found, known) if isinstance(found, str) else ""
        advice = f"did you mean {meant}?" if meant else f"write one of {', '.join(known)}"
        raise fault(Code.BAD_VALUE, f"{shown(found)} is not a {what}", advice)

    return check


def boolean(value: object) -> bool:
    """Accept true or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Surprise):
        meant = "true" if value.text.lower() in ("yes", "on", "y", "true") else "false"
        message = f"`{shorten(value.text)}` {value.meaning}"
        raise fault(Code.YAML_SURPRISE, message, f"write {meant}")
    raise fault(Code.WRONG_TYPE, f"expected true or false, found {shown(value)}", "write true")


def whole(low: int, high: int, what: str) -> Checker:
    """Return a checker that accepts an integer from ``low`` to ``high``."""

    def check(value: object) -> int:
        advice = f"write a whole number from {low} to {high}"
        if isinstance(value, Surprise):
            message = f"`{shorten(value.text)}` {value.meaning}"
            raise fault(Code.YAML_SURPRISE, message, advice)
        if not isinstance(value, int) or isinstance(value, bool):
            quoted = isinstance(value, str) and value.isdecimal()
            advice = "remove the quotes" if quoted else advice
            raise fault(Code.WRONG_TYPE, f"expected {what}, found {shown(value)}", advice)
        if not low <= value <= high:
            raise fault(Code.BAD_VALUE, f"{what} of {value} is out of range", advice)
        return value

    return check


def dscp(value: object) -> object:
    """Accept a DSCP: a number, or a name in any case; return the name in lower case."""
    if isinstance(value, str) and value and not value.isdecimal():
        if value.lower() in NUMBERS:
            return value.lower()
        raise fault(Code.BAD_VALUE, f"{shown(value)} is not a DSCP", _advise_dscp(value.lower()))
    if isinstance(value, int) and value % 4 == 0 and MOST < value <= 4 * MOST:
        message = f"a DSCP of {value} is out of range"
        advice = f"write {name_of(value // 4)}, if {value} is meant as the whole TOS byte"
        raise fault(Code.BAD_VALUE, message, advice)
    return whole(0, MOST, "a DSCP")(value)


def _advise_dscp(word: str) -> str:
    alike = [name for name in NUMBERS if len(word) == len(name) and name[:-1] == word[:-1]]
    if len(alike) == 3:  # the three drop precedences of a class of AF
        return f"did you mean {alike[0]}, {alike[1]} or {alike[2]}?"
    if meant := nearest(word, NUMBERS):
        return f"did you mean {meant}?"
    return f"write cs0 to cs7, af11 to af43, ef, va, le, df or a number from 0 to {MOST}"


def version(value: object) -> int:
    """Accept the schema version that this loader knows."""
    if value == VERSION and isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        message = f"schema version {value} is not known"
        raise fault(Code.BAD_VALUE, message, f"write version: {VERSION}, or upgrade IPEQL")
    found = shown(value.text if isinstance(value, Surprise) else value)
    raise fault(Code.WRONG_TYPE, f"expected a version, found {found}", f"write version: {VERSION}")


def boolean_or_list(check: Checker, what: str) -> Checker:
    """Return a checker that accepts a boolean, or a list of what ``check`` accepts."""

    def accept(value: object) -> object:
        if isinstance(value, list) and value:
            return [check(item) for item in value]
        if isinstance(value, bool | Surprise):
            return boolean(value)
        found = "an empty list" if value == [] else shown(value)
        message = f"expected true, false or a list of {what}, found {found}"
        raise fault(Code.WRONG_TYPE, message, "write true")

    return accept


def auto_or(check: Checker) -> Checker:
    """Return a checker that accepts ``auto`` and what ``check`` accepts."""
    return lambda value: value if value == "auto" else check(value)


def rate(value: object) -> str:
    """Accept a bandwidth as ``tc`` writes it."""
    text = _quantity(value, "a rate with its unit, such as 100Mbit", advise_rate)
    try:
        bits = parse_rate(text)
    except ValueError:
        message = f"`{shorten(text)}` is not a rate"
        raise fault(Code.BAD_VALUE, message, advise_rate(text)) from None
    if not MIN_BANDWIDTH <= bits <= MAX_BANDWIDTH:
        least, most = format_rate(MIN_BANDWIDTH), format_rate(MAX_BANDWIDTH)
        message = f"{shorten(text)} is not between {least} and {most}"
        raise fault(Code.BAD_VALUE, message, "write what the link carries, such as 100Mbit")
    return text


def bandwidth(value: object) -> object:
    """Accept a rate, ``device``, or ``auto``, which may have bounds: {auto: true, max: 80Mbit}."""
    if value in ("auto", "device"):
        return value
    if not isinstance(value, dict):
        return rate(value)
    example = "write {auto: true, min: 1Mbit, max: 80Mbit}"
    if unknown := sorted(map(str, value.keys() - {"auto", "min", "max"})):
        message = f"unknown key `{shorten(unknown[0])}` of a measured bandwidth"
        raise fault(Code.UNKNOWN_KEY, message, example)
    if value.get("auto") is not True:
        raise fault(Code.BAD_VALUE, "bounds are those of a bandwidth that is measured", example)
    bounds = {key: parse_rate(str(rate(value[key]))) for key in ("min", "max") if key in value}
    if bounds.get("min", 0) > bounds.get("max", MAX_BANDWIDTH):
        raise fault(Code.BAD_VALUE, "min is more than max", "exchange them")
    return value


def time(low: int, high: int) -> Checker:
    """Return a checker that accepts a time from ``low`` to ``high`` ns, as ``tc`` writes it."""

    def check(value: object) -> str:
        text = _quantity(value, "a time with its unit, such as 20ms", advise_time)
        try:
            duration = parse_time(text)
        except ValueError:
            message = f"`{shorten(text)}` is not a time"
            raise fault(Code.BAD_VALUE, message, advise_time(text)) from None
        if not low <= duration <= high:
            least, most = format_time(low) if low else "0ms", format_time(high)
            message = f"{shorten(text)} is out of range"
            raise fault(Code.BAD_VALUE, message, f"write a time from {least} to {most}")
        return text

    return check


def _quantity(value: object, what: str, advise: Callable[[str], str]) -> str:
    if isinstance(value, str) and value:
        if len(value) > MAX_QUOTED:
            raise fault(Code.BAD_VALUE, f"expected {what}, found {shown(value)}", advise(""))
        return value
    if isinstance(value, Surprise):
        message = f"`{shorten(value.text)}` {value.meaning}"
        raise fault(Code.YAML_SURPRISE, message, advise(value.text))
    number = isinstance(value, int) and not isinstance(value, bool)
    advice = advise(str(value)) if number else f"write {what}"
    raise fault(Code.WRONG_TYPE, f"expected {what}, found {shown(value)}", advice)
