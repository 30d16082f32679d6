"""Packets that tests make, send and look at, by hand; two IPEQL ends that receive them."""

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration

GROUP = "239.9.9.9"
PORT = 4711
ETH_P_ALL = 3
ETH_P_IP = 0x800
PROTOCOL_UDP = 17


def ends(lab: Lab, backend: str) -> Iterator[tuple[Ipeqld, Ipeqld]]:
    """Have IPEQL in both hosts, over links whose settings let nothing in that is not asked for."""
    with ExitStack() as stack:
        for host in (lab.a, lab.b):
            host.sysctl("net/ipv4/conf/all/rp_filter", "1")
            for setting in ("arp_ignore", "arp_announce", "arp_filter"):
                host.sysctl(f"net/ipv4/conf/all/{setting}", "1")
        daemons = [
            stack.enter_context(
                Ipeqld(
                    host,
                    configuration(
                        bundle(
                            ["{name: eth1}", "{name: eth2}"],
                            backend=backend,
                            addresses=f'addresses: [10.9.0.{last}/24, "fd00:9::{last}/64"]',
                        )
                    ),
                )
            )
            for last, host in ((1, lab.a), (2, lab.b))
        ]
        yield daemons[0], daemons[1]


def ping(host: Host, to: str, *options: str, count: int = 5) -> int:
    """Return how many answers come."""
    command = ("ping", "-c", str(count), "-i", "0.02", "-W", "1", *options, to)
    done = host.popen(*command, stdout=subprocess.PIPE)
    return len(re.findall("bytes from", done.communicate(timeout=30)[0]))


def received(daemon: Ipeqld) -> int:
    """Return how many packets the slaves have received for the bundle."""
    (shown,) = daemon.status()["bundles"]
    return sum(slave["received_packets"] for slave in shown["slaves"])


def counted(host: Host, name: str) -> int:
    found = re.search(r"packets (\d+)", host.run("nft", "list", "counter", "inet", "seen", name))
    assert found
    return int(found[1])


def interface(direction: str) -> int:
    """Return the packets that the bundle's device has counted, in the namespace of the thread."""
    return next(
        int(line.split()[2 if direction == "rx" else 10])
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines()
        if line.split()[0] == "ipeql0:"
    )


def tap(link: str, protocol: int = ETH_P_ALL) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
    sock.bind((link, protocol))
    sock.settimeout(0.3)
    return sock


def frames(sock: socket.socket) -> Iterator[bytes]:
    """Yield what comes until nothing does."""
    while True:
        try:
            yield sock.recv(70000)
        except (TimeoutError, BlockingIOError):
            return


def hardware(link: str) -> bytes:
    """Return a link's hardware address; /sys is another namespace's."""
    with closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sock:
        sock.bind((link, 0))
        address = sock.getsockname()[4]
        assert isinstance(address, bytes)
        return address


def send_frame(host: Host, link: str, frame: bytes) -> None:
    with closing(host.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))) as sock:
        sock.bind((link, 0))
        sock.send(frame)


def udp(source: str, destination: str, from_port: int, to_port: int, data: bytes = b"x") -> bytes:
    """Return an IPv4 packet; its UDP checksum is left out."""
    length = 20 + 8 + len(data)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, PROTOCOL_UDP, 0) + addresses
    total = sum(int(word) for word in struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = header[:10] + checksum.to_bytes(2) + header[12:]
    return header + struct.pack("!HHHH", from_port, to_port, length - 20, 0) + data


def dhcp_offer(source: str, mac: bytes) -> bytes:
    return b"\xff" * 6 + mac + b"\x08\0" + udp(source, "255.255.255.255", 67, 68)


def member(link: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((GROUP, PORT))
    request = socket.inet_aton(GROUP) + bytes(4) + struct.pack("i", socket.if_nametoindex(link))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    sock.settimeout(5)
    return sock


def group_sender(link: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = bytes(8) + struct.pack("i", socket.if_nametoindex(link))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
    return sock


def bound(link: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if link:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
    sock.bind(("", PORT))
    sock.settimeout(5)
    return sock
