"""The addresses and networks of the file: checkers like those of ``values``."""

import re
from ipaddress import ip_address, ip_interface, ip_network

from ipeql.config.schema.values import Checker, fault, word
from ipeql.config.yaml.wording import shorten, shown
from ipeql.errors import Code
from ipeql.state import Address, Endpoint

_EXAMPLES = '10.9.0.1/24 or "fd00:9::1/64"'
_ENDPOINT = '"[::1]:9817"'


def bundle_address(value: object) -> str:
    """Accept an address with its prefix length that a host can have."""
    text = word(value, f"an address with its prefix length, such as {_EXAMPLES}")
    try:
        interface = ip_interface(text)
    except ValueError:
        message = f"`{shorten(text)}` is not an address with its prefix length"
        raise fault(Code.BAD_VALUE, message, f"write it like {_EXAMPLES}") from None
    _require_prefix(
        text, f"{interface.ip}/{64 if interface.version == 6 else 24}", interface.with_prefixlen
    )
    ip, network = interface.ip, interface.network
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified:
        message = f"{ip} cannot be the address of a bundle"
        raise fault(Code.BAD_VALUE, message, "write a unicast address of this host")
    if network.prefixlen < ip.max_prefixlen - 1:
        first = f"{network.network_address + 1}/{network.prefixlen}"
        if ip == network.network_address:
            message = f"{text} is the network, not an address in it"
            raise fault(Code.BAD_VALUE, message, f"write an address, such as {first}")
        if ip == network.broadcast_address and ip.version == 4:
            message = f"{ip} is the broadcast address of {network}"
            raise fault(Code.BAD_VALUE, message, f"write an address, such as {first}")
    return text


def destination(value: object) -> str:
    """Accept a network without host bits, or ``default``."""
    if isinstance(value, str) and value.lower() in ("default", "any", "all"):
        if value == "default":
            return value
        raise fault(Code.BAD_VALUE, f"`{value}` is not a network", "write default")
    return network(value)


def network(value: object) -> str:
    """Accept a network without host bits."""
    text = word(value, "a network, such as 192.168.40.0/24")
    if text == "default":
        advice = 'write 0.0.0.0/0 or "::/0"'
        raise fault(Code.BAD_VALUE, "`default` does not tell IPv4 from IPv6", advice)
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        message = f"`{shorten(text)}` is not a network"
        advice = 'write it like 192.168.40.0/24 or "fd00:40::/64"'
        raise fault(Code.BAD_VALUE, message, advice) from None
    _require_prefix(text, f"{whole}", whole.with_prefixlen)
    if ip_address(text.partition("/")[0]) != whole.network_address:
        message = f"{text} has bits set beyond its prefix length"
        raise fault(Code.BAD_VALUE, message, f"write {whole}")
    return text


def _require_prefix(text: str, suggestion: str, written: str) -> None:
    if "%" in text:
        raise fault(
            Code.BAD_VALUE, f"`{shorten(text)}` has a zone", "remove the % and what follows"
        )
    _, slash, prefix = text.partition("/")
    if not slash:
        raise fault(Code.BAD_VALUE, f"{shorten(text)} has no prefix length", f"write {suggestion}")
    if not prefix.isdecimal():
        raise fault(Code.BAD_VALUE, f"{text} has a netmask", f"write {written}")


def far_end(value: object) -> str:
    """Accept the address of the bundle at the other end."""
    text = word(value, "an IP address, such as 10.9.0.2")
    try:
        address = ip_address(text)
    except ValueError:
        message = f"`{shorten(text)}` is not an IP address"
        advice = "write it like 10.9.0.2"
        if "/" in text:
            advice = f"remove the prefix length: write {shorten(text.partition('/')[0])}"
        raise fault(Code.BAD_VALUE, message, advice) from None
    wrong = address.is_multicast or address.is_loopback or address.is_unspecified
    if wrong or address.is_link_local or "%" in text:
        message = f"{shorten(text)} is not the address of a bundle at the other end"
        raise fault(Code.BAD_VALUE, message, "write an address of its `addresses`")
    return text


def endpoint(value: object) -> str:
    """Accept an address of this host and a TCP port."""
    what = f"an address and a port, such as {_ENDPOINT}"
    if isinstance(value, int) and not isinstance(value, bool):
        message = f"expected {what}, found {shown(value)}"
        raise fault(Code.WRONG_TYPE, message, _advise_endpoint(f":{value}"))
    text = word(value, what)
    if "%" in text:
        raise fault(Code.BAD_VALUE, f"`{shorten(text)}` has a zone", f"write it like {_ENDPOINT}")
    try:
        address, port = split_endpoint(text)
    except ValueError:
        message = f"`{shorten(text)}` is not an address and a port"
        raise fault(Code.BAD_VALUE, message, _advise_endpoint(text)) from None
    if address.is_multicast or address.is_link_local:
        message = f"{address} is not an address to listen at"
        advice = f"write a loopback address, such as {_ENDPOINT}, or another one of this host"
        raise fault(Code.BAD_VALUE, message, advice)
    if not 1 <= port <= 65535:
        raise fault(Code.BAD_VALUE, f"a port of {port} is out of range", "write 1 to 65535")
    return text


def split_endpoint(text: str) -> tuple[Address, int]:
    """Return address and port of e.g. ``[::1]:9817``; ValueError."""
    found = re.fullmatch(r"(?:\[([^]]*:[^]]*)\]|([^]:[]*)):([0-9]{1,9})", text, re.ASCII)
    if not found:
        raise ValueError(text)
    return ip_address(found[1] or found[2]), int(found[3])


def _advise_endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not host and colon and port.isdecimal():
        return f'write "[::]:{port}" for all addresses, or "[::1]:{port}" for this host alone'
    for address in (text, text.removeprefix("[").removesuffix("]")):
        try:
            return f'write "{Endpoint(ip_address(address), 9817)}"'
        except ValueError:
            continue
    return f"write it like {_ENDPOINT}"


def next_hop(*versions: int) -> Checker:
    """Return a checker for the address of a neighbour, of IP version 4, 6 or either."""
    family = f"IPv{versions[0]}" if len(versions) == 1 else "IP"
    example = "fd00:9::2" if versions == (6,) else "10.9.0.2"

    def check(value: object) -> str:
        text = word(value, f"an {family} address, such as {example}")
        try:
            address = ip_address(text)
        except ValueError:
            message = f"`{shorten(text)}` is not an {family} address"
            advice = f"write it like {example}"
            if "/" in text:
                advice = f"a next hop has no prefix length: write {shorten(text.partition('/')[0])}"
            raise fault(Code.BAD_VALUE, message, advice) from None
        if address.version not in versions:
            right = "via6" if address.version == 6 else "via"
            advice = f"write {right}: {shorten(text)}"
            raise fault(Code.BAD_VALUE, f"{shorten(text)} is not an {family} address", advice)
        if "%" in text:
            advice = "remove the % and what follows: the slave is the zone"
            raise fault(Code.BAD_VALUE, f"`{shorten(text)}` has a zone", advice)
        if address.is_multicast or address.is_loopback or address.is_unspecified:
            message = f"{shorten(text)} is not the address of a neighbour"
            raise fault(Code.BAD_VALUE, message, "write the next hop's unicast address")
        return text

    return check
