"""What the standard library lacks for packet sockets: packet(7), socket(7).

A classic BPF program is given as bytes, an instruction of 8 bytes after the other (struct
sock_filter of include/uapi/linux/filter.h).
"""

import ctypes
import os
import socket
import struct

SO_ATTACH_FILTER = 26
NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""The program ``ret 0``: nothing is received."""


def attach(receiver: socket.socket, program: bytes) -> None:
    """Let only what ``program`` accepts reach a socket; OSError where the kernel refuses it."""
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // len(NOTHING), ctypes.addressof(buffer))
    receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)


def bind(sock: socket.socket, ifindex: int, ethertype: int) -> None:
    """Bind by ifindex: socket.bind() takes a name, and only one that is UTF-8. Raises OSError."""
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(ethertype), ifindex, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
