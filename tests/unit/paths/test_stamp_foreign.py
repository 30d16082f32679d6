"""STAMP packets as others understand them: scapy both ways, and Wireshark's dissector."""

import shutil
import subprocess
from pathlib import Path
from struct import pack

import pytest

from ipeql.paths.stamp import Counted, build_request, parse_reply, parse_request, reflect

pytest.importorskip("scapy")
from scapy.contrib.stamp import (
    STAMPSessionReflectorTestUnauthenticated as Answer,
)
from scapy.contrib.stamp import (
    STAMPSessionSenderTestUnauthenticated as Request,
)
from scapy.contrib.stamp import STAMPTestTLV
from scapy.layers.inet import IP, UDP
from scapy.utils import wrpcap

NOW = 1_764_213_000_250_000_000
NTP_NOW = NOW / 10**9 + 2_208_988_800
KEY = b"a shared secret"


def request() -> bytes:
    return build_request(sequence=7, sent=NOW, ssid=3, member=4, packets_sent=99, key=KEY)


def answer(packet: bytes, key: bytes = KEY) -> bytes:
    asked = parse_request(packet, key)
    assert asked is not None
    back = reflect(
        asked,
        sequence=5,
        received=NOW + 250_000_000,
        sent=NOW + 500_000_000,
        ttl=64,
        member=9,
        counted=Counted(11, 22, 33, NOW),
        key=key,
    )
    assert back is not None
    return back


def test_scapy_reads_a_request() -> None:
    read = Request(request())
    assert (read.seq, read.ssid, read.mbz) == (7, 3, 0)
    assert read.ts == pytest.approx(NTP_NOW, abs=1e-6)
    assert (read.err_estimate.S, read.err_estimate.Z) == (0, 0)
    assert read.err_estimate.multiplier == 1
    assert [(int(tlv.flags), tlv.type, tlv.len) for tlv in read.tlv_objects] == [
        (0x80, 11, 4),
        (0x80, 5, 12),
        (0x80, 240, 20),
        (0x80, 8, 16),
    ]


def test_scapy_reads_an_answer() -> None:
    read = Answer(answer(request()))
    assert (read.seq, read.ssid, read.seq_sender, read.ttl_sender) == (5, 3, 7, 64)
    assert (read.mbz1, read.mbz2) == (0, 0)
    assert read.ts_sender == pytest.approx(NTP_NOW, abs=1e-6)
    assert read.ts_rx == pytest.approx(NTP_NOW + 0.25, abs=1e-6)
    assert read.ts == pytest.approx(NTP_NOW + 0.5, abs=1e-6)
    assert [int(tlv.flags) for tlv in read.tlv_objects] == [0, 0, 0, 0]
    assert read.tlv_objects[1].value == pack(">III", 99, 22, 11)


def test_a_request_of_scapy_is_answered() -> None:
    theirs = Request(
        seq=1234,
        ts=NTP_NOW,
        ssid=77,
        tlv_objects=[
            STAMPTestTLV(flags=0x80, type=5, len=12, value=pack(">III", 8, 0, 0)),
            STAMPTestTLV(flags=0x80, type=200, len=2, value=b"ab"),
        ],
    )
    back = Answer(answer(bytes(theirs), b""))
    assert (back.seq_sender, back.ssid) == (1234, 77)
    assert back.ts_sender == pytest.approx(NTP_NOW, abs=1e-6)
    assert back.tlv_objects[0].value == pack(">III", 8, 22, 11)
    assert int(back.tlv_objects[1].flags) == 0x80


def test_an_answer_of_scapy_is_understood() -> None:
    theirs = Answer(
        seq=5,
        ts=NTP_NOW + 2,
        ssid=3,
        ts_rx=NTP_NOW + 1,
        seq_sender=7,
        ts_sender=NTP_NOW,
        ttl_sender=61,
        tlv_objects=[STAMPTestTLV(type=5, len=12, value=pack(">III", 1, 2, 3))],
    )
    reply = parse_reply(bytes(theirs))
    assert reply is not None
    assert (reply.sequence, reply.ssid, reply.asked, reply.ttl) == (5, 3, 7, 61)
    assert reply.received - reply.asked_at == pytest.approx(10**9, abs=1000)
    assert reply.sent - reply.received == pytest.approx(10**9, abs=1000)
    assert reply.counted == Counted(sent=3, received=2)


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_wireshark_reads_both(tmp_path: Path) -> None:
    capture = tmp_path / "stamp.pcap"
    there = IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=49152, dport=862) / request()
    back = IP(src="10.9.0.2", dst="10.9.0.1") / UDP(sport=862, dport=49152) / answer(request())
    wrpcap(str(capture), [there, back])
    fields = ["seq_number", "sender_seq_number", "sender_ttl"]
    shown = subprocess.run(
        [
            *("tshark", "-r", str(capture), "-d", "udp.port==862,twamp.test"),
            *("-T", "fields", "-E", "separator=,"),
            *(f"-etwamp.test.{field}" for field in fields),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    # It shows every packet as an answer: what is zero in a request is a sender's number 0.
    assert shown.stdout.splitlines() == ["7,0,0", "5,7,64"]
