"""IPv4 settings of a link, as in /proc/sys/net/ipv4/conf, set over rtnetlink.

Netlink takes the ifindex, which stays when a link is renamed. It also works where /proc/sys is
read-only, as in a container. Source of the format: include/uapi/linux/ip.h (IPV4_DEVCONF_*) and
net/ipv4/devinet.c, inet_set_link_af().
"""

import enum
import os
import socket
from struct import Struct

_HEADER = Struct("=IHHII")  # length, type, flags, sequence number, port id
_IFINFOMSG = Struct("=BxHiII")  # family, type, index, flags, change mask
_ATTRIBUTE = Struct("=HH")  # length, type
_U32 = Struct("=I")
_ERROR = Struct("=i")

_RTM_SETLINK = 19
_NLM_F_REQUEST_ACK = 0x5
_IFLA_AF_SPEC = 26
_IFLA_INET_CONF = 1
_NLA_F_NESTED = 0x8000


class Setting(enum.IntEnum):
    """The number of a setting."""

    RP_FILTER = 8
    PROMOTE_SECONDARIES = 20


def change(ifindex: int, setting: Setting, value: int) -> None:
    """Set one setting; OSError where the kernel refuses, EAFNOSUPPORT on a link without IPv4."""
    settings = _nested(_IFLA_INET_CONF, _attribute(setting, _U32.pack(value)))
    families = _nested(_IFLA_AF_SPEC, _nested(socket.AF_INET, settings))
    body = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0) + families
    size = _HEADER.size + len(body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(10)
        kernel.send(_HEADER.pack(size, _RTM_SETLINK, _NLM_F_REQUEST_ACK, 1, 0) + body)
        number = -_ERROR.unpack_from(kernel.recv(4096), _HEADER.size)[0]
    if number:
        raise OSError(number, os.strerror(number))


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data


def _nested(kind: int, data: bytes) -> bytes:
    return _attribute(kind | _NLA_F_NESTED, data)
