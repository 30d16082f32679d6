"""Which packets the TUN worker takes for pure acknowledgements."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.backends.tun.device import VNET_HEADER
from ipeql.backends.tun.worker.light import is_light
from ipeql.backends.tun.worker.packet import BODY_AT, parse

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
TCP, UDP, HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS = 6, 17, 0, 43, 44, 60


def tcp(flags: int = ACK, options: int = 0, payload: bytes = b"") -> bytes:
    """Return a segment with ``options`` words of options."""
    return struct.pack("!12xBB6x", 5 + options << 4, flags) + bytes(4 * options) + payload


def ipv4(payload: bytes, protocol: int = TCP, options: int = 0, fragment: int = 0) -> bytes:
    length = 20 + 4 * options + len(payload)
    first = struct.pack("!BxH2xH", 0x45 + options, length, fragment)
    return first + struct.pack("!BB10x", 64, protocol) + bytes(4 * options) + payload


def ipv6(payload: bytes, *extensions: tuple[int, int]) -> bytes:
    """Put extension headers, each (its number, further 8 bytes), before a TCP segment."""
    kinds = [*(number for number, _ in extensions), TCP]
    chain = b"".join(
        bytes((following, further)) + bytes(6 + 8 * further)
        for following, (_, further) in zip(kinds[1:], extensions, strict=True)
    )
    body = chain + payload
    return struct.pack("!B3xHBB32x", 0x60, len(body), kinds[0], 64) + body


@pytest.mark.parametrize("flags", [ACK, ACK | ECE, ACK | PSH, ACK | CWR, ACK | URG])
@pytest.mark.parametrize("options", [0, 3, 10])
def test_a_segment_without_payload_is_one(flags: int, options: int) -> None:
    segment = tcp(flags, options)
    assert is_light(ipv4(segment))
    assert is_light(ipv4(segment, options=10))
    assert is_light(ipv6(segment))
    assert is_light(ipv6(segment, (HOP_BY_HOP, 0), (ROUTING, 2)))
    assert is_light(ipv6(segment, (OPTIONS, 1)))


@pytest.mark.parametrize(
    "packet",
    [
        *(ipv4(tcp(ACK | flag)) for flag in (FIN, SYN, RST)),
        *(ipv6(tcp(ACK | flag)) for flag in (FIN, SYN, RST)),
        ipv4(tcp(payload=b"1")),
        ipv4(tcp(options=3, payload=b"1")),
        ipv6(tcp(payload=b"1")),
        ipv4(tcp(), protocol=UDP),
        ipv4(tcp(), fragment=0x2000),
        ipv4(tcp(), fragment=1),
        ipv6(tcp(), (FRAGMENT, 0)),
        ipv4(tcp()[:19]),
        ipv4(b""),
        ipv6(b"", (HOP_BY_HOP, 0))[:41],
        ipv4(struct.pack("!12xBB6x", 15 << 4, ACK)),
        ipv6(tcp(), (HOP_BY_HOP, 16)),
        b"\x45",
    ],
)
def test_what_carries_something_or_is_cut_off_is_none(packet: bytes) -> None:
    assert not is_light(packet)


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(packet: bytes) -> None:
    is_light(packet)


@pytest.mark.parametrize("packet", [ipv4(tcp()), ipv4(tcp(payload=b"1")), ipv6(tcp())])
def test_the_worker_tells_the_method(packet: bytes) -> None:
    ethertype = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    buffer = bytearray(bytes(VNET_HEADER.size + 12) + ethertype + packet)
    found = parse(buffer, len(buffer), memoryview(buffer)[BODY_AT:])
    assert found
    assert found.light == is_light(packet)


def test_a_train_is_none() -> None:
    packet = ipv4(tcp(payload=bytes(3)))
    header = VNET_HEADER.pack(0, 1, 54, 1, 34, 16) + bytes(12) + b"\x08\x00"
    buffer = bytearray(header + packet)
    found = parse(buffer, len(buffer), memoryview(buffer)[BODY_AT:])
    assert found
    assert (found.segments, found.light) == (3, False)
