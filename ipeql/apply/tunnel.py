"""Binding a tunnel to the link by which its own packets leave.

A change of a tunnel gives it all its settings anew, so those that it has are read and sent back, as
ip-link(8) does. Source of the format: include/uapi/linux/rtnetlink.h, if_link.h and if_tunnel.h.
"""

import socket
from struct import Struct

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.rtnl import RTM_GETLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ipeql.apply import rtnl
from ipeql.observe.dump import attributes, dump
from ipeql.plan import BindTunnel

_IFINFOMSG = Struct("=BxHiII")  # family, type, index, flags, change mask
_U32 = Struct("=I")
_RTM_NEWLINK = 16
_IFLA_LINKINFO, _INFO_KIND, _INFO_DATA = 18, 1, 2
_LINK = 1
"""IFLA_GRE_LINK, IFLA_IPTUN_LINK and IFLA_VTI_LINK."""


async def bind(kernel: AsyncIPRoute, action: BindTunnel) -> None:
    """Bind a tunnel to another link; OSError where the kernel refuses."""
    for message in await dump(kernel, RTM_GETLINK, ifinfmsg(), _IFINFOMSG.size):
        if _IFINFOMSG.unpack(message.fixed)[2] == action.ifindex:
            info = attributes(message.attributes[_IFLA_LINKINFO])
            settings = attributes(info[_INFO_DATA]) | {_LINK: _U32.pack(action.after)}
            data = b"".join(rtnl.attribute(kind, value) for kind, value in settings.items())
            rtnl.request(
                _RTM_NEWLINK,
                _IFINFOMSG.pack(socket.AF_UNSPEC, 0, action.ifindex, 0, 0)
                + rtnl.nested(
                    _IFLA_LINKINFO,
                    rtnl.attribute(_INFO_KIND, info[_INFO_KIND]) + rtnl.nested(_INFO_DATA, data),
                ),
            )
