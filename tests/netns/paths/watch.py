"""What a host sends and receives over one link, of what a classic BPF program lets pass."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ipeql import packet_socket
from ipeql.probe.link.packet import Datagram, parse
from lab.network.emulator import ETH_P_ALL, SO_RCVBUFFORCE
from lab.network.host import Host
from lab.network.tap import BUFFER, SO_TIMESTAMPNS

ETHERNET_HEADER = 14
_TIMESPEC = struct.Struct("qq")
_WORD, _HALF, _BYTE = 0x20, 0x28, 0x30
_EQUAL, _RETURN = 0x15, 0x06
_PACKET_TYPE = 0xFFFFF004
_ALL = 0xFFFF
Step = tuple[int, int, int, int]

OUTGOING: tuple[Step, ...] = (
    (_WORD, 0, 0, _PACKET_TYPE),
    (_EQUAL, 0, 1, socket.PACKET_OUTGOING),
    (_RETURN, 0, 0, _ALL),
    (_RETURN, 0, 0, 0),
)
"""What the host sends."""


def of_port(port: int) -> tuple[Step, ...]:
    """Return the program for UDP over IPv4 from or to ``port``."""
    return (
        (_HALF, 0, 0, 12),
        (_EQUAL, 0, 7, 0x0800),
        (_BYTE, 0, 0, 23),
        (_EQUAL, 0, 5, socket.IPPROTO_UDP),
        (_HALF, 0, 0, 34),
        (_EQUAL, 2, 0, port),
        (_HALF, 0, 0, 36),
        (_EQUAL, 0, 1, port),
        (_RETURN, 0, 0, _ALL),
        (_RETURN, 0, 0, 0),
    )


class Seen(NamedTuple):
    """A frame. ``time``: by the kernel's stamp, ns."""

    time: int
    outgoing: bool
    frame: bytes

    @property
    def datagram(self) -> Datagram | None:
        """What it says, if it is UDP; its checksum may still be left to the device."""
        return parse(self.frame[ETHERNET_HEADER:], complete=False)


class Watch:
    """Keeps what it sees until it is taken."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def take(self) -> list[Seen]:
        """Return what was seen since the last call."""
        found: list[Seen] = []
        while True:
            try:
                frame, controls, _, address = self._socket.recvmsg(2048, 128)
            except BlockingIOError:
                return found
            seconds, rest = _TIMESPEC.unpack(controls[0][2])
            outgoing = address[2] == socket.PACKET_OUTGOING
            found.append(Seen(seconds * 10**9 + rest, outgoing, frame))


@contextmanager
def watch(host: Host, link: str, program: Sequence[Step]) -> Iterator[Watch]:
    """Watch a link of a host."""

    def opened() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        code = b"".join(struct.pack("=HBBI", *step) for step in program)
        packet_socket.attach(sock, code)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        sock.bind((link, ETH_P_ALL))
        return sock

    with host.call(opened) as sock:
        yield Watch(sock)
