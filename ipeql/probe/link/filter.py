"""The filter of a receiving socket, in classic BPF: only probes for a bundle reach Python.

Strangers are turned away here, where their packets cost least: forged requests never get to the
socket's queue. Source: Documentation/networking/filter.rst (instructions);
include/uapi/linux/filter.h (SKF_AD_*).
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from ipeql.state import Address, Network

MOST = 64
"""So many addresses and networks of one kind are looked at: BPF_MAXINSNS limits a program."""

TO_SOCKET = 2048
"""Bytes of a packet that are handed on: no probe is larger."""

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_INDEXED_HALF, _INDEXED_BYTE = 0x48, 0x50
_IPV4_LENGTH = 0xB1
"""X = 4 * (byte & 15): the length of the IPv4 header, for the indexed loads."""
_AND, _EQUAL, _ANY_BIT, _JUMP, _RETURN = 0x54, 0x15, 0x45, 0x05, 0x06

_PROTOCOL, _PACKET_TYPE, _VLAN_PRESENT = 0xFFFFF000, 0xFFFFF004, 0xFFFFF030
_HOST = 0
_FRAGMENT = 0x3FFF
_UDP = 17


@dataclass(frozen=True, slots=True)
class _Version:
    """Where things are in a packet of one version of IP. ``echo_reply``: the type of ICMP."""

    bits: int
    ethertype: int
    protocol_at: int
    source_at: int
    destination_at: int
    icmp: int
    echo_reply: int


_VERSIONS = (
    _Version(32, 0x0800, 9, 12, 16, 1, 0),
    _Version(128, 0x86DD, 6, 8, 24, 58, 129),
)
_IPV6_HEADER = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a slave of a bundle receives, if it is for one of the bundle's ``addresses``.

    Answers of the ``far_ends`` to UDP ``port``, and to echo requests with ``port`` as identifier;
    and requests to the UDP ports ``reflected`` from the networks ``allowed``.
    """

    addresses: tuple[Address, ...]
    far_ends: tuple[Address, ...] = ()
    port: int = 0
    reflected: tuple[int, ...] = ()
    allowed: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class _Goto:
    label: str


@dataclass(frozen=True, slots=True)
class _Label:
    name: str


_Step = tuple[int, int, int, int] | _Goto | _Label
"""An instruction (struct sock_filter: code, jt, jf, k), a jump forward, or the target of jumps."""


@lru_cache
def program(wanted: Wanted) -> bytes:
    """Return the filter of a SOCK_DGRAM packet socket, whose packets begin with the IP header.

    Fragments, packets of a VLAN and packets that are not for this host do not pass.
    """
    steps = [*_only(_LOAD_WORD, _PACKET_TYPE, _HOST), *_only(_LOAD_WORD, _VLAN_PRESENT, 0)]
    for version in _VERSIONS:
        other = f"not {version.bits}"
        steps += _only(_LOAD_WORD, _PROTOCOL, version.ethertype, other)
        steps += _packet(version, wanted)
        steps.append(_Label(other))
    steps += [_Label("no"), (_RETURN, 0, 0, 0), _Label("yes"), (_RETURN, 0, 0, TO_SOCKET)]
    return b"".join(struct.pack("=HBBI", *each) for each in _assembled(steps))


def _packet(version: _Version, wanted: Wanted) -> Iterator[_Step]:
    ours, udp, answer = (f"{name} {version.bits}" for name in ("ours", "udp", "answer"))
    if version.bits == 32:
        yield from ((_LOAD_HALF, 0, 0, 6), (_ANY_BIT, 0, 1, _FRAGMENT), _Goto("no"))
    here = [ip_network(address) for address in wanted.addresses]
    yield from _in_one_of(here, version, version.destination_at, ours, "here")
    yield _Label(ours)
    if version.bits == 32:
        yield (_IPV4_LENGTH, 0, 0, 0)
    yield from ((_LOAD_BYTE, 0, 0, version.protocol_at), (_EQUAL, 0, 1, _UDP), _Goto(udp))
    yield from ((_EQUAL, 1, 0, version.icmp), _Goto("no"))
    yield from (_transport(version, 0, byte=True), (_EQUAL, 1, 0, version.echo_reply), _Goto("no"))
    yield from (_transport(version, 4), (_EQUAL, 0, 1, wanted.port), _Goto(answer), _Goto("no"))
    yield from (_Label(udp), _transport(version, 2), (_EQUAL, 0, 1, wanted.port), _Goto(answer))
    for port in wanted.reflected:
        yield from ((_EQUAL, 0, 1, port), _Goto(f"request {version.bits}"))
    yield from (_Goto("no"), _Label(f"request {version.bits}"))
    yield from _in_one_of(wanted.allowed, version, version.source_at, "yes", "allowed")
    yield _Label(answer)
    far = [ip_network(address) for address in wanted.far_ends]
    yield from _in_one_of(far, version, version.source_at, "yes", "far")


def _transport(version: _Version, offset: int, *, byte: bool = False) -> _Step:
    """Return the load of a field behind the IP header."""
    if version.bits == 32:
        return (_INDEXED_BYTE if byte else _INDEXED_HALF, 0, 0, offset)
    return (_LOAD_BYTE if byte else _LOAD_HALF, 0, 0, _IPV6_HEADER + offset)


def _only(load: int, at: int, value: int, otherwise: str = "no") -> list[_Step]:
    return [(load, 0, 0, at), (_EQUAL, 1, 0, value), _Goto(otherwise)]


def _in_one_of(
    networks: Iterable[Network], version: _Version, at: int, then: str, name: str
) -> Iterator[_Step]:
    """Jump to ``then`` if the address at ``at`` is in one of the networks, else refuse.

    ``name``: of the networks; no others of this program have it.
    """
    fitting = [each for each in networks if each.max_prefixlen == version.bits]
    for number, network in enumerate(fitting[:MOST]):
        following = f"{name} {version.bits} {number}"
        address, mask = network.network_address.packed, network.netmask.packed
        for word in range(0, -(-network.prefixlen // 32) * 4, 4):
            yield (_LOAD_WORD, 0, 0, at + word)
            yield (_AND, 0, 0, int.from_bytes(mask[word : word + 4], "big"))
            yield (_EQUAL, 1, 0, int.from_bytes(address[word : word + 4], "big"))
            yield _Goto(following)
        yield from (_Goto(then), _Label(following))
    yield _Goto("no")


def _assembled(steps: Iterable[_Step]) -> list[tuple[int, int, int, int]]:
    places: dict[str, int] = {}
    code: list[tuple[int, int, int, int] | _Goto] = []
    for step in steps:
        if isinstance(step, _Label):
            places[step.name] = len(code)
        else:
            code.append(step)
    return [
        (_JUMP, 0, 0, places[step.label] - place - 1) if isinstance(step, _Goto) else step
        for place, step in enumerate(code)
    ]
