"""IPv4 settings of a link, as in /proc/sys/net/ipv4/conf, set over rtnetlink.

Netlink takes the ifindex, which stays when a link is renamed. It also works where /proc/sys is
read-only, as in a container. Source of the format: include/uapi/linux/ip.h (IPV4_DEVCONF_*) and
net/ipv4/devinet.c, inet_set_link_af().
"""

import enum
import socket
from struct import Struct

from ipeql.apply.rtnl import attribute, nested, request

_IFINFOMSG = Struct("=BxHiII")  # family, type, index, flags, change mask
_U32 = Struct("=I")

_RTM_SETLINK = 19
_IFLA_AF_SPEC = 26
_IFLA_INET_CONF = 1


class Setting(enum.IntEnum):
    """The number of a setting."""

    RP_FILTER = 8
    PROMOTE_SECONDARIES = 20


def change(ifindex: int, setting: Setting, value: int) -> None:
    """Set one setting; OSError where the kernel refuses, EAFNOSUPPORT on a link without IPv4."""
    settings = nested(_IFLA_INET_CONF, attribute(setting, _U32.pack(value)))
    families = nested(_IFLA_AF_SPEC, nested(socket.AF_INET, settings))
    request(_RTM_SETLINK, _IFINFOMSG.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0) + families)
