"""What is sent arrives as it was: TCP streams, large datagrams, over links with and without header.

The checksums of what leaves a slave without link header are looked at on the way.
"""

import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ipeql.backends.tun.device import IFF_NO_PI, IFF_TUN, TUNSETIFF
from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import RECEIVER, UdpStream
from tests.netns.bundle import (
    RECEIVER6,
    RECEIVERS,
    bundle,
    carries,
    configuration,
    packets,
    slave,
    traffic,
    wait_for,
)

pytestmark = pytest.mark.netns

PATIENCE_S = 20
TUNS = ("tun1", "tun2")


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, striped("burst")) as daemon:
        yield daemon


def striped(unit: str) -> str:
    slaves = (slave(1, "1Gbit"), slave(2, "1Gbit"))
    return configuration(bundle(slaves, "bw_load", f"stripe-unit: {unit}"))


def transfer(lab: Lab, destination: str, megabytes: int) -> None:
    """Send random bytes by TCP from a to ``destination`` in b and compare what comes."""
    data = random.Random(destination).randbytes(megabytes << 20)
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    listener = lab.b.call(lambda: socket.create_server((destination, 0), family=family))
    with listener:
        listener.settimeout(PATIENCE_S)
        address = (destination, listener.getsockname()[1])
        sender = lab.a.call(lambda: socket.create_connection(address, PATIENCE_S))
        receiver, _ = listener.accept()
    receiver.settimeout(PATIENCE_S)

    def send() -> None:
        with sender:
            sender.sendall(data)

    thread = threading.Thread(target=send)
    thread.start()
    received = hashlib.sha256()
    with receiver:
        while chunk := receiver.recv(1 << 20):
            received.update(chunk)
    thread.join()
    assert received.hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("unit", ["burst", "packet"])
@pytest.mark.parametrize("destination", RECEIVERS)
def test_a_stream_arrives_intact(lab: Lab, daemon: Ipeqld, destination: str, unit: str) -> None:
    daemon.reload(striped(unit))
    both_carry = carries(daemon, "eth1", "eth2")
    transfer(lab, destination, megabytes=8)
    assert both_carry()


@pytest.mark.parametrize("destination", RECEIVERS)
def test_datagrams_larger_than_the_mtu_arrive(lab: Lab, daemon: Ipeqld, destination: str) -> None:
    stream = UdpStream(lab, destination, rate=200, size=8000)
    before = packets(daemon)
    try:
        wait_for(lambda: sum(packets(daemon).values()) > sum(before.values()) + 200)
    finally:
        result = stream.finish()
    assert result.lost == 0


def open_tun(name: str) -> int:
    """Return the descriptor of a TUN device that wants complete packets: no offloads at all."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def checksum(data: bytes) -> int:
    """Return the Internet checksum, RFC 1071: 0 over data that contains its own."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def is_sound(packet: bytes) -> bool:
    """Say whether the lengths and checksums of a packet without options are right."""
    if packet[0] >> 4 == 4:
        total, protocol, addresses = struct.unpack("!2xH5xB2x8s", packet[:20])
        sound, body = total == len(packet) and not checksum(packet[:20]), packet[20:]
    else:
        length, protocol, addresses = struct.unpack("!4xHBx32s", packet[:40])
        sound, body = length == len(packet) - 40, packet[40:]
    if protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        pseudo_header = addresses + struct.pack("!IxxxB", len(body), protocol)
        sound = sound and not checksum(pseudo_header + body)
    return sound


@contextmanager
def tun_links(lab: Lab) -> Iterator[list[bytes]]:
    """Join tun1 and tun2 of a to those of b; the list gets what was wrong with their packets."""
    unsound: list[bytes] = []
    with ExitStack() as stack:

        def end(host: Host, name: str) -> int:
            descriptor = host.call(lambda: open_tun(name))
            stack.callback(os.close, descriptor)
            host.set_up(name)
            return descriptor

        pairs = {end(lab.a, name): end(lab.b, name) for name in TUNS}
        stop_reader, stop_writer = os.pipe()
        stack.callback(os.close, stop_reader)

        def forward() -> None:
            while stop_reader not in (ready := select.select([*pairs, stop_reader], [], [])[0]):
                for source in ready:
                    packet = os.read(source, 65536)
                    if not is_sound(packet):
                        unsound.append(packet)
                    os.write(pairs[source], packet)

        forwarder = threading.Thread(target=forward)
        forwarder.start()
        stack.callback(forwarder.join)
        stack.callback(os.close, stop_writer)
        yield unsound


@pytest.mark.parametrize("unit", ["burst", "packet"])
def test_slaves_without_link_header_carry_complete_packets(unit: str) -> None:
    slaves = [f"{{name: {name}, bandwidth: 1Gbit}}" for name in TUNS]
    with Lab([None]) as lab, tun_links(lab) as unsound:
        lab.plain_receiver()
        text = configuration(bundle(slaves, "bw_load", f"stripe-unit: {unit}"))
        with Ipeqld(lab.a, text) as daemon:
            with traffic(lab):
                wait_for(carries(daemon, *TUNS))
            for destination in (RECEIVER, RECEIVER6):
                transfer(lab, destination, megabytes=2)
            assert all(packets(daemon).values())
        assert not unsound
