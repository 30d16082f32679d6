"""The TUN backend's decisions: what a packet is, how long a train, which group address."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.backends.table import from_json, to_json
from ipeql.backends.tun import wire
from ipeql.backends.tun.device import VNET_HEADER
from ipeql.backends.tun.worker import rtnl
from ipeql.backends.tun.worker.neighbours import group_address
from ipeql.backends.tun.worker.packet import BODY_AT, Packet, framed, parse
from ipeql.backends.tun.worker.sender import arp_request
from ipeql.methods import METHODS, USES
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


def link_header(packet: bytes) -> bytes:
    return bytes(12) + (b"\x86\xdd" if packet[:1] >= b"\x60" else b"\x08\x00")


def parsed(vnet: bytes, packet: bytes) -> Packet | None:
    frame = vnet + link_header(packet) + packet
    buffer = bytearray(frame + b"left from an earlier packet")
    return parse(buffer, len(frame), memoryview(buffer)[BODY_AT : len(frame)])


def read(
    packet: bytes, gso_type: int = 0, gso_size: int = 0, transport: int = 0
) -> tuple[bytes, int, int] | None:
    """Return destination, segments and the header they repeat."""
    # hdr_len is only a hint, and often wrong.
    start = transport + 14 if transport else 0
    vnet = VNET_HEADER.pack(0, gso_type, 0xFFFF, gso_size, start, 16)
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


@pytest.mark.parametrize(
    ("plain", "gso_type", "transport"),
    [
        (ipv4(tcp(bytes(3000), bytes(12))), TCPV4, 20),
        (ipv6(tcp(bytes(3000), bytes(12))), TCPV6, 40),
        (ipv4(b"data"), 0, 0),
        (ipv6(b"data"), 0, 0),
    ],
)
def test_a_packet_is_the_same_with_a_mark_and_from_a_device_without_link_header(
    plain: bytes, gso_type: int, transport: int
) -> None:
    flags, size, start = (1, 1448, transport + 14) if transport else (0, 0, 0)
    vnet, longer, shorter = (
        VNET_HEADER.pack(flags, gso_type, 60, size, start + more * flags, 16)
        for more in (0, 4, -14)
    )
    expected = parsed(vnet, plain)
    assert expected

    frame = link_header(plain)
    data = bytearray(longer + frame[:12] + b"\x88\xa8\0\x4d" + frame[12:] + plain)
    marked = parse(data, len(data), memoryview(data)[BODY_AT:], lambda row: (row, 1))
    assert marked == expected._replace(marks=(77, 1))

    data = bytearray(shorter + bytes(14) + plain)
    length = framed(data, len(shorter + plain))
    assert parse(data, length, memoryview(data)[BODY_AT:length]) == expected


@pytest.mark.parametrize("kind", [b"\x08\x06", b"\x81\x00", b"\x88\xa8\0\1\x88\xa8"])
def test_a_frame_of_another_kind_is_refused(kind: bytes) -> None:
    data = bytearray(bytes(22) + kind + ipv4(b"data"))
    assert parse(data, len(data), memoryview(data)[BODY_AT:]) is None


def test_a_route_concerns_the_bundle_that_it_leads_over() -> None:
    message = rtnl.ROUTE.pack(2, 32, 0, 0, 254, 3, 0, 1, 0)
    for ifindex in (1, 7, 99, 2**31 - 1):
        only = rtnl.attribute(rtnl.RTA_OIF, struct.pack("=I", ifindex))
        hops = (rtnl.NEXT_HOP.pack(rtnl.NEXT_HOP.size, 0, 0, each) for each in (3, ifindex))
        several = rtnl.attribute(rtnl.RTA_MULTIPATH, b"".join(hops))
        for attributes in (only, several):
            assert rtnl.leads_over(message + attributes, 7) == (ifindex == 7)


@given(st.binary(max_size=200))
def test_no_bytes_upset_the_reader_of_netlink(data: bytes) -> None:
    for _, _, body in rtnl.messages(data):
        rtnl.attributes(body, 0)


def test_an_arp_request_names_who_asks() -> None:
    mac, source, target = bytes(range(6)), bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2))
    frame = arp_request(mac, source, target)
    assert len(frame) == 42
    assert frame[:14] == b"\xff" * 6 + mac + b"\x08\x06"
    assert (frame[22:28], frame[28:32], frame[38:42]) == (mac, source, target)
    assert arp_request(mac, source, target, b"\2" * 6)[:6] == b"\2" * 6


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
    use=st.sampled_from(USES),
)
tables = st.builds(
    BundleTable,
    method=st.sampled_from(sorted(METHODS)),
    parameters=st.lists(st.tuples(names, counts | names), max_size=4).map(tuple),
    stripe_unit=st.sampled_from(["burst", "packet", "flow", "flowlet"]),
    poll_interval=counts,
    overflow_after=counts,
    light_dscps=st.integers(0, 2**64 - 1),
    duplicate_dscps=st.integers(0, 2**64 - 1),
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


def test_a_table_of_an_earlier_version_is_read() -> None:
    sent = BundleTable("bw_load", slaves=(SlaveRow(2, "eth1", 10**6),))
    data = to_json(sent)
    for newer in (data, *data["slaves"]):
        for key in ("overflow_after", "light_dscps", "duplicate_dscps", "use"):
            newer.pop(key, None)
    assert from_json(data) == sent


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
