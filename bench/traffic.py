"""TCP flows and datagrams from here to the receiver of a site, all in one loop of this process."""

import array
import selectors
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from bench.host import Host
from bench.site import RECEIVER, Site, inside
from lab.network.reordering import extents

SECOND = 10**9
CHUNK = 64 << 10
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 << 20

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
TCP = 6
STAMP = struct.Struct("!Qq")
"""A datagram's number from 0, and CLOCK_MONOTONIC when it was sent, ns."""


class Loop:
    """What is read and written while time passes."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = ExitStack()

    def __enter__(self) -> "Loop":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every socket."""
        self._sockets.close()
        self._selector.close()

    def add(self, sock: socket.socket, event: int, do: Callable[[], None]) -> None:
        """Have ``do`` called whenever ``event`` holds of ``sock``, which is closed at the end."""
        self.close_at_end(sock)
        sock.setblocking(False)
        self._selector.register(sock, event, do)

    def close_at_end(self, sock: socket.socket) -> None:
        """Have ``sock`` closed at the end."""
        self._sockets.enter_context(sock)

    def run_until(self, due: int) -> None:
        """Do what there is to do until ``due``, ns of CLOCK_MONOTONIC, once at least."""
        left = 1
        while left > 0:
            left = due - time.monotonic_ns()
            for key, _ in self._selector.select(max(0, left) / SECOND):
                key.data()


class TcpFlows:
    """``number`` TCP flows (CUBIC) that bring as much as they can; ``received``: bytes of each."""

    def __init__(self, loop: Loop, b: Host, number: int) -> None:
        self.received = [0] * number
        self._buffer = bytearray(CHUNK)
        data = bytes(CHUNK)
        with inside(b, partial(socket.create_server, ("", 0), backlog=number)) as listener:
            for index in range(number):
                near = socket.create_connection((RECEIVER, listener.getsockname()[1]))
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
                far, _ = listener.accept()
                loop.add(near, selectors.EVENT_WRITE, partial(_send, near, data))
                loop.add(far, selectors.EVENT_READ, partial(self._take, far, index))

    def _take(self, sock: socket.socket, index: int) -> None:
        with suppress(BlockingIOError):
            self.received[index] += sock.recv_into(self._buffer)


def _send(sock: socket.socket, data: bytes) -> None:
    with suppress(BlockingIOError):
        sock.send(data)


class Order:
    """The order in which the packets of TCP flows arrive at b of a site."""

    def __init__(self, loop: Loop, site: Site) -> None:
        assert site.b
        self._links = frozenset(site.links)
        self._numbers: defaultdict[bytes, array.array[int]] = defaultdict(partial(array.array, "H"))
        sock = inside(site.b, _tap)
        loop.add(sock, selectors.EVENT_READ, partial(self._take, sock))

    def _take(self, sock: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                packet, where = sock.recvfrom(64)
                if where[0] in self._links and packet[9] == TCP:
                    self._numbers[packet[20:24]].append(int.from_bytes(packet[4:6], "big"))

    @property
    def packets(self) -> int:
        """Return how many have come."""
        return sum(map(len, self._numbers.values()))

    @property
    def reordered(self) -> int:
        """Return how many of them were reordered within their flow (RFC 4737, 3.3)."""
        return sum(len(extents(sent_order(ids))) for ids in self._numbers.values())


def _tap() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    return sock


def sent_order(identifications: Sequence[int]) -> Iterator[int]:
    """Yield the sending order numbers of a flow's packets from their IPv4 identifications.

    Linux numbers the packets of a connected TCP socket one by one, retransmissions too, modulo
    2^16 (ip_select_ident_segs in include/net/ip.h).
    """
    highest = identifications[0] if identifications else 0
    for identification in identifications:
        number = highest + (identification - highest + 0x8000) % 0x10000 - 0x8000
        highest = max(highest, number)
        yield number


class Datagrams:
    """Datagrams to the receiver; ``delays``: of the first copy of each that came, by number, ns."""

    def __init__(self, loop: Loop, b: Host, size: int = STAMP.size, dscp: int = 0) -> None:
        self.delays: dict[int, int] = {}
        self._sent = 0
        self._padding = bytes(size - STAMP.size)
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        far = inside(b, _datagram_socket)
        self._near.connect((RECEIVER, far.getsockname()[1]))
        loop.close_at_end(self._near)
        loop.add(far, selectors.EVENT_READ, partial(self._take, far))

    def send(self) -> None:
        """Send the next one, whatever becomes of it."""
        with suppress(OSError):
            self._near.send(STAMP.pack(self._sent, time.monotonic_ns()) + self._padding)
        self._sent += 1

    def _take(self, sock: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                number, sent = STAMP.unpack_from(sock.recv(65536))
                self.delays.setdefault(number, time.monotonic_ns() - sent)


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    sock.bind(("", 0))
    return sock
