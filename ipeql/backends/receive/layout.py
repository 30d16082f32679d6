"""The structures that user space shares with ``receiver.h``, and the contents of the maps."""

from collections.abc import Mapping
from ctypes import Structure, c_uint8, c_uint16, c_uint32, c_uint64
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_network

from ipeql.methods import MAX_SLAVES
from ipeql.state import Address, Network, Receiver

DOCUMENT_BYTES = 65536
SOURCES, LOCALS = 65536, 16384
"""How many entries the maps of these names take."""

VERDICTS = 64
ALL = 0
"""In the place of a slave's ifindex: the bundle itself."""

ROUTED, ELSEWHERE = 1, 0

NEVER = tuple(
    map(
        ip_network,
        ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8", "fe80::/10"),
    )
)
"""Sources that no route leads to, whatever the default route: RFC 6890, and groups."""


class Known(Structure):
    """struct receiver."""

    _fields_ = (
        ("epoch", c_uint64),
        ("mac", c_uint8 * 6),
        ("header", c_uint8),
        ("rewrite", c_uint8),
    )


class Source(Structure):
    """struct source."""

    _fields_ = (("bits", c_uint32), ("address", c_uint8 * 16))


class Local(Structure):
    """struct local."""

    _fields_ = (("ifindex", c_uint32), ("padding", c_uint32), ("address", c_uint8 * 16))


class Member(Structure):
    """struct member."""

    _fields_ = (("place", c_uint32), ("mac", c_uint8 * 6), ("padding", c_uint16))


class Verdict(Structure):
    """struct verdict."""

    _fields_ = (
        ("source", c_uint8 * 16),
        ("destination", c_uint8 * 16),
        ("epoch", c_uint64),
        ("ifindex", c_uint32),
        ("place", c_uint32),
    )


class Counters(Structure):
    """struct counters."""

    _fields_ = (("packets", c_uint64), ("bytes", c_uint64))


class Lane(Structure):
    """struct lane."""

    _fields_ = (("verdict", Verdict * VERDICTS), ("counters", Counters * MAX_SLAVES))


class Document(Structure):
    """struct document."""

    _fields_ = (("text", c_uint8 * DOCUMENT_BYTES),)


def mac(text: str) -> bytes:
    """Return a hardware address as bytes, zeros where there is none."""
    return bytes.fromhex(text.replace(":", "")).ljust(6, b"\0")[:6]


def mapped(address: Address) -> bytes:
    """Return an address in 16 bytes, IPv4 mapped into IPv6."""
    prefix = bytes(10) + b"\xff\xff" if isinstance(address, IPv4Address) else b""
    return prefix + address.packed


def source(network: Network) -> tuple[int, bytes]:
    """Return a network's bits and address, as in ``Source``."""
    shift = 96 if isinstance(network, IPv4Network) else 0
    return network.prefixlen + shift, mapped(network.network_address)


def sources(receiver: Receiver) -> Mapping[tuple[int, bytes], int]:
    """Return the contents of ``sources``: where the bundle routes to, and where slaves do."""
    connected = (each.network for slave in receiver.slaves for each in slave.addresses)
    found: dict[tuple[int, bytes], int] = {source(network): ELSEWHERE for network in NEVER}
    found |= {source(network): ELSEWHERE for network in connected}
    return found | {source(network): ROUTED for network in receiver.routed}


def locals_(receiver: Receiver) -> frozenset[tuple[int, bytes]]:
    """Return the contents of ``locals``: addresses and broadcast addresses."""
    own = {
        (slave.ifindex, mapped(address))
        for slave in receiver.slaves
        for each in slave.addresses
        for address in (each.ip, *_broadcast(each))
    }
    return frozenset(own | {(ALL, mapped(address)) for address in receiver.addresses})


def _broadcast(interface: object) -> tuple[IPv4Address, ...]:
    if isinstance(interface, IPv4Interface) and interface.network.prefixlen < 31:
        return (interface.network.broadcast_address,)
    return ()
