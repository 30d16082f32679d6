"""A link's driver and speed, by the ethtool ioctl.

An ioctl uses the caller's network namespace, unlike /sys/class/net, which shows the namespace in
which it was mounted. It costs about 4 us.
"""

import array
import fcntl
import socket
import struct

from ipeql.names import shown

_SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h; the rest is include/uapi/linux/ethtool.h
_GSET = 0x1
_GSET_SIZE = 44
_GDRVINFO = 0x3
_GDRVINFO_SIZE = 196
_SPEED_UNKNOWN = 0xFFFFFFFF


def driver(sock: socket.socket, name: bytes) -> str:
    """Return the name of the driver of link ``name``; empty where it tells none or is gone."""
    answer = _ethtool(sock, name, _GDRVINFO, _GDRVINFO_SIZE)
    return shown(answer[4:36].split(b"\0", 1)[0])


def speed(sock: socket.socket, name: bytes) -> int | None:
    """Return what the driver of link ``name`` reports in bit/s; None where it reports nothing.

    A virtual device's figure is nominal: veth and TUN say 10 Gbit/s (TUN before Linux 6.2
    10 Mbit/s). Without carrier most hardware knows none.
    """
    answer = _ethtool(sock, name, _GSET, _GSET_SIZE)
    if not answer:
        return None
    low, high = struct.unpack_from("=H", answer, 12)[0], struct.unpack_from("=H", answer, 28)[0]
    megabits = high << 16 | low
    return None if megabits in (0, 0xFFFF, _SPEED_UNKNOWN) else megabits * 10**6


def _ethtool(sock: socket.socket, name: bytes, command: int, size: int) -> bytes:
    """Return the answer, or nothing where the driver has none or the link is gone."""
    data = array.array("B", struct.pack("=I", command).ljust(size, b"\0"))
    try:
        fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP", name, data.buffer_info()[0]))
    except OSError:
        return b""
    return data.tobytes()
