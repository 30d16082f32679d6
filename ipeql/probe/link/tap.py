"""A slave's sockets: what arrives is seen before anybody else gets it, what is sent leaves by it.

Packet sockets, packet(7): the receiving one sees a packet before filters, reverse path filters and
the bundle's receiving program do; the sending ones are not asked about routes and firewalls. That
is how the bundle's data go, too.
"""

import contextlib
import errno
import socket
import struct
from typing import NamedTuple

from ipeql import packet_socket
from ipeql.probe.link.counters import Count
from ipeql.probe.link.filter import TO_SOCKET
from ipeql.probe.link.packet import ETHERTYPES
from ipeql.state import ARPHRD_ETHER, ETHERNET_HEADER

_SOL_PACKET = 263
_PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 8, 23
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_ETH_P_ALL = 3
_CHECKSUM_NOT_READY = 0x8
_TIMESPEC = struct.Struct("@qq")
_STATUS = struct.Struct("=I")
_ANCILLARY = 128
_SECOND = 10**9

_NO_WAY = {errno.EDESTADDRREQ, errno.ENOKEY}
"""Of a WireGuard link that does not know where its peer is, or to which peer a packet goes."""

RECEIVE_BUFFER = 1 << 20
"""Bytes of kernel memory: some thousand probes, more than arrive while the process is delayed."""


class Arrival(NamedTuple):
    """A packet from its IP header on.

    ``time``: when it arrived, ns of CLOCK_REALTIME, the kernel's stamp; 0 where it gave none.
    ``complete``: its checksum is there. ``sender``: the link address it came from, or empty.
    """

    packet: bytes
    time: int
    complete: bool
    sender: bytes


class Tap:
    """Receives and sends on one link. Raises OSError where the link does not exist.

    ``mac``: the link's own address, for links of type ARPHRD_ETHER (``arphrd``). ``is_full``: its
    own queue, or a filter there, dropped what was sent last.
    """

    def __init__(self, ifindex: int, arphrd: int, mac: bytes) -> None:
        self.has_link_header = arphrd == ARPHRD_ETHER
        self._sources = {each: mac + each.to_bytes(2) for each in ETHERTYPES.values()}
        self._sent = self._sent_bytes = 0
        self._received = self._received_bytes = 0
        self.is_full = False
        self._program = b""
        self._header = ETHERNET_HEADER if self.has_link_header else 0
        self._stack = contextlib.ExitStack()
        try:
            self._receiver = self._open(socket.SOCK_DGRAM)
            packet_socket.attach(self._receiver, packet_socket.NOTHING)
            for level, option in (
                (_SOL_PACKET, _PACKET_IGNORE_OUTGOING),
                (_SOL_PACKET, _PACKET_AUXDATA),
                (socket.SOL_SOCKET, _SO_TIMESTAMPNS),
            ):
                self._receiver.setsockopt(level, option, 1)
            self._receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
            packet_socket.bind(self._receiver, ifindex, _ETH_P_ALL)
            self._senders = {each: self._sender(ifindex, each) for each in ETHERTYPES.values()}
        except OSError:
            self._stack.close()
            raise
        self._recvmsg = self._receiver.recvmsg

    def _open(self, kind: int) -> socket.socket:
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        return self._stack.enter_context(socket.socket(socket.AF_PACKET, kind | flags, 0))

    def _sender(self, ifindex: int, ethertype: int) -> socket.socket:
        """Return a socket for packets of one ethertype: a link without header is not told it."""
        sender = self._open(socket.SOCK_RAW)
        packet_socket.attach(sender, packet_socket.NOTHING)
        packet_socket.bind(sender, ifindex, ethertype)
        return sender

    @property
    def sent(self) -> Count:
        """The probes so far, as the kernel counts them for the link."""
        return Count(self._sent, self._sent_bytes)

    @property
    def received(self) -> Count:
        """The same of what has come."""
        return Count(self._received, self._received_bytes)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._receiver.fileno()

    def let_pass(self, program: bytes) -> None:
        """Receive what ``program`` accepts from now on (ipeql.probe.link.filter)."""
        if program != self._program:
            packet_socket.attach(self._receiver, program)
            self._program = program

    def receive(self) -> Arrival | None:
        """Return the next packet, None where there is none or the link is down."""
        try:
            packet, ancillary, _, address = self._recvmsg(TO_SOCKET, _ANCILLARY)
        except OSError:
            return None
        time, complete = 0, True
        for level, kind, data in ancillary:
            if level == _SOL_PACKET:
                complete = not _STATUS.unpack_from(data)[0] & _CHECKSUM_NOT_READY
            elif kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                time = seconds * _SECOND + nanoseconds
        self._received += 1
        self._received_bytes += len(packet) + self._header
        return Arrival(packet, time, complete, address[4])

    def send(self, packet: bytes, ethertype: int, receiver: bytes) -> bool:
        """Send a packet to a link address; say whether the link took it.

        A link that loses whatever it is given, as it knows no way, counts as one that took it. A
        socket first reports the error that it has kept since its link went down, although the
        link may be up now: it is asked twice.
        """
        sender = self._senders[ethertype]
        self.is_full = False
        if self.has_link_header:
            packet = receiver + self._sources[ethertype] + packet
        try:
            sender.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            try:
                sender.send(packet)
            except OSError as error:
                self.is_full = error.errno == errno.ENOBUFS
                return error.errno in _NO_WAY
        self._sent += 1
        self._sent_bytes += len(packet)
        return True

    def close(self) -> None:
        """Close the sockets."""
        self._stack.close()
