"""What reaches the prober: the filter of its sockets, run by a small machine for classic BPF."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from struct import iter_unpack

import pytest

from ipeql.probe.link.filter import TO_SOCKET, Wanted, program
from ipeql.probe.link.packet import ETHERTYPES, Flow
from ipeql.state import Address

HERE = tuple(map(ip_address, ("10.9.0.1", "10.8.0.1", "fd00:9::1")))
FAR = tuple(map(ip_address, ("10.9.0.2", "10.8.0.2", "fd00:9::2")))
PORT, REFLECTED = 40_000, (862, 8620)
ALLOWED = ("10.9.0.2/32", "10.8.0.2/32", "192.0.2.0/24", "fd00:9::2/128", "fd00:7::/32")
WANTED = Wanted(HERE, FAR, PORT, REFLECTED, tuple(map(ip_network, ALLOWED)))

BYTES = {0x20: 4, 0x28: 2, 0x30: 1, 0x48: 2, 0x50: 1}
BEYOND = {0xFFFFF004: 0, 0xFFFFF030: 0}
"""The packet is for this host, and of no VLAN."""


def run(code: bytes, packet: bytes, ethertype: int) -> int:
    """Return what a program returns; a load beyond the packet ends it with 0, as in the kernel."""
    steps = list(iter_unpack("=HBBI", code))
    a = x = place = 0
    while True:
        operation, if_true, if_false, k = steps[place]
        place += 1
        if operation in BYTES:
            at, size = (k + x if operation & 0x40 else k), BYTES[operation]
            if k >= 0xFFFFF000:
                a = ethertype if k == 0xFFFFF000 else BEYOND[k]
            elif at + size > len(packet):
                return 0
            else:
                a = int.from_bytes(packet[at : at + size])
        elif operation == 0xB1:
            x = 4 * (packet[k] & 15)
        elif operation == 0x54:
            a &= k
        elif operation == 0x15:
            place += if_true if a == k else if_false
        elif operation == 0x45:
            place += if_true if a & k else if_false
        elif operation == 0x05:
            place += k
        else:
            assert operation == 0x06
            return int(k)


def passes(source: str, to: Address, source_port: int, port: int, wanted: Wanted = WANTED) -> bool:
    packed = ip_address(source).packed
    packet = Flow(packed, to.packed, source_port, port).packet(bytes(44))
    return run(program(wanted), packet, ETHERTYPES[len(packed)]) == TO_SOCKET


@pytest.mark.parametrize("port", REFLECTED)
@pytest.mark.parametrize("network", ALLOWED)
def test_requests_of_every_network_that_is_allowed_pass(network: str, port: int) -> None:
    first = ip_network(network).network_address
    for here in HERE:
        if here.version == first.version:
            assert passes(str(first), here, 5, port)
            assert not passes(str(first), here, 5, port + 1)


@pytest.mark.parametrize("stranger", ["10.9.0.3", "192.0.3.1", "198.18.0.1", "fd00:9::3"])
def test_strangers_do_not_pass(stranger: str) -> None:
    for here in HERE:
        if here.version == ip_address(stranger).version:
            for port in (PORT, *REFLECTED):
                assert not passes(stranger, here, 862, port)


def test_answers_of_every_far_end_pass_and_no_others_do() -> None:
    for here, far in zip(HERE, FAR, strict=True):
        assert passes(str(far), here, 862, PORT)
    assert not passes("192.0.2.7", HERE[0], 862, PORT)
    assert not passes("fd00:7::1", HERE[2], 862, PORT)


@pytest.mark.parametrize("other", ["10.9.0.9", "fd00:9::9"])
def test_what_is_for_another_address_does_not_pass(other: str) -> None:
    far = {4: "10.9.0.2", 6: "fd00:9::2"}[ip_address(other).version]
    assert not passes(far, ip_address(other), 862, PORT)


def test_nobody_passes_where_nothing_is_wanted() -> None:
    nothing: Sequence[Address] = ()
    for here, far in zip(HERE, FAR, strict=True):
        assert not passes(str(far), here, 862, PORT, Wanted(tuple(nothing)))
        assert not passes(str(far), here, 5, 862, Wanted(HERE, port=PORT))
