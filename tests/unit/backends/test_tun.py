"""The TUN backend's decisions: what a packet is, how long a train, which group address."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.backends.table import from_json, to_json
from ipeql.backends.tun import wire
from ipeql.backends.tun.device import VNET_HEADER
from ipeql.backends.tun.neighbours import group_address
from ipeql.backends.tun.packet import Packet, parse
from ipeql.methods import METHODS
from ipeql.state import BundleStatistics, BundleTable, SlaveRow, SlaveStatistics

TCPV4, UDP_L4, TCPV6, ECN = 1, 5, 4, 0x80
"""VIRTIO_NET_HDR_GSO_* of include/uapi/linux/virtio_net.h."""

DESTINATION4 = ipaddress.IPv4Address("10.9.0.2").packed
DESTINATION6 = ipaddress.IPv6Address("fd00:9::2").packed


def ipv4(payload: bytes, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    length = 20 + len(options) + len(payload)
    header = struct.pack("!BBH4xBB2x4x4s", 0x40 | words, 0, length, 64, 6, DESTINATION4)
    return header + options + payload


def ipv6(payload: bytes) -> bytes:
    return struct.pack("!IHBB16x16s", 6 << 28, len(payload), 6, 64, DESTINATION6) + payload


def tcp(payload: bytes, options: bytes = b"") -> bytes:
    return struct.pack("!12xB7x", (5 + len(options) // 4) << 4) + options + payload


def parsed(vnet: bytes, packet: bytes) -> Packet | None:
    buffer = bytearray(vnet + packet + b"left from an earlier packet")
    length = len(vnet + packet)
    return parse(buffer, length, memoryview(buffer)[len(vnet) : length])


def read(
    packet: bytes, gso_type: int = 0, gso_size: int = 0, transport: int = 0
) -> tuple[bytes, int, int] | None:
    """Return destination, segments and the header they repeat."""
    # hdr_len is only a hint, and often wrong.
    vnet = VNET_HEADER.pack(0, gso_type, 0xFFFF, gso_size, transport, 16)
    found = parsed(vnet, packet)
    if found is None:
        return None
    assert (found.vnet, found.body) == (vnet, packet)
    return found.destination, found.segments, found.header


def test_a_single_packet_has_a_destination_and_no_header_to_repeat() -> None:
    assert read(ipv4(b"data")) == (DESTINATION4, 1, 0)
    assert read(ipv4(b"")) == (DESTINATION4, 1, 0)
    assert read(ipv4(b"data", options=bytes(40))) == (DESTINATION4, 1, 0)
    assert read(ipv6(b"")) == (DESTINATION6, 1, 0)


@pytest.mark.parametrize("ecn", [0, ECN])
@pytest.mark.parametrize(
    ("payload", "segments"), [(1, 1), (1448, 1), (1449, 2), (2896, 2), (64000, 45)]
)
def test_a_train_becomes_one_packet_per_started_segment(
    payload: int, segments: int, ecn: int
) -> None:
    timestamps = bytes(12)
    train4 = ipv4(tcp(bytes(payload), timestamps))
    assert read(train4, TCPV4 | ecn, 1448, transport=20) == (DESTINATION4, segments, 52)
    train6 = ipv6(tcp(bytes(payload), timestamps))
    assert read(train6, TCPV6 | ecn, 1448, transport=40) == (DESTINATION6, segments, 72)


def test_headers_of_any_length_are_found() -> None:
    train = ipv4(tcp(bytes(3000), bytes(40)), options=bytes(8))
    assert read(train, TCPV4, 1000, transport=28) == (DESTINATION4, 3, 88)
    datagrams = ipv4(bytes(8) + bytes(2500))
    assert read(datagrams, UDP_L4, 1000, transport=20) == (DESTINATION4, 3, 28)


@pytest.mark.parametrize(
    ("packet", "gso"),
    [
        (b"", (0, 0, 0)),
        (b"\x45", (0, 0, 0)),
        (ipv4(b"")[:19], (0, 0, 0)),
        (ipv6(b"")[:39], (0, 0, 0)),
        (bytes(60), (0, 0, 0)),
        (b"\x55" + bytes(60), (0, 0, 0)),
        (ipv4(tcp(b"data")), (TCPV4, 0, 20)),
        (ipv4(tcp(b"")), (TCPV4, 1448, 20)),
        (ipv4(tcp(b"data")), (TCPV4, 1448, 60000)),
        (ipv4(bytes(8)), (UDP_L4, 1000, 20)),
    ],
)
def test_what_is_no_packet_is_refused(packet: bytes, gso: tuple[int, int, int]) -> None:
    assert read(packet, *gso) is None


@given(st.binary(max_size=200), st.binary(min_size=10, max_size=10))
def test_no_bytes_upset_the_parser(packet: bytes, vnet: bytes) -> None:
    found = parsed(vnet, packet)
    if found is not None:
        assert len(found.destination) in (4, 16)
        assert found.segments >= 1
        assert 0 <= found.header < max(1, len(packet))


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("255.255.255.255", "ff:ff:ff:ff:ff:ff"),
        ("224.0.0.251", "01:00:5e:00:00:fb"),
        ("239.255.255.250", "01:00:5e:7f:ff:fa"),
        ("ff02::1:ff00:1", "33:33:ff:00:00:01"),
        ("ff0e::114", "33:33:00:00:01:14"),
        ("10.9.0.2", ""),
        ("223.255.255.255", ""),
        ("240.0.0.1", ""),
        ("fe80::1", ""),
        ("fd00:9::2", ""),
    ],
)
def test_groups_have_the_link_address_that_the_standards_give(
    destination: str, expected: str
) -> None:
    assert group_address(ipaddress.ip_address(destination).packed).hex(":") == expected


names = st.text("abcdefgh0123456789", min_size=1, max_size=15)
counts = st.integers(0, 2**63)
rows = st.builds(
    SlaveRow,
    ifindex=st.integers(1, 2**31 - 1),
    name=names,
    bandwidth=counts,
    lag=st.none() | counts,
    overhead=st.integers(0, 1000),
    via=st.none() | st.ip_addresses(v=4),
    via6=st.none() | st.ip_addresses(v=6),
    usable=st.booleans(),
)
tables = st.builds(
    BundleTable,
    method=st.sampled_from(sorted(METHODS)),
    parameters=st.lists(st.tuples(names, counts | names), max_size=4).map(tuple),
    stripe_unit=st.sampled_from(["burst", "packet"]),
    poll_interval=counts,
    slaves=st.lists(rows, max_size=4).map(tuple),
)
drops = st.dictionaries(names, counts, max_size=3)
statistics = st.builds(
    BundleStatistics,
    slaves=st.lists(
        st.builds(SlaveStatistics, ifindex=counts, name=names, picks=counts, dropped=drops),
        max_size=4,
    ).map(tuple),
    dropped=drops,
)


@given(tables)
def test_a_table_travels_unchanged(sent: BundleTable) -> None:
    message = wire.decode(wire.encode({"table": to_json(sent)}))
    assert from_json(message["table"]) == sent


@given(statistics)
def test_statistics_travel_unchanged(sent: BundleStatistics) -> None:
    message = wire.decode(wire.encode(wire.statistics_to_json(sent)))
    assert wire.statistics_from_json(message) == sent


@given(st.binary(max_size=40))
def test_what_is_no_message_is_a_value_error(data: bytes) -> None:
    try:
        message = wire.decode(data)
    except ValueError:
        return
    assert isinstance(message, dict)


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b"{", b"\xff", b""])
def test_a_message_is_an_object(data: bytes) -> None:
    with pytest.raises(ValueError):
        wire.decode(data)
