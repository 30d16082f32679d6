"""STAMP packets against the tables of the RFCs, whose offsets are written out here."""

import random
from struct import pack, unpack_from

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.paths.stamp import (
    MAX_SIZE,
    Counted,
    Reply,
    build_request,
    parse_reply,
    parse_request,
    reflect,
)
from ipeql.paths.timestamp import PTP, decode, encode

NOW = 1_764_213_000_123_456_789
KEY = b"a shared secret"
HERE = Counted(sent=11, received=22, bytes_received=33_000, last=NOW - 5)

TIMES = st.integers(0, 4_233_462_144 * 10**9 - 1)  # 1970 to 2104
WORDS = st.integers(0, 0xFFFFFFFF)
NUMBERS = st.integers(1, 0xFFFF)


def request(key: bytes = b"", sequence: int = 7) -> bytes:
    return build_request(sequence=sequence, sent=NOW, ssid=3, member=4, packets_sent=99, key=key)


def answer(packet: bytes, key: bytes = b"", member: int = 9) -> bytes | None:
    asked = parse_request(packet, key)
    return asked and reflect(
        asked,
        sequence=5,
        received=NOW + 10**6,
        sent=NOW + 2 * 10**6,
        ttl=64,
        member=member,
        counted=HERE,
        key=key,
    )


def answered(packet: bytes, key: bytes = b"") -> bytes:
    back = answer(packet, key)
    assert back is not None
    return back


def test_a_request_is_laid_out_as_in_rfc_8972() -> None:
    packet = request()
    assert unpack_from(">I", packet, 0) == (7,)
    seconds, fraction = unpack_from(">II", packet, 4)
    assert seconds == NOW // 10**9 + 2_208_988_800
    assert round(fraction * 10**9 / 2**32) == NOW % 10**9
    assert packet[12] & 0xC0 == 0, "not synchronised, NTP format"
    assert packet[13] > 0, "RFC 4656: the multiplier must not be zero"
    assert unpack_from(">H", packet, 14) == (3,)
    assert packet[16:44] == bytes(28)
    assert packet[44:52] == b"\x80\x0b\x00\x04" + pack(">HH", 4, 0)  # RFC 9534, 3.1
    assert packet[52:68] == b"\x80\x05\x00\x0c" + pack(">III", 99, 0, 0)  # RFC 8972, 4.5
    assert packet[68:72] == b"\x80\xf0\x00\x14"
    assert len(packet) == 92


def test_an_answer_is_laid_out_as_in_rfc_8972() -> None:
    packet = answered(request())
    assert unpack_from(">I", packet, 0) == (5,)
    assert decode(int.from_bytes(packet[4:12]), 0) == NOW + 2 * 10**6
    assert unpack_from(">H", packet, 14) == (3,)
    assert decode(int.from_bytes(packet[16:24]), 0) == NOW + 10**6
    assert packet[24:38] == request()[:14], "the sender's sequence, timestamp, error estimate"
    assert packet[38:40] == bytes(2)
    assert packet[40] == 64
    assert packet[41:44] == bytes(3)
    assert packet[44:52] == b"\0\x0b\x00\x04" + pack(">HH", 4, 9)
    assert packet[52:68] == b"\0\x05\x00\x0c" + pack(">III", 99, 22, 11)
    assert len(packet) == 92


@pytest.mark.parametrize("key", [b"", KEY])
@given(sequence=WORDS, sent=TIMES, ssid=NUMBERS, member=NUMBERS, packets=WORDS, t2=TIMES, t3=TIMES)
def test_what_goes_round_comes_back(
    *, key: bytes, sequence: int, sent: int, ssid: int, member: int, packets: int, t2: int, t3: int
) -> None:
    packet = build_request(
        sequence=sequence, sent=sent, ssid=ssid, member=member, packets_sent=packets, key=key
    )
    asked = parse_request(packet, key)
    assert asked is not None
    assert (asked.sequence, asked.sent, asked.ssid, asked.member) == (sequence, sent, ssid, member)
    back = reflect(
        asked, sequence=1, received=t2, sent=t3, ttl=255, member=2, counted=HERE, key=key
    )
    assert back is not None and len(back) == len(packet)
    assert parse_reply(back, key) == Reply(1, t2, t3, ssid, sequence, sent, 255, (member, 2), HERE)


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 10**9 - 1))
def test_both_formats_of_a_timestamp(seconds: int, ns: int) -> None:
    assert decode(seconds << 32 | ns, PTP) == seconds * 10**9 + ns


def test_a_timestamp_of_2036_and_later() -> None:
    late = 2_100_000_000 * 10**9 + 1
    assert decode(encode(late), 0) == late


@pytest.mark.parametrize("size", [14, 16, 41, 43, 44, 60, 100, MAX_SIZE])
def test_twamp_light_gets_an_answer_of_equal_size(size: int) -> None:
    back = answered(request()[:14].ljust(size, b"\0"))
    assert len(back) == size
    if size < 41:
        return
    reply = parse_reply(back)
    assert reply is not None
    assert (reply.asked, reply.asked_at, reply.ttl) == (7, NOW, 64)
    assert (reply.members, reply.counted) == (None, None)


@pytest.mark.parametrize("size", [0, 13, MAX_SIZE + 1])
def test_too_short_and_too_long_ones_are_no_requests(size: int) -> None:
    assert parse_request(bytes(size)) is None


@pytest.mark.parametrize("size", [0, 40, MAX_SIZE + 1])
def test_too_short_and_too_long_ones_are_no_answers(size: int) -> None:
    assert parse_reply(bytes(size)) is None


def test_an_unknown_tlv_comes_back_with_u_and_the_next_one_is_understood() -> None:
    known = b"\x80\x0b\x00\x04" + pack(">HH", 4, 0)
    back = answered(request()[:44] + b"\x80\xc8\x00\x03abc" + known)
    assert back[44:51] == b"\x80\xc8\x00\x03abc"
    assert back[51:] == b"\0\x0b\x00\x04" + pack(">HH", 4, 9)


def test_another_experiment_of_the_same_type_comes_back_with_u() -> None:
    theirs = b"\x80\xf0\x00\x14" + bytes(range(20))
    assert answered(request()[:44] + theirs)[44:] == theirs


def test_padding_comes_back_as_it_was() -> None:
    padding = b"\x80\x01\x00\x05\x01\x02\x03\x04\x05"
    assert answered(request()[:44] + padding)[44:] == b"\0" + padding[1:]


@pytest.mark.parametrize(
    ("tlvs", "flags"),
    [
        (b"\x80\x05\x00\x04abcd", 0x40),  # too short for its type
        (b"\x80\x0b\x00\x08abcdefgh", 0x40),  # too long for its type
        (b"\x80\x05\x00\x0cabc", 0x40),  # longer than the packet
        (b"\x80\xc8\xff\xffabc", 0xC0),  # unknown, and longer than the packet
        (b"\x80\x08\x00\x10" + bytes(16) + b"\x80\x01\0\0", 0x40),  # the HMAC is not the last
        (b"\x80\x05", 0x40),  # no whole header
    ],
)
def test_a_malformed_tlv_comes_back_with_m_and_else_as_it_was(tlvs: bytes, flags: int) -> None:
    back = answered(request()[:44] + tlvs)
    assert back[44] == flags
    assert back[45:64] == tlvs[1:20]
    reply = parse_reply(back)
    assert reply is not None and (reply.members, reply.counted) == (None, None)


def test_a_request_for_another_slave_is_discarded() -> None:
    named = request()[:44] + b"\x80\x0b\x00\x04" + pack(">HH", 4, 8)
    assert answer(named, member=9) is None
    assert answer(named, member=8) is not None


def test_the_hmac_covers_sequence_and_tlvs() -> None:
    import hashlib
    import hmac

    packet = request(KEY)
    wanted = hmac.new(KEY, packet[:4] + packet[44:92], hashlib.sha256).digest()[:16]
    assert packet[92:] == b"\x80\x08\x00\x10" + wanted
    back = answered(packet, KEY)
    wanted = hmac.new(KEY, back[:4] + back[44:92], hashlib.sha256).digest()[:16]
    assert back[92:] == b"\0\x08\x00\x10" + wanted


@pytest.mark.parametrize("at", [0, 3, 45, 60, 91, 95, 107, 111])
def test_what_was_changed_on_the_way_is_no_request_and_no_answer(at: int) -> None:
    for packet, parse in (
        (request(KEY), parse_request),
        (answered(request(KEY), KEY), parse_reply),
    ):
        changed = bytearray(packet)
        changed[at] ^= 1
        assert parse(packet, KEY) is not None
        assert parse(bytes(changed), KEY) is None


def test_with_a_key_nothing_without_it_counts() -> None:
    assert parse_request(request(), KEY) is None
    assert parse_request(request(b"another"), KEY) is None
    assert parse_reply(answered(request()), KEY) is None


def test_without_the_key_the_hmac_is_unknown() -> None:
    back = answered(request(KEY))
    assert back[92] == 0x80
    assert back[93:] == request(KEY)[93:]
    assert parse_reply(back, KEY) is None
    assert parse_reply(back) is not None


def test_a_request_that_is_sent_back_as_it_was_is_no_answer_with_a_key() -> None:
    assert parse_reply(request(KEY), KEY) is None


@given(st.binary(max_size=200), st.sampled_from([b"", KEY]))
def test_anything_may_arrive(packet: bytes, key: bytes) -> None:
    parse_reply(packet, key)
    back = answer(packet, key)
    assert back is None or len(back) == len(packet)


def test_requests_that_are_almost_right() -> None:
    """With 10^6 instead of 10^4 of them (200 s): no exception either."""
    rng = random.Random(8972)
    for _ in range(10_000):
        key = rng.choice([b"", KEY])
        packet = bytearray(request(key, rng.getrandbits(32)))
        for _ in range(rng.randint(1, 4)):
            packet[rng.randrange(len(packet))] = rng.getrandbits(8)
        damaged = (
            bytes(packet[: rng.randint(0, len(packet))]) if rng.random() < 0.3 else bytes(packet)
        )
        back = answer(damaged, rng.choice([b"", KEY]))
        assert back is None or len(back) == len(damaged)
        parse_reply(damaged, key)
        if back is not None:
            reply = parse_reply(back)
            assert reply is None or (len(back) >= 41 and reply.received == NOW + 10**6)
