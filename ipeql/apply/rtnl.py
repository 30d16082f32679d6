"""One rtnetlink request, in bytes. Source of the format: include/uapi/linux/netlink.h."""

import os
import socket
from struct import Struct

_HEADER = Struct("=IHHII")  # length, type, flags, sequence number, port id
_ATTRIBUTE = Struct("=HH")  # length, type
_ERROR = Struct("=i")
_NLM_F_REQUEST_ACK = 0x5
_NLA_F_NESTED = 0x8000
_TIMEOUT_S = 10


def request(kind: int, body: bytes) -> None:
    """Send a request of a type and wait for its end; OSError where the kernel refuses."""
    size = _HEADER.size + len(body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.send(_HEADER.pack(size, kind, _NLM_F_REQUEST_ACK, 1, 0) + body)
        number = -_ERROR.unpack_from(kernel.recv(4096), _HEADER.size)[0]
    if number:
        raise OSError(number, os.strerror(number))


def attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute, padded."""
    size = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(size, kind) + data + bytes(-size % 4)


def nested(kind: int, data: bytes) -> bytes:
    """Return an attribute that has others in it."""
    return attribute(kind | _NLA_F_NESTED, data)
