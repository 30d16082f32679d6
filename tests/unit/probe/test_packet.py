"""Probes as packets, against what RFC 1071 says of checksums and hand-made headers."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.probe.link.packet import ICMP, TTL, UDP, Datagram, Flow, echo_request, parse

ADDRESSES = [
    (ip_address("10.9.0.1").packed, ip_address("10.9.0.2").packed),
    (ip_address("fd00:9::1").packed, ip_address("fd00:9::2").packed),
]
PAYLOADS = st.binary(max_size=120)
PAIRS = st.sampled_from(ADDRESSES)


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071, 4.1, in its own words."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def transport(packet: bytes) -> bytes:
    return packet[20:] if packet[0] >> 4 == 4 else packet[40:]


@given(PAIRS, PAYLOADS)
def test_a_packet_has_right_checksums_and_says_what_it_was_made_of(
    pair: tuple[bytes, bytes], payload: bytes
) -> None:
    source, destination = pair
    packet = Flow(source, destination, 40000, 862).packet(payload)
    if len(source) == 4:
        assert ones_complement_sum(packet[:20]) == 0xFFFF
    datagram = transport(packet)
    pseudo = source + destination + struct.pack("!HH", UDP, len(datagram))
    assert ones_complement_sum(pseudo + datagram) == 0xFFFF
    assert parse(packet) == Datagram(UDP, source, destination, 40000, 862, TTL, payload)


@given(PAIRS, st.lists(PAYLOADS, max_size=3))
def test_a_flow_makes_payloads_of_any_length(
    pair: tuple[bytes, bytes], payloads: list[bytes]
) -> None:
    flow = Flow(*pair, 1, 2)
    found = [parse(flow.packet(payload)) for payload in payloads]
    assert [each.payload for each in found if each] == payloads


@given(PAIRS, PAYLOADS, st.integers(0, 2**32 - 1))
def test_an_echo_request_that_comes_back_is_understood(
    pair: tuple[bytes, bytes], payload: bytes, sequence: int
) -> None:
    source, destination = pair
    request = echo_request(source, destination, 7, sequence, payload)
    assert parse(request) is None
    reply = bytearray(echo_request(destination, source, 7, sequence, payload))
    at = len(reply) - len(transport(bytes(reply)))
    asked, replied = (8, 0) if len(source) == 4 else (128, 129)
    assert reply[at] == asked
    reply[at] = replied
    checksum = int.from_bytes(reply[at + 2 : at + 4]) + ((asked - replied) << 8)
    reply[at + 2 : at + 4] = ((checksum - 1) % 0xFFFF + 1).to_bytes(2)
    protocol = ICMP[len(source)]
    assert parse(bytes(reply)) == Datagram(protocol, destination, source, 0, 7, TTL, payload)


@pytest.mark.parametrize("pair", ADDRESSES)
def test_what_was_damaged_on_the_way_is_no_probe(pair: tuple[bytes, bytes]) -> None:
    packet = Flow(*pair, 1, 862).packet(bytes(range(44)))
    begin = len(packet) - 44 - 8
    for place in range(begin, len(packet)):
        damaged = packet[:place] + bytes([packet[place] ^ 0x55]) + packet[place + 1 :]
        assert parse(damaged) is None, place


def test_a_checksum_that_a_device_would_have_made_is_not_missed() -> None:
    packet = bytearray(Flow(*ADDRESSES[0], 1, 862).packet(b"hello"))
    packet[26:28] = b"\x12\x34"
    assert parse(bytes(packet)) is None
    assert parse(bytes(packet), complete=False) is not None


def test_ipv4_knows_datagrams_without_checksum_and_ipv6_does_not() -> None:
    for source, destination in ADDRESSES:
        packet = bytearray(Flow(source, destination, 1, 862).packet(b"hello"))
        at = len(packet) - len(b"hello") - 2
        packet[at : at + 2] = bytes(2)
        assert (parse(bytes(packet)) is None) == (len(source) == 16)


@given(st.binary(max_size=200))
def test_whatever_arrives_is_no_error(data: bytes) -> None:
    parse(data)
    parse(b"\x45" + data)
    parse(b"\x60" + data)
