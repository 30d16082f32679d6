"""Packet sockets: send packets on a slave without another routing decision by the kernel.

Source: packet(7), net/packet/af_packet.c. ``PACKET_VNET_HDR`` makes every packet carry a
virtio_net_hdr, so a GSO train is sent as one, and the device computes its checksum.
"""

import contextlib
import fcntl
import os
import socket
import struct
from ipaddress import IPV4LENGTH, IPV6LENGTH

from ipeql import packet_socket
from ipeql.backends.tun.device import VNET_HEADER
from ipeql.state import ARPHRD_ETHER

SOL_PACKET = 263
PACKET_VNET_HDR = 15
SO_SNDBUFFORCE = 32
SIOCOUTQ = 0x5411
SIOCGIFHWADDR = 0x8927
SO_MARK = 36

_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERTYPE_ARP, _ARP_ETHERNET, _ARP_REQUEST = 0x0806, 1, 1
EVERYONE = b"\xff" * 6

SEND_BUFFER = 8 << 20
"""The socket's send buffer; normally a slave's own queue (qdisc) is full before it."""

IPV4 = IPV4LENGTH // 8
IPV6 = IPV6LENGTH // 8
ETHERTYPES = {IPV4: 0x0800, IPV6: 0x86DD}
"""By length of the destination address (include/uapi/linux/if_ether.h)."""


def arp_request(mac: bytes, source: bytes, target: bytes, lladdr: bytes = b"") -> bytes:
    """Return the ARP request for ``target``, as broadcast or to ``lladdr`` alone.

    Source: RFC 826; RFC 1122, section 2.3.2.1, for the unicast form.
    """
    return _ARP.pack(
        lladdr or EVERYONE,
        mac,
        _ETHERTYPE_ARP,
        _ARP_ETHERNET,
        ETHERTYPES[IPV4],
        len(mac),
        IPV4,
        _ARP_REQUEST,
        mac,
        source,
        bytes(6),
        target,
    )


class Sender:
    """Sends on one link. ``link_header``: bytes before each packet; ``mac``: the link's address.

    ``send[4]`` and ``send[16]`` send an IPv4 or IPv6 packet given as buffers: vnet header, link
    header, packet; OSError as send(2). Raises OSError where the link does not exist.
    """

    def __init__(self, ifindex: int) -> None:
        name = socket.if_indextoname(ifindex)
        self._sockets = [self._open()]
        request = struct.pack("16s24x", os.fsencode(name))
        answer = fcntl.ioctl(self._sockets[0].fileno(), SIOCGIFHWADDR, request)
        (arphrd,) = struct.unpack_from("=H", answer, 16)
        self.mac = answer[18:24]
        self.has_link_header = arphrd == ARPHRD_ETHER
        if self.has_link_header:
            packet_socket.bind(self._sockets[0], ifindex, 0)
            self.send = dict.fromkeys(ETHERTYPES, self._sockets[0].sendmsg)
        else:
            self._sockets.append(self._open())
            # to distinguish IPv4 and IPv6; a socket bound to a protocol would receive, too
            for each, ethertype in zip(self._sockets, ETHERTYPES.values(), strict=True):
                packet_socket.attach(each, packet_socket.NOTHING)
                packet_socket.bind(each, ifindex, ethertype)
            self.send = {
                family: each.sendmsg for family, each in zip(ETHERTYPES, self._sockets, strict=True)
            }
        self._queued = bytearray(4)

    @staticmethod
    def _open() -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        opened = socket.socket(socket.AF_PACKET, kind, 0)
        opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        return opened

    def solicit(self, frame: bytes) -> None:
        """Send a frame of our own; it may be lost."""
        with contextlib.suppress(OSError):
            self._sockets[0].sendmsg((bytes(VNET_HEADER.size), frame))

    def set_mark(self, mark: int, priority: int) -> None:
        """Give the packets sent from now on a mark and a priority (socket(7))."""
        for each in self._sockets:
            each.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", mark))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, struct.pack("=I", priority))

    def queued_bytes(self) -> int:
        """Return our bytes of kernel memory that the link's queue and driver have not sent."""
        total = 0
        for each in self._sockets:
            fcntl.ioctl(each.fileno(), SIOCOUTQ, self._queued)
            total += int.from_bytes(self._queued, "little")
        return total

    def close(self) -> None:
        """Close the sockets; packets in the link's queue are still sent."""
        for each in self._sockets:
            each.close()
