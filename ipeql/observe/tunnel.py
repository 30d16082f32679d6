"""The link by which a tunnel's own packets leave: the kernel's route to its far end.

The links of WireGuard and OpenVPN do not show their far ends, so they are not checked.
"""

import ipaddress

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.observe.dump import attributes
from ipeql.state import Address

_INFO_DATA = 2
_REMOTE = {
    "vxlan": (2, 16),  # IFLA_VXLAN_GROUP, _GROUP6 of include/uapi/linux/if_link.h
    "geneve": (2, 7),  # IFLA_GENEVE_REMOTE, _REMOTE6
    # IFLA_GRE_REMOTE, IFLA_IPTUN_REMOTE and IFLA_VTI_REMOTE of include/uapi/linux/if_tunnel.h
    **dict.fromkeys(("gre", "gretap", "ip6gre", "ip6gretap", "erspan"), (7,)),
    **dict.fromkeys(("ipip", "sit", "ip6tnl"), (3,)),
    **dict.fromkeys(("vti", "vti6"), (5,)),
}


def far_end(kind: str, link_info: bytes) -> Address | None:
    """Return the one address that a tunnel of ``kind`` sends to, from its IFLA_LINKINFO."""
    data = attributes(attributes(link_info).get(_INFO_DATA, b""))
    for number in _REMOTE.get(kind, ()):
        packed = data.get(number, b"")
        if len(packed) in (4, 16) and any(packed):
            return ipaddress.ip_address(packed)
    return None


async def leaves_by(kernel: AsyncIPRoute, far_end: Address) -> int:
    """Return the ifindex of the link over which the kernel reaches ``far_end``; 0 where it cannot.

    Rules on marks are not considered.
    """
    try:
        (route,) = await kernel.route("get", dst=str(far_end))
    except NetlinkError:
        return 0
    return int(route.get("oif") or 0)
